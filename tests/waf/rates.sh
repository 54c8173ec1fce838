#!/bin/sh
# What the node refuses of ordinary requests and of attacks (tests/waf/corpus): by the shipped JSON rules alone, by
# the Core Rule Set alone, and by the Core Rule Set with the files that go before and after it. First paranoia level,
# blocking.
#
#   tests/waf/rates.sh        No privilege: a node and an origin on free ports of loopback.
#
# Must hold: false positives of the JSON rules at most 0.5 % and detection at least 90 %; with the rule set and both
# files false positives below 0.5 %, and detection at most one point below the rule set alone.
set -eu
cd "$(dirname "$0")/../.."
. tests/waf/place.sh
python=$(yaml_python)
here=$PWD
origin_port=$(free_ports 1)
start origin "$origin_port" "$python" tests/waf/origin.py "$origin_port"

# rates <name> <rules> [options of measure.py]: prints the report; the detection rate goes into $scratch/<name>.rate.
rates() {
    name=$1
    rules=$2
    shift 2
    # shellcheck disable=SC2046  # two ports
    set -- $(free_ports 2) "$@"
    port=$1
    metrics_port=$2
    shift 2
    NODE_RECORDS=$scratch/$name.json
    start_node "$name" "$port" "$origin_port" "$metrics_port" "$rules" 1 true
    echo "--- $name"
    "$python" tests/waf/measure.py "127.0.0.1:$port" tests/waf/corpus --skip-class code --audit "$NODE_RECORDS" "$@" |
        tee "$scratch/$name.report"
    "$python" tests/waf/measure.py "127.0.0.1:$port" tests/waf/corpus --skip-class code --json >"$scratch/$name.result"
    stop "$name"
}

# detection <name>: in hundredths of a percent.
detection() {
    "$python" -c 'import json,sys; print(round(json.load(open(sys.argv[1]))["detection_percent"] * 100))' "$scratch/$1.result"
}

rates json "$here/config/waf_rules.json" --max-false-positives 0.5 --min-detection 90
for generation in 4 3; do
    crs=$(crs_folder "$generation") || { echo "waf: skipped: rule set $generation is not installed"; continue; }
    write_rules "$crs" >"$scratch/rules$generation.conf"
    rates "crs$generation" "$crs"
    NODE_BEFORE=$here/config/crs/before.conf
    NODE_AFTER=$here/config/crs/after.conf
    rates "crs$generation-with-files" "$crs" --max-false-positives 0.5
    NODE_BEFORE=''
    alone=$(detection "crs$generation")
    with_files=$(detection "crs$generation-with-files")
    if [ $((with_files + 100)) -lt "$alone" ]; then
        echo "waf: with both files detection falls from $alone to $with_files (hundredths of a percent)"
        exit 1
    fi
done
