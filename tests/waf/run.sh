#!/bin/sh
# The Core Rule Set's regression tests against a node in l7 mode: every test, no list of exceptions.
#
#   tests/waf/run.sh [options of tests/waf/runner.py]      e.g. --include '^942' --table --json FILE
#
# Needs a checkout of the rule set with its tests: $CRS_DIR, or a folder `crs` beside the project; without, it says so
# and passes over. No privilege: one node and one origin on free ports of loopback.
#   WAF_MIN_PERCENT=99.8 what must pass       WAF_KEEP=1   leave configuration, logs and records
set -eu
cd "$(dirname "$0")/../.."
. tests/waf/place.sh
python=$(yaml_python)
"$python" tests/waf/selftest.py
crs=$(crs_folder 4) || { echo "waf: skipped: no rule set 4 (set CRS_DIR to a checkout)"; exit 0; }
tests=$(crs_tests "$crs") || { echo "waf: skipped: $crs has no tests"; exit 0; }

# shellcheck disable=SC2046  # three ports
set -- $(free_ports 3) "$@"
origin_port=$1
port=$2
metrics_port=$3
shift 3
write_rules "$crs" "$waf_files/rules/crs-setup-tests.conf" "$waf_files/rules/marker-record.conf" >"$scratch/rules.conf"
start origin "$origin_port" "$python" tests/waf/origin.py "$origin_port"
# The negative control: what passes without any rule says nothing about rules.
start_node bare "$port" "$origin_port" "$metrics_port" off 1 false
"$python" tests/waf/runner.py --tests "$tests" --server "127.0.0.1:$port" --records /dev/null --settle 0 \
    >"$scratch/control" || true
sed -n 's/^regression tests passed/without rules/p' "$scratch/control"
stop bare
NODE_RECORDS=$scratch/records.json
start_node node "$port" "$origin_port" "$metrics_port" "$scratch/rules.conf" 4 false
"$python" tests/waf/runner.py --tests "$tests" --server "127.0.0.1:$port" --records "$NODE_RECORDS" \
    --min-percent "${WAF_MIN_PERCENT:-99.8}" "$@"
