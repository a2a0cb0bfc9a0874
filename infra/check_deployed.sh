#!/usr/bin/env bash
# Does what was deployed work: infra/check_deployed.sh PROJECT REGION
# One tick of a schedule must go through the whole chain: candles that are ingested, curated and classified, and a step of the bot on
# the newest closed bar. No message may have died since the release, and no component may have written an error since the tick.
# Exit status 1 names what did not work. WAIT_S is the longest wait for each part (default 300). INTERVAL is the one that is traded
# (default 1h). SINCE is the instant from which on dead letters count (2026-01-31T10:00:00Z; default: the start of this check): what
# died before was no fault of what was deployed.
# The same bars again change no file but are told again, so the log is asked and not the lake.
set -euo pipefail
[ $# = 2 ] || { echo "usage: $0 PROJECT REGION" >&2; exit 2; }
project=$1 region=$2
wait_s=${WAIT_S:-300} now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
since=${SINCE:-$now} interval=${INTERVAL:-1h}
# Weeks begin on Monday; the first one of the clock is a Thursday.
case $interval in
    15m) bar_s=900 shift_s=0 ;; 30m) bar_s=1800 shift_s=0 ;; 1h) bar_s=3600 shift_s=0 ;; 4h) bar_s=14400 shift_s=0 ;;
    1d) bar_s=86400 shift_s=0 ;; 1w) bar_s=604800 shift_s=345600 ;;
    *) echo "INTERVAL is $interval; expected 15m 30m 1h 4h 1d 1w" >&2; exit 2 ;;
esac

fail() { echo "FAILED: $*" >&2; exit 1; }
logs() { echo "See: gcloud run services logs read $1 --project $project --region $region"; }

ask() { # ask PATH [OPTION...]: the bot's answer
    local path=$1
    shift
    curl --silent --show-error --header "Authorization: Bearer $token" "$@" "$url$path"
}

wait_for() { # wait_for COMMAND [ARGUMENT...]: whether it succeeds within WAIT_S
    local end=$((SECONDS + wait_s))
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 10
    done
}

told() { # told SERVICE EVENT...: whether the service has written one of these lines since the tick
    local events
    events=$(printf ' OR "%s"' "${@:2}")
    [ -n "$(gcloud logging read --project "$project" --limit 1 --format 'value(timestamp)' \
        "resource.labels.service_name=\"$1\" AND jsonPayload.event=(${events# OR }) AND timestamp>=\"$ticked\"")" ]
}

stepped() { # whether the bot does a step of the newest bar; one that trades by its streams (404) must have begun that bar by itself
    local answer
    answer=$(ask /step --max-time 300 --header "Content-Type: application/json" --data '{}' --write-out '\n%{http_code}' || :)
    if [ "${answer##*$'\n'}" = 404 ]; then
        answer=$(ask /metrics --fail --max-time 60 | awk '/^ost_last_bar_timestamp_seconds[{]/ { printf "\"bar_close_ms\": %.0f\n", $2 * 1000 }')
    fi
    answer=$(sed -n 's/.*"bar_close_ms": *\([0-9]*\).*/\1/p' <<<"$answer")
    [ "${answer:-0}" -ge $((newest_s * 1000)) ]
}

url=$(gcloud run services describe bot --project "$project" --region "$region" --format 'value(status.url)')
[ -n "$url" ] || fail "there is no service bot in $project, $region"
token=$(gcloud auth print-identity-token --audiences "$url" 2>/dev/null || gcloud auth print-identity-token)
# /healthz and /readyz are not asked: paths that end with z belong to Google on Cloud Run.
metrics=$(ask /metrics --fail --max-time 60) || fail "the bot does not answer GET $url/metrics. $(logs bot)"
grep -q '^ost_ledger_up{.*} 1' <<<"$metrics" || fail "the bot does not reach the ledger (metric ost_ledger_up). Was it migrated?"
echo "ok: the bot answers and reaches the ledger"

ticked=$(date -u +%Y-%m-%dT%H:%M:%SZ)
newest_s=$((($(date +%s) - shift_s) / bar_s * bar_s + shift_s))
gcloud scheduler jobs run "ingest-$interval" --project "$project" --location "$region" --quiet
wait_for told ingest candles.ingested || fail "no candles were ingested within $wait_s s after ingest-$interval. $(logs ingest)"
echo "ok: candles are ingested"
wait_for told curate candles.curated || fail "no candles were curated within $wait_s s. $(logs curate)"
echo "ok: candles are curated"
wait_for told classify regime.classified data.too_short || fail "no regime was classified within $wait_s s. $(logs classify)"
echo "ok: regimes are classified"
wait_for stepped || fail "the bot did no step of the newest $interval bar within $wait_s s. $(logs bot)"
echo "ok: the bot has done its step"

dead=0 older=0
for _ in 1 2 3; do # a pull may come back with nothing though something waits
    letters=$(gcloud pubsub subscriptions pull dead-letters-hold --project "$project" --limit 1000 --format 'value(message.publishTime)')
    read -r new old <<<"$(awk -v since="${since:0:19}" 'NF { if (substr($1, 1, 19) >= since) new++; else old++ } END { print new + 0, old + 0 }' <<<"$letters")"
    dead=$((dead + new)) older=$((old > older ? old : older))
    [ "$dead" = 0 ] || break
done
[ "$dead" = 0 ] || fail "$dead dead letters or more since $since. See: ost events dead-letters"
echo "ok: no dead letters since $since ($older seen of before; see: ost events dead-letters)"

# Our own lines alone: the platform has others, of requests that came while an instance ended.
errors=$(gcloud logging read --project "$project" --limit 5 --format 'value(resource.labels.service_name,jsonPayload.message)' \
    "resource.type=\"cloud_run_revision\" AND severity>=ERROR AND jsonPayload.message:* AND timestamp>=\"$ticked\"")
[ -z "$errors" ] || fail "errors since the tick:"$'\n'"$errors"
echo "ok: no errors since the tick"
