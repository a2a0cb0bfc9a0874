#!/usr/bin/env bash
# Does the configuration of the cloud hold, for both environments: infra/check.sh. No account is needed and nothing is made anywhere.
# fmt, init, validate, plan, apply, an empty second plan and the properties (tests/), against stand-ins of the providers that hold
# their real schemas (../shared/tools/terraform beside the repository); then checkov, where it is installed. Exit status 1 if a step
# failed. What is absent is named: without terraform nothing is checked, without the stand-ins only the format.
set -euo pipefail
cd "$(dirname "$0")/.."
stand_ins=../shared/tools/terraform
failed=0

if ! command -v terraform >/dev/null; then
    echo "absent: terraform 1.11 or newer, so the configuration is not checked. Get it: https://developer.hashicorp.com/terraform/install"
elif [ ! -f $stand_ins/check.sh ]; then
    echo "absent: $stand_ins, so only the format is checked. With access to the providers: terraform -chdir=infra init -backend=false, validate, test"
    terraform fmt -check -recursive infra || failed=1
else
    # A small copy: the repository with its environments is too much to be copied for each check.
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    git -C "$copy" init --quiet
    mkdir "$copy/functions"
    tar --exclude=.terraform -cf - infra $([ ! -d dist/functions ] || echo dist/functions) | tar -C "$copy" -xf -
    cp functions/schedules.yaml "$copy/functions/"
    for environment in staging production; do
        echo "-- $environment"
        bash $stand_ins/check.sh "$copy/infra" -var-file=environments/$environment.tfvars -var project_id=demo-project || failed=1
    done
fi

if command -v checkov >/dev/null; then
    if checkov --config-file infra/.checkov.yaml --skip-download; then echo "ok    checkov"; else failed=1; fi
else
    echo "absent: checkov, so there is no static analysis. Get it in an environment of its own: make infra"
fi
exit $failed
