#!/bin/sh
# Does a plan leave the data where they are: infra/keeps_the_data.sh < TEXT, which is what `terraform show -no-color PLAN` says.
# Exit status 1 names what would be lost: lake, ledger, or the address to which the keys of the account are bound. In a build nobody is
# asked, so such a plan is for a person: make deploy shows it and asks.
set -eu
kept='google_(storage_bucket\.lake|sql_database_instance\.ledger|sql_database\.ledger|compute_address\.egress)'
lost=$(sed -n -E "s/^ *# ($kept (.*)?(destroyed|replaced).*)/\\1/p")
if [ -n "$lost" ]; then
    echo "FAILED: $lost" >&2
    echo "Look at it with make plan; a person may apply it with make deploy." >&2
    exit 1
fi
