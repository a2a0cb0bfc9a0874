#!/usr/bin/env bash
# Bring the ledger to the schema of an image: infra/migrate.sh PROJECT REGION IMAGE
# Safe to repeat. The bot itself may not change the schema, so this comes before each of its revisions; programs of before go on
# working (shared/adapters/sql/migrate.py). The job campaign is left alone: it computes what the function recalibrate of the same code
# has planned, so both are brought to a release together.
set -euo pipefail
[ $# = 3 ] || { echo "usage: $0 PROJECT REGION IMAGE" >&2; exit 2; }
project=$1 region=$2 image=$3

gcloud run jobs update migrate --project "$project" --region "$region" --image "$image" --quiet
gcloud run jobs execute migrate --project "$project" --region "$region" --wait --quiet
