#!/bin/sh
# Dashboards and rules against the real programs: nodes and an orchestrator run, traffic passes, a real Prometheus
# scrapes them with the shipped configuration, and every query must find its metrics and labels and must run.
#
#   tests/monitoring.sh [folder of the programs]      default: target/release
#
# As root one node more runs on AF_XDP, in namespaces of its own; otherwise the metrics of the XDP program, and of
# cookies, are left out, and the test says so. Nothing but loopback and these namespaces is used.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
programs=$(cd "${1:-target/release}" && pwd)
bench=$programs/secbeat-bench
lab=mon
tools=$(tests/monitoring/setup.sh)
python=$tools/bin/python
place=$(mktemp -d)
started=
inside=
left_out='--without secbeat_xdp_ --without secbeat_offered --without secbeat_cookies_answered'

# shellcheck disable=SC2317,SC2329 # called by the trap
finish() {
    for pid in $started; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in $started; do
        wait "$pid" 2>/dev/null || true
    done
    [ -z "$inside" ] || "$bench" lab down --prefix "$lab" >/dev/null 2>&1 || true
    rm -rf "$place"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
    printf 'monitoring: %s\n' "$*" >&2
    for log in "$place"/*.log; do
        printf -- '-- %s\n' "${log##*/}" >&2
        tail -n 15 "$log" >&2
    done
    exit 1
}

# begin <name> <program...>: runs beside us, its output in name.log.
begin() {
    log=$place/$1.log
    shift
    # shellcheck disable=SC2086  # a prefix of words, or nothing
    $inside "$@" >"$log" 2>&1 &
    started="$started $!"
}

# until_true <seconds> <what> <command...>
until_true() {
    tries=$(($1 * 5))
    waited_for=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "waited in vain: $waited_for"
        sleep 0.2
    done
}

# get <path and query after the address> of a program on loopback
get() {
    # shellcheck disable=SC2086
    $inside curl -sfg -m 5 -H "Authorization: Bearer $token" "http://127.0.0.1:$1"
}

if [ "$(id -u)" = 0 ]; then
    "$bench" lab up --prefix "$lab" >"$place/lab.log" 2>&1 || fail "no lab"
    inside="ip netns exec $lab-edge"
    "$bench" lab node --prefix "$lab" --mode l7 --driver xdp >>"$place/lab.log" 2>&1 || fail "no node on AF_XDP"
    left_out=
fi

