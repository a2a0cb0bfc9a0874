#!/usr/bin/env bash
# Bring the ledger to the schema of an image: infra/migrate.sh PROJECT REGION IMAGE
# Safe to repeat. No other component may change the schema, so this comes before what needs it; what runs goes on with the new one.
set -euo pipefail
[ $# = 3 ] || { echo "usage: $0 PROJECT REGION IMAGE" >&2; exit 2; }
project=$1 region=$2 image=$3

gcloud run jobs update migrate --project "$project" --region "$region" --image "$image" --quiet
gcloud run jobs execute migrate --project "$project" --region "$region" --wait --quiet
