#!/usr/bin/env bash
# Bring the jobs to an image and the ledger to its schema: infra/migrate.sh PROJECT REGION IMAGE
# Safe to repeat. The bot itself may not change the schema, so this comes before each of its revisions.
set -euo pipefail
[ $# = 3 ] || { echo "usage: $0 PROJECT REGION IMAGE" >&2; exit 2; }
project=$1 region=$2 image=$3

for job in migrate campaign; do
    gcloud run jobs update "$job" --project "$project" --region "$region" --image "$image" --quiet
done
gcloud run jobs execute migrate --project "$project" --region "$region" --wait --quiet
