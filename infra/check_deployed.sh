#!/usr/bin/env bash
# Does what was deployed work: infra/check_deployed.sh PROJECT REGION
# One tick of a schedule must end in candles that are told of, the bot must answer, and no message may have died since the release.
# Exit status 1 names what did not. WAIT_S is the longest wait for the candles (default 300). SINCE is the instant from which on dead
# letters count (2026-01-31T10:00:00Z; default: the start of this check): what died before was no fault of what was deployed.
# The same bars again change no file but are told again, so the log is asked and not the lake.
set -euo pipefail
[ $# = 2 ] || { echo "usage: $0 PROJECT REGION" >&2; exit 2; }
project=$1 region=$2
wait_s=${WAIT_S:-300} now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
since=${SINCE:-$now}

fail() { echo "FAILED: $*" >&2; exit 1; }

url=$(gcloud run services describe bot --project "$project" --region "$region" --format 'value(status.url)')
[ -n "$url" ] || fail "there is no service bot in $project, $region"
token=$(gcloud auth print-identity-token --audiences "$url" 2>/dev/null || gcloud auth print-identity-token)
# /healthz and /readyz are not asked: paths that end with z belong to Google on Cloud Run.
metrics=$(curl --silent --show-error --fail --max-time 60 --header "Authorization: Bearer $token" "$url/metrics") \
    || fail "the bot does not answer GET $url/metrics. See: gcloud run services logs read bot --project $project --region $region"
grep -q '^ost_ledger_up{.*} 1' <<<"$metrics" || fail "the bot does not reach the ledger (metric ost_ledger_up). Was it migrated?"
echo "ok: the bot answers and reaches the ledger"

ticked=$(date -u +%Y-%m-%dT%H:%M:%SZ)
told() {
    gcloud logging read --project "$project" --limit 1 --format 'value(timestamp)' \
        "resource.labels.service_name=\"ingest\" AND jsonPayload.event=\"candles.ingested\" AND timestamp>=\"$ticked\""
}
gcloud scheduler jobs run ingest-1h --project "$project" --location "$region" --quiet
end=$((SECONDS + wait_s))
until [ -n "$(told)" ]; do
    [ $SECONDS -lt $end ] || fail "no candles were ingested within $wait_s s after ingest-1h. See: gcloud run services logs read ingest --project $project --region $region"
    sleep 10
done
echo "ok: candles are ingested"

dead=0 older=0
for _ in 1 2 3; do # a pull may come back with nothing though something waits
    letters=$(gcloud pubsub subscriptions pull dead-letters-hold --project "$project" --limit 1000 --format 'value(message.publishTime)')
    read -r new old <<<"$(awk -v since="${since:0:19}" 'NF { if (substr($1, 1, 19) >= since) new++; else old++ } END { print new + 0, old + 0 }' <<<"$letters")"
    dead=$((dead + new)) older=$((old > older ? old : older))
    [ "$dead" = 0 ] || break
done
[ "$dead" = 0 ] || fail "$dead dead letters or more since $since. See: ost events dead-letters"
echo "ok: no dead letters since $since ($older seen of before; see: ost events dead-letters)"
