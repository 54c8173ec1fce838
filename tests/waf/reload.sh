#!/bin/sh
# A rule set is replaced again and again under load: no request fails, every replacement takes effect, memory does not
# grow.
#
#   tests/waf/reload.sh [times]        default 200; needs wrk. No privilege: a node and nginx as origin on loopback.
#
# Every replacement changes a rule, and a request must then be judged by the new one.
set -eu
cd "$(dirname "$0")/../.."
. tests/waf/place.sh
times=${1:-200}
crs=$(crs_folder 4) || crs=$(crs_folder 3) || { echo "waf: skipped: no rule set is installed"; exit 0; }
python=$(yaml_python)
# shellcheck disable=SC2046  # three ports
set -- $(free_ports 3)
origin_port=$1
port=$2
api_port=$3
rule() {
    echo "SecRule ARGS:generation \"@streq $1\" \"id:1100001,phase:1,deny,status:418,nolog,noauditlog\"" >"$scratch/own.conf"
}
rule 0
write_rules "$crs" "$scratch/own.conf" >"$scratch/rules.conf"
start origin "$origin_port" "$python" tests/waf/origin.py "$origin_port"
start_node node "$port" "$origin_port" "$api_port" "$scratch/rules.conf" 1 true
node_pid=$started_pid
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$node_pid/status"; }
verdict() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/?generation=$1"; }

wrk -t1 -c8 -d 600 --latency "http://127.0.0.1:$port/page?a=1" >"$scratch/wrk.out" 2>&1 &
load=$!
echo "$load" >"$scratch/wrk.pid"
after_warm=0
for number in $(seq "$times"); do
    rule "$number"
    curl -sf -X POST "http://127.0.0.1:$api_port/api/v1/reload" >/dev/null
    waited=0
    until [ "$(verdict "$number")" = 418 ]; do
        waited=$((waited + 1))
        [ "$waited" -lt 100 ] || { echo "waf: replacement $number has no effect"; kill "$load"; exit 1; }
        sleep 0.05
    done
    [ "$number" != 40 ] || after_warm=$(resident)
done
kill -INT "$load"
wait "$load" || true
rm -f "$scratch/wrk.pid"
at_end=$(resident)
cat "$scratch/wrk.out"
echo "resident: $after_warm KiB after 40 replacements, $at_end KiB after $times"
requests=$(awk '/requests in/ { print $1 }' "$scratch/wrk.out")
[ "${requests:-0}" -gt 0 ] || { echo "waf: no request was made"; exit 1; }
if grep -E 'Socket errors|Non-2xx' "$scratch/wrk.out"; then
    echo "waf: requests failed"
    exit 1
fi
# What allocators keep varies; a leaked set would be over 20 MiB each time.
[ "$times" -le 40 ] || [ "$at_end" -lt $((after_warm + 32768)) ] || { echo "waf: memory grows"; exit 1; }
echo "waf: $times replacements under $requests requests, none failed"
