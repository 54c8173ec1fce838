#!/bin/sh
# Clients with every combination of TCP options, through a node that answers with cookies; captured at the client and
# at the origin, and compared option by option (handshake_options.py says what must hold).
#
#   tests/handshake_options.sh <lab prefix> [<merged.pcap>]
#
# Needs a lab that stands, with a node in syn mode and `syn_cookies = "always"` in it. Called by end_to_end.sh.
set -eu
cd "$(dirname "$0")/.."
lab=$1
merged=${2:-}
work=$(mktemp -d)
captures=''
cleanup() {
    for pid in $captures; do kill "$pid" 2>/dev/null || true; done
    setting tcp_timestamps 1
    setting tcp_sack 1
    setting tcp_window_scaling 1
    rm -rf "$work"
}
setting() { ip netns exec "$lab-client" sysctl -qw "net.ipv4.$1=$2"; }
trap cleanup EXIT
trap 'exit 130' INT TERM

# Only SYNs and SYN-ACKs, of both families.
syns='(tcp[13] & 2 != 0) or (ip6[6] = 6 and ip6[53] & 2 != 0)'
capture() {
    ip netns exec "$lab-$1" tcpdump -q -U --immediate-mode -Z root -s 160 -i "$2" -w "$work/$1.pcap" "$syns" 2>"$work/$1.log" &
    captures="$captures $!"
    for _ in $(seq 50); do
        grep -q 'listening on' "$work/$1.log" && return 0
        sleep 0.1
    done
    cat "$work/$1.log"
    return 1
}
capture client cli1
capture origin org1

# Other ports each time: those of the last run still wait in TIME-WAIT.
port=$((45000 + $$ % 200 * 50))
# one <family> <timestamps> <sack> <scaling> <mss>; mss 0 leaves it to the interface
one() {
    port=$((port + 1))
    setting tcp_timestamps "$2"
    setting tcp_sack "$3"
    setting tcp_window_scaling "$4"
    if [ "$1" = 4 ]; then address=10.99.0.1 url=http://10.99.0.1/1k.html via=10.10.2.1; else
        address=fd99::1 url='http://[fd99::1]/1k.html' via=fd00:10:2::1
    fi
    if [ "$5" != 0 ]; then
        ip -n "$lab-client" "-$1" route replace "$address" via "$via" dev cli1 advmss "$5"
    else
        ip -n "$lab-client" "-$1" route del "$address" 2>/dev/null || true
    fi
    ip netns exec "$lab-client" curl -sf -m 5 --local-port "$port" -o /dev/null "$url" \
        || { echo "IPv$1 timestamps $2 sack $3 scaling $4 mss $5: no page"; return 1; }
    echo "$1 $2 $3 $4 $5 $port" >>"$work/cases"
}
for family in 4 6; do
    for timestamps in 0 1; do
        for sack in 0 1; do
            for scaling in 0 1; do
                one $family $timestamps $sack $scaling 0
            done
        done
    done
    for mss in 1300 1250 576; do
        one $family 1 1 1 $mss
        one $family 0 1 1 $mss
    done
    one $family 1 1 1 0
done
sleep 0.3
for pid in $captures; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
captures=''
python3 tests/handshake_options.py "$work/cases" "$work/client.pcap" "$work/origin.pcap" 10000 32767 \
    ${merged:+--merge "$merged"}
