#!/bin/sh
# l7 mode over a bad link, beside the kernel's own TCP in the same lab: HTTPS down and up, on one connection and many.
#
#   tests/bad_link.sh [<MiB> <connections>]...       default: 128 MiB on 1 connection, 1024 MiB on 96
#
# The link has 10 ms each way, 2 % loss and 1 % reordering. Every byte is compared; the node must reach at least 0.8 of
# what the kernel's path (nginx with TLS, the same certificate) reaches with the congestion control that this host has.
# The rounds alternate; medians count. Single rounds scatter, for the kernel too: a row that fails its first round gets
# two more, and the median of three decides. What the kernel reaches with CUBIC on one connection is printed beside it.
set -eu
cd "$(dirname "$0")/.."
driver=xdp
lab=badlink
rounds=${BAD_LINK_ROUNDS:-1}
[ $# -gt 0 ] || set -- 128 1 1024 96

what="bad link"
. tests/l7_lab.sh

# down <folder>: every part of /big on a connection of its own; milliseconds on standard output.
down() {
    mkdir -p "$1"
    begun=$(date +%s%N)
    seq 0 $((connections - 1)) | on client xargs -P "$connections" -I{} sh -c \
        "curl -sk --http1.1 -m 900 -r \$(({} * $part))-\$(({} * $part + $part - 1)) -o $1/{} https://$v4/big"
    echo $((($(date +%s%N) - begun) / 1000000))
}
sum_of_parts() { for index in $(seq 0 $((connections - 1))); do cat "$1/$index"; done | sha256sum; }

# up <prefix of URL>: the same upload on every connection; the origin says what it received.
up() {
    rm -rf "$scratch/answers"
    mkdir -p "$scratch/answers"
    begun=$(date +%s%N)
    seq 0 $((connections - 1)) | on client xargs -P "$connections" -I{} \
        curl -sk --http1.1 -m 900 -T "$scratch/piece" -H Expect: -o "$scratch/answers/{}" "$1"
    echo $((($(date +%s%N) - begun) / 1000000))
}

# median of the lines of standard input.
median() { sort -n | awk '{ line[NR] = $1 } END { print line[int((NR + 1) / 2)] }'; }

# ratio down|up: of the kernel's rate, what the node reaches, by medians, in percent.
ratio() { echo $(($(median <"$scratch/kernel_$1") * 100 / $(median <"$scratch/node_$1"))); }

# megabits <milliseconds>: the rate of this transfer in Mbit/s.
megabits() { echo $((total * 8 / $1 / 1000)); }

# round: every transfer once, on both paths.
round() {
    down "$scratch/kernel" >>"$scratch/kernel_down"
    check "$what come down unchanged on the kernel's path" same_down "$scratch/kernel"
    up "https://$v4/echo" >>"$scratch/kernel_up"
    check "$what go up unchanged on the kernel's path" same_up
    start_node
    down "$scratch/node" >>"$scratch/node_down"
    check "$what come down unchanged through the node" same_down "$scratch/node"
    up "https://$v4/echo" >>"$scratch/node_up"
    check "$what go up unchanged through the node" same_up
    kill "$node_pid"
    wait "$node_pid" 2>/dev/null || true
    node_pid=''
    rm -rf "/run/secbeat-bench/$lab/bpf/secbeat" "$scratch/kernel" "$scratch/node"
    sleep 0.2
}

# row <MiB> <connections>
row() {
    mib=$1
    connections=$2
    part=$(((mib << 20) / connections))
    total=$((part * connections))
    rm -f "$scratch"/kernel_* "$scratch"/node_*
    head -c "$part" /dev/urandom >"$scratch/piece"
    piece_sum=$(sha256sum <"$scratch/piece" | cut -d' ' -f1)
    big_sum=$(head -c "$total" "$folder/www/big" | sha256sum)
    what="$mib MiB on $connections connections"
    for _ in $(seq "$rounds"); do round; done
    if [ "$rounds" = 1 ] && { [ "$(ratio down)" -lt 80 ] || [ "$(ratio up)" -lt 80 ]; }; then
        echo "  a round below the bar: down $(ratio down) %, up $(ratio up) %; two more"
        round
        round
    fi
    for way in down up; do
        kernel=$(median <"$scratch/kernel_$way")
        ours=$(median <"$scratch/node_$way")
        ratio=$(ratio "$way")
        echo "  $way: kernel ($control) $(megabits "$kernel") Mbit/s, node $(megabits "$ours") Mbit/s: $ratio %"
        at_least() { [ "$ratio" -ge 80 ]; }
        check "$what $way at 80 % of the kernel or better" at_least
    done
}

# The kernel's CUBIC on one connection: what loss-based control makes of this link.
kernel_cubic() {
    connections=1
    part=$((4 << 20))
    total=$part
    for place in client origin; do
        # Not everywhere may a namespace choose.
        on "$place" sysctl -qw net.ipv4.tcp_congestion_control=cubic 2>/dev/null || return 0
    done
    took=$(down "$scratch/kernel")
    echo "  down: kernel (cubic) $(megabits "$took") Mbit/s on 1 connection, for comparison"
    for place in client origin; do on "$place" sysctl -qw net.ipv4.tcp_congestion_control="$control"; done
    rm -rf "$scratch/kernel"
}

same_down() { [ "$(sum_of_parts "$1")" = "$big_sum" ]; }
same_up() {
    [ "$(cat "$scratch"/answers/* | jq -r .sha256 | grep -c "$piece_sum")" = "$connections" ]
}

big_mib=0
for number in "$@"; do [ "$number" -le "$big_mib" ] || big_mib=$number; done
$bench lab up --prefix "$lab" --impair "--delay-ms 10 --loss 2 --reorder 1 --seed 7" >"$scratch/up" || { cat "$scratch/up"; exit 1; }
$bench lab big --prefix "$lab" "$big_mib" >/dev/null
start_echo
control=$(on origin sysctl -n net.ipv4.tcp_congestion_control)
while [ $# -ge 2 ]; do
    row "$1" "$2"
    shift 2
done
[ "$control" = cubic ] || kernel_cubic
[ "$failures" = 0 ] || { echo "bad link: $failures checks failed"; exit 1; }
echo "bad link: all checks passed"
