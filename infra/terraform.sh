#!/bin/sh
# `make plan|deploy|destroy-staging`: terraform for one environment in one project; it says what it will do before it does it.
#   infra/terraform.sh plan|apply|destroy staging|production PROJECT
set -eu
action=$1 environment=$2 project=$3
fail() { echo "error: $*" >&2; exit 2; }
cd "$(dirname "$0")"
case $environment in # a name, never a path: it is a part of where the state lies
    staging | production) ;;
    *) fail "there is no environment '$environment'; say ENV=staging or ENV=production" ;;
esac
[ -n "$project" ] || fail "no project was named; say PROJECT=the-id-of-your-project"
command -v terraform >/dev/null || fail "there is no terraform; get it: https://developer.hashicorp.com/terraform/install"

echo "terraform $action of $environment in the project $project, state in gs://$project-ost-state/$environment"
case $action in
    plan) echo "Nothing is changed." ;;
    apply) echo "The changes are shown first; nothing is done before you say yes." ;;
    destroy) echo "EVERYTHING of $environment is removed: lake, ledger, secrets. It is shown first; nothing is done before you say yes." ;;
    *) fail "there is no action '$action'; expected plan, apply or destroy" ;;
esac
terraform init -input=false -reconfigure -backend-config="bucket=$project-ost-state" -backend-config="prefix=$environment"
terraform "$action" -var-file="environments/$environment.tfvars" -var "project_id=$project"
