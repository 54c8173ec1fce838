#!/bin/bash
# Bans on many real nodes: each in a network namespace of its own, on AF_XDP, joined over TLS. Measures how long
# `secbeat ban add --wait` takes, which answers when every node has reported that its lists and its XDP map enforce
# the ban. Root. Everything it makes is removed.
#
#   tests/controlplane/many_nodes.sh [nodes] [bans]      default 50 20
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "not root: nodes in network namespaces are left out"; exit 0; }
nodes=${1:-50}
bans=${2:-20}
bin=$PWD/target/release
place=$(mktemp -d)
control=sbmany-control
pids=
finish() {
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
    { wait || true; } 2>/dev/null
    for number in $(seq 1 "$nodes"); do ip netns del "sbmany-$number" 2>/dev/null || true; done
    ip netns del $control 2>/dev/null || true
    umount "$place/bpf" 2>/dev/null || true
    rm -rf "$place"
}
trap finish EXIT INT TERM

mkdir "$place/bpf"
mount -t bpf bpf "$place/bpf"
ip netns add $control
ip -n $control link set lo up
ip -n $control link add br0 type bridge
ip -n $control addr add 10.98.0.1/16 dev br0
ip -n $control link set br0 up
cat >"$place/o.toml" <<EOF
[server]
bind_address = "127.0.0.1:9090"
grpc_address = "0.0.0.0:9443"
state_dir = "$place/o"
[tls]
cert_path = "$place/10.98.0.1.crt"
key_path = "$place/10.98.0.1.key"
[logging]
level = "warn"
EOF
orchestrator() { "$bin/secbeat-orchestrator" --config "$place/o.toml" "$@"; }
orchestrator ca init >"$place/authority.pem" 2>/dev/null
orchestrator ca issue-server 10.98.0.1 --out "$place" >/dev/null
token=$(orchestrator token create measuring --scope admin 2>/dev/null)
ip netns exec $control "$bin/secbeat-orchestrator" --config "$place/o.toml" >"$place/o.log" 2>&1 &
pids="$pids $!"
secbeat() {
    ip netns exec $control env SECBEAT_SERVER=https://10.98.0.1:9443 SECBEAT_TOKEN="$token" \
        SECBEAT_CA="$place/authority.pem" "$bin/secbeat" "$@"
}
for _ in $(seq 1 100); do secbeat fleet stats >/dev/null 2>&1 && break; sleep 0.1; done

for number in $(seq 1 "$nodes"); do
    ns=sbmany-$number
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    ip link add mgmt0 netns "$ns" type veth peer name "m$number" netns $control
    ip -n $control link set "m$number" master br0 up
    ip -n "$ns" addr add "10.98.$((1 + number / 200)).$((number % 200 + 1))/16" dev mgmt0
    ip -n "$ns" link set mgmt0 up
    ip -n "$ns" link add d0 type veth peer name d1
    ip -n "$ns" addr add 10.60.0.1/24 dev d0
    ip -n "$ns" link set d0 up
    ip -n "$ns" link set d1 up
    join=$(secbeat token create "join-$number" --scope join -o name)
    cat >"$place/$number.toml" <<EOF
[server]
mode = "syn"
bind_address = "10.60.0.1:80"
backend_address = "10.60.0.9:80"
max_connections = 1000
worker_threads = 1
state_dir = "$place/state-$number"
[io]
driver = "xdp"
interfaces = ["d0"]
pin_dir = "$place/bpf/$number"
[orchestrator]
enabled = true
url = "https://10.98.0.1:9443"
ca_path = "$place/authority.pem"
join_token = "$join"
[logging]
level = "warn"
EOF
    mkdir "$place/state-$number"
    ip netns exec "$ns" "$bin/secbeat-node" --config "$place/$number.toml" >"$place/$number.log" 2>&1 &
    pids="$pids $!"
done
# Connected and past their start: fifty at once on few cores take seconds for that.
connected() { secbeat node list -o json | jq '[.[] | select(.state == "active" and .is_connected)] | length'; }
for _ in $(seq 1 300); do [ "$(connected)" = "$nodes" ] && break; sleep 0.2; done
echo "$(connected) of $nodes nodes are connected; drivers: $(secbeat node list -o json | jq -r '.[].driver' | sort | uniq -c | xargs)"
# One ban that is not measured: it finds who has not opened its lists yet.
secbeat ban add 198.18.255.1 --for 1h --reason first --wait >/dev/null
[ "$(connected)" = "$nodes" ] || { tail -n 3 "$place"/*.log; exit 1; }

for number in $(seq 1 "$bans"); do
    begun=$(date +%s%N)
    secbeat ban add "198.18.0.$number" --for 1h --reason measured --wait >/dev/null
    echo $((($(date +%s%N) - begun) / 1000000))
done | sort -n >"$place/ms"
enforcing=$(secbeat ban list -o json | jq '[.[].nodes_enforcing] | min')
awk -v nodes="$nodes" -v enforcing="$enforcing" '{ ms[NR] = $1 } END {
    printf "%d bans on %d nodes, from the command until the last node reported: p50 %d ms, p99 %d ms; enforced by %d at least\n",
        NR, nodes, ms[int((NR + 1) / 2)], ms[int(NR * 0.99 + 0.999)], enforcing
    exit !(enforcing == nodes && ms[int(NR * 0.99 + 0.999)] <= 1000) }' "$place/ms"
