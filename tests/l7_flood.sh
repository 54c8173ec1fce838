#!/bin/sh
# l7 mode while forged SYNs arrive: goodput over HTTPS before and during 200,000 SYN/s, and what the flood costs.
#
#   tests/l7_flood.sh [SYN/s]
#
# The attacker's generator has core 0; client, node, origin and the kernel's work for them share core 1. So goodput is
# asked for at a rate that leaves the core room (GOODPUT_RATE requests/s, each at the same pace before and during), and
# the closed-loop maximum of that shared core is reported beside it, with the node's CPU time.
set -eu
cd "$(dirname "$0")/.."
driver=xdp
lab=l7flood
rate=${1:-200k}
asked=${GOODPUT_RATE:-4000}
connections=16
seconds=8

what="l7 flood"
. tests/l7_lab.sh

# CPU time of the node's workers, nanoseconds.
node_time() { cat /proc/"$pid"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
# paced <file>: requests per second that were answered with success at the asked pace; the node's share of its core.
paced() {
    before=$(node_time)
    on client taskset -c 1 h2load --h1 -c "$connections" --rps=$((asked / connections)) -D "$seconds" \
        "https://$v4/1k.html" >"$1" 2>&1
    cost=$((($(node_time) - before) / seconds / 10000000))
    good=$(sed -n 's/.*requests: .* \([0-9]*\) succeeded.*/\1/p' "$1")
    echo "$((good / seconds)) $cost"
}
fastest() {
    on client taskset -c 1 wrk -t1 -c"$connections" -d4 "https://$v4/1k.html" >"$scratch/wrk"
    sed -n 's/Requests.sec: *\([0-9]*\).*/\1/p' "$scratch/wrk"
}

$bench lab up --prefix "$lab" --pin >"$scratch/up" || { cat "$scratch/up"; exit 1; }
$bench lab node --prefix "$lab" --mode l7 >"$scratch/node" || { cat "$scratch/node"; exit 1; }
pid=$(sed -n 's/^pid \([0-9]*\).*/\1/p' "$scratch/node")
calm=$(paced "$scratch/calm")
calm_most=$(fastest)
$bench flood --prefix "$lab" --rate "$rate" --seconds 60 >"$scratch/flood" 2>&1 &
started="$started $!"
sleep 1
flooded=$(paced "$scratch/flooded")
flooded_most=$(fastest)
echo "  asked $asked requests/s over HTTPS: before $(echo "$calm" | cut -d' ' -f1)/s, during $rate SYN/s $(echo "$flooded" | cut -d' ' -f1)/s"
echo "  the node's share of its core: $(echo "$calm" | cut -d' ' -f2) % before, $(echo "$flooded" | cut -d' ' -f2) % during"
echo "  as fast as the shared core can: before $calm_most/s, during $flooded_most/s"
keeps() { [ $(($(echo "$flooded" | cut -d' ' -f1) * 100)) -ge $(($(echo "$calm" | cut -d' ' -f1) * 95)) ]; }
none_fails() { cat "$scratch/flooded"; grep -qE ' 0 failed, 0 errored, 0 timeout' "$scratch/flooded"; }
check "goodput during the flood is at least 95 % of what it was" keeps
check "no request fails during the flood" none_fails
[ "$failures" = 0 ] || { echo "l7 flood: $failures checks failed"; exit 1; }
echo "l7 flood: all checks passed"
