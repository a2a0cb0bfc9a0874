#!/bin/sh
# Is a region that of an environment: infra/same_region.sh REGION ENVIRONMENT. Exit status 1 says which one is.
# Lake, ledger and the address that the venue sees are where environments/ENVIRONMENT.tfvars says, and only that file says so.
set -eu
[ $# = 2 ] || { echo "usage: $0 REGION ENVIRONMENT" >&2; exit 2; }
file="$(dirname "$0")/environments/$2.tfvars"
there=$(sed -n 's/^ *region *= *"\([^"]*\)".*/\1/p' "$file")
if [ "$1" != "$there" ]; then
    echo "FAILED: the region is $1, and $2 is in $there ($file). Say --substitutions _REGION=$there, or change the file." >&2
    exit 1
fi