# shellcheck disable=SC2046,SC2086 # words are wanted
set -- $($inside python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
print(*(place.getsockname()[1] for place in held))')
origin=$1 front=$2 node_api=$3 rest=$4 grpc=$5 fleet_api=$6 prometheus=$7 closed=$8
token=$(openssl rand -hex 32)

mkdir -p "$place/www"
echo page >"$place/www/index.html"
begin origin python3 -m http.server "$origin" --bind 127.0.0.1 --directory "$place/www"

cat >"$place/orchestrator.toml" <<END
[server]
bind_address = "127.0.0.1:$rest"
grpc_address = "127.0.0.1:$grpc"
state_dir = "$place/orchestrator"
[metrics]
bind_address = "127.0.0.1:$fleet_api"
[logging]
level = "warn"
END
orchestrator() { "$programs/secbeat-orchestrator" --config "$place/orchestrator.toml" "$@" 2>>"$place/authority.log"; }
orchestrator ca init >"$place/authority.pem" || fail "no authority"
join_token=$(orchestrator token create edge-1 --scope join --days 1) || fail "no token"
begin orchestrator "$programs/secbeat-orchestrator" --config "$place/orchestrator.toml" serve

cat >"$place/node.toml" <<END
[server]
mode = "l7"
bind_address = "127.0.0.1:$front"
worker_threads = 1
state_dir = "$place/node"
[[backends]]
name = "web"
address = "127.0.0.1:$origin"
[[backends]]
name = "dead"
address = "127.0.0.1:$closed"
[[routes]]
name = "dead"
path_prefix = "/dead"
backends = ["dead"]
[[routes]]
name = "web"
backends = ["web"]
[io]
driver = "socket"
[lists]
auto_ban = false
[health]
interval = 1
timeout = 1
[waf]
enable = true
rules_path = "$root/config/waf_rules.json"
[metrics]
enable = true
bind_address = "127.0.0.1:$node_api"
[api]
token = "$token"
[orchestrator]
enabled = true
url = "https://localhost:$grpc"
ca_path = "$place/authority.pem"
join_token = "$join_token"
END
begin node "$programs/secbeat-node" --config "$place/node.toml"
until_true 20 "the node serves" get "$node_api/health"
until_true 20 "the node knows the orchestrator" sh -c "$inside curl -sf -H 'Authorization: Bearer $token' \
    http://127.0.0.1:$node_api/metrics | grep -qx 'secbeat_agent_connected 1'"

# The shipped configuration; only addresses, and where the token is, are this run's.
printf '%s' "$token" >"$place/token"
cp -r config/monitoring/rules "$place/"
NODES="127.0.0.1:$node_api${inside:+ 127.0.0.1:9191}" FLEET="127.0.0.1:$fleet_api" "$python" - "$place" <<'END'
import os, pathlib, sys
import yaml
place = pathlib.Path(sys.argv[1])
config = yaml.safe_load(pathlib.Path("config/monitoring/prometheus.yml").read_text())
nodes, fleet = config["scrape_configs"]
nodes["static_configs"][0]["targets"] = os.environ["NODES"].split()
nodes["authorization"]["credentials_file"] = str(place / "token")
fleet["static_configs"][0]["targets"] = [os.environ["FLEET"]]
config["global"].update(scrape_interval="2s", scrape_timeout="1s", evaluation_interval="2s")
(place / "prometheus.yml").write_text(yaml.safe_dump(config))
END
begin prometheus prometheus --config.file="$place/prometheus.yml" --storage.tsdb.path="$place/data" \
    --web.listen-address="127.0.0.1:$prometheus" --log.level=warn
until_true 20 "Prometheus serves" get "$prometheus/-/ready"

# Visitors, an attack on the application, and requests for a server that is down; so long that rates exist.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    for path in / /missing /dead/ '/?q=1%27+or+%271%27=%271'; do
        # shellcheck disable=SC2086
        $inside curl -sk -m 5 -o /dev/null "https://127.0.0.1:$front$path" || true
        [ -z "$inside" ] || ip netns exec "$lab-client" curl -sk -m 5 -o /dev/null "https://10.99.0.1$path" || true
    done
    sleep 1
done

# value <query>: prints the first value, nothing when there is none.
value() {
    # shellcheck disable=SC2086
    $inside curl -sf -m 5 --data-urlencode "query=$1" "http://127.0.0.1:$prometheus/api/v1/query" \
        | jq -re '.data.result[0].value[1]'
}
targets=$((2 + $([ -n "$inside" ] && echo 1 || echo 0)))
until_true 10 "all $targets programs are scraped" sh -c "[ \"\$($inside curl -sf -m 5 --data-urlencode \
    'query=sum(up)' http://127.0.0.1:$prometheus/api/v1/query | jq -r '.data.result[0].value[1]')\" = $targets ]"

# shellcheck disable=SC2086
$inside "$python" tests/monitoring/queries.py "127.0.0.1:$prometheus" $left_out || fail "queries and programs disagree"
[ -z "$left_out" ] || echo "not root: metrics of the XDP program and of cookies were left out"

# An alert in earnest: the dead backend is named, and a node that ends is noticed.
until_true 45 "the alert about the dead backend fires" value \
    'ALERTS{alertname="SecBeatBackendDown", alertstate="firing", backend="dead"}'
# shellcheck disable=SC2086
set -- $started
kill "$3"
until_true 45 "the alert about the node that ended fires" value \
    'ALERTS{alertname="SecBeatNodeDown", alertstate="firing"}'
echo "monitoring: ok"
