#!/bin/sh
# Our TCP beside Linux's: the same probes to a node in l7 mode on AF_XDP and to nginx on a kernel socket, from the same
# client in the same lab; the answers are compared one by one (see probes in tests/tcp_probes/*.py).
#
#   tests/tcp_probes/run.sh [options of compare.py: -v, --only <part of a name>]
#
# PROBES_NODE: another node than the one of `make release`.
# Needs root (or sudo that asks nothing); without, it says so and passes over. Everything happens between namespaces of
# its own, which it removes, also on Ctrl-C.   E2E_KEEP=1 leaves the lab standing.
set -eu
cd "$(dirname "$0")/../.."
driver=xdp
lab=tcpprobes

what="tcp probes"
. tests/l7_lab.sh
node=${PROBES_NODE:-$node}

# The probes answer for themselves: the client's kernel does not know their connections and would reset them. What
# they learn about a path (ICMP) belongs to addresses that nothing else uses.
prepare_client() {
    on client nft 'add table inet probes'
    on client nft 'add chain inet probes in { type filter hook input priority filter; }'
    on client nft 'add rule inet probes in tcp dport 10000-29999 drop'
    for host in 70 71 72 73 74 75 76 77 78 79; do
        on client ip addr add "10.10.2.$host/24" dev cli1
        on client ip addr add "fd00:10:2::$host/64" dev cli1 nodad
    done
}

# What goes over the wire is what was sent: nothing is put together or remembered from connection to connection. The
# edge only forwards to the origin here: connection tracking would have an opinion of its own.
prepare_paths() {
    on edge nft flush ruleset
    for end in 'client cli1' 'edge org0' 'origin org1'; do
        # shellcheck disable=SC2086  # place and interface
        on ${end% *} ethtool -K ${end#* } gro off
    done
    on origin sysctl -qw net.ipv4.tcp_no_metrics_save=1
}

echo "tcp probes: a node in l7 mode on $driver, and Linux $(uname -r)"
$bench lab up --prefix "$lab" >"$scratch/up" 2>&1 || { cat "$scratch/up"; exit 1; }
prepare_client
prepare_paths
start_node || exit 1
on client ping -q -c 1 10.10.3.2 >/dev/null
on client ping -q -c 1 fd00:10:3::2 >/dev/null

compare() {
    on client /usr/bin/python3 -B tests/tcp_probes/compare.py \
        --ours "$v4,fd99::1" --linux 10.10.3.2,fd00:10:3::2 \
        --interface cli1 --gateway-mac "$(on edge cat /sys/class/net/cli0/address)" "$@"
}

code=0
echo "tcp probes: handshakes are remembered"
compare "$@" || code=1

# The same where nothing is kept of a handshake: connections begin from a cookie (RFC 4987).
echo "tcp probes: handshakes are SYN cookies"
on origin sysctl -qw net.ipv4.tcp_syncookies=2
printf '[syn_proxy]\nsyn_cookies = "always"\n' >>"$folder/l7.toml"
kill -HUP "$node_pid"
cookies_sent() { api http://127.0.0.1:9191/metrics | grep 'secbeat_worker_cookies_sent_total{' | grep -vq ' 0$'; }
for _ in $(seq 50); do
    on client curl -s -m 2 -o /dev/null "http://$v4/1k.html"
    cookies_sent && break
    sleep 0.1
done
cookies_sent || { echo "  FAILED  the node does not send cookies"; exit 1; }
compare --first-port 12000 "$@" || code=1
exit $code
