#!/bin/sh
# What is shipped beside the programs, checked without running any of it: rules and dashboards, recipe of the images,
# compose file, Kubernetes manifests, Terraform. And, where programs are built, every configuration inside of these.
#
#   tests/deploy.sh [folder of the programs]      default: target/release; half a minute
set -eu
cd "$(dirname "$0")/.."
programs=${1:-target/release}
tools=$(tests/monitoring/setup.sh)
model=target/tools/grafana
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
fail() {
    printf 'deploy: %s\n' "$*" >&2
    exit 1
}
# quietly <what> <command...>: its output only when it fails.
quietly() {
    what=$1
    shift
    "$@" >"$place/output" 2>&1 || {
        cat "$place/output" >&2
        fail "$what"
    }
    printf '  ok      %s\n' "$what"
}

cd config/monitoring
quietly "rules are valid" promtool check rules rules/*.yml
quietly "unit tests of alerts" promtool test rules rules_tests/*.yml
cd ../..
quietly "dashboards are what dashboards.py writes" python3 config/monitoring/grafana/dashboards.py --check

wanted='@grafana/schema@13.2.3 typescript@5.9.3'
if [ "$(cat $model/wanted 2>/dev/null)" != "$wanted" ]; then
    mkdir -p $model
    # shellcheck disable=SC2086 # two packages
    npm install --silent --no-audit --no-fund --no-save --prefix $model $wanted
    echo "$wanted" >$model/wanted
fi
quietly "dashboards as a program of Grafana's types" python3 tests/deploy/grafana_model.py $model
quietly "dashboards fit Grafana's model" $model/node_modules/.bin/tsc --noEmit --strict --skipLibCheck \
    --moduleResolution bundler --module esnext --target es2022 $model/model.ts

quietly "YAML is tidy" "$tools/bin/yamllint" --strict --config-file tests/deploy/yamllint.yml \
    config/monitoring config/kubernetes config/container
quietly "the recipe of the images" "$tools/bin/hadolint" --failure-threshold style config/container/Dockerfile
mkdir "$place/configurations"
quietly "manifests, compose file, Terraform" "$tools/bin/python" tests/deploy/manifests.py "$place/configurations"
quietly "logrotate reads its file" sh -c "sed '/^ *su /d' config/logrotate/secbeat-node >$place/rotation &&
    $(command -v logrotate || echo /usr/sbin/logrotate) --debug --state $place/state $place/rotation"

if [ -x "$programs/secbeat-node" ] && [ -x "$programs/secbeat-orchestrator" ]; then
    for name in SECBEAT_API_TOKEN SECBEAT_JOIN_TOKEN SYN_COOKIE_SECRET; do
        export "$name=$(openssl rand -hex 32)"
    done
    export SECBEAT_BACKEND=192.0.2.80:443
    for file in "$place"/configurations/*.toml; do
        case $file in
            *orchestrator*) program=secbeat-orchestrator ;;
            *) program=secbeat-node ;;
        esac
        quietly "${file##*/}" "$programs/$program" --config "$file" --validate-config
    done
    # Scripts that make an authority at the first start: the second start must find it and change nothing.
    for file in "$place"/configurations/*.sh; do
        # shellcheck disable=SC2016 # the inner shell expands
        quietly "${file##*/}" env PATH="$(cd "$programs" && pwd):$PATH" PLACE="$place/first" sh -euc '
            rm -rf "$PLACE" && mkdir -p "$PLACE"
            printf "[server]\nstate_dir = \"%s\"\n" "$PLACE" >"$PLACE/orchestrator.toml"
            bash -eu "$0"
            cat "$PLACE"/*token "$PLACE/authority.pem" >"$PLACE/before"
            grep -q "BEGIN CERTIFICATE" "$PLACE/before" && grep -q "^sbt_" "$PLACE/before"
            bash -eu "$0"
            cat "$PLACE"/*token "$PLACE/authority.pem" | cmp - "$PLACE/before"' "$file"
    done
    quietly "documents name what exists" python3 tests/deploy/documents.py "$programs" \
        docs/runbooks.md docs/monitoring.md docs/deployment.md
else
    echo "  no programs in $programs: configurations are not validated"
fi
echo "deploy: ok"
