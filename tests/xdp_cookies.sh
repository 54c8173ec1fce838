#!/bin/sh
# SYN cookies answered in the XDP program, before any worker: floods, honest clients, downloads that go on, reloads,
# kill -9, `auto` there and back, l7 mode. In network namespaces of its own.
#
#   tests/xdp_cookies.sh
#
# Needs root (or sudo that asks nothing); without, it says so and passes over. A veth hands what the program sends to
# its peer's XDP program and loses it when there is none, so the client's end gets one that passes everything.
#   E2E_KEEP=1   leaves the lab standing
set -eu
cd "$(dirname "$0")/.."
lab=e2e-xdp
what="cookies in XDP"
. tests/lab.sh

config=/run/secbeat-bench/$lab/files/node.toml
metric() { api http://127.0.0.1:9191/metrics | awk -v name="$1" '$1 == name { printf "%d", $2 }'; }
xdp_count() { sleep 1.1; metric "secbeat_xdp_packets_total{reason=\"$1\"}"; }
frames() { metric 'secbeat_worker_frames_in_total{worker="0"}'; }
node_pid() { pgrep -f "secbeat-node --config /run/secbeat-bench/$lab/" | head -n1; }
page_is() { [ "$(on client curl -g -s -m 10 -o /dev/null -w '%{http_code}' "$1")" = "$2" ]; }
place() { api http://127.0.0.1:9191/api/v1/status | jq -r '.listeners[0].cookies_at // "none"'; }
is_answered_at() {
    for _ in $(seq 50); do
        [ "$(place)" = "$1" ] && return 0
        sleep 0.1
    done
    echo "SYNs are answered at $(place), not $1"
    return 1
}
saw_attack() { api "http://127.0.0.1:9191/api/v1/events?limit=1000" | jq -e --arg kind "$1" \
    '[.events[] | select(.event == "attack_started" and .attack_type == $kind)] | length > 0'; }
honest() {
    $bench handshake --prefix "$lab" --count "$1" --concurrency "$2" --json >"$scratch/honest"
    cat "$scratch/honest"
    jq -e '.success_percent == 100' "$scratch/honest"
}

# slowly <rate>: a download that runs while other things happen; finished: it has arrived whole.
slowly() {
    ip netns exec "$lab-client" curl -s -m 60 --limit-rate "$1" -o "$scratch/slow" "http://$v4/1m.bin" &
    download=$!
    started="$started $download"
    sleep 0.5
}
finished() { wait "$download" && [ "$(stat -c %s "$scratch/slow")" = 1000000 ]; }

pass_everything() {
    cat >"$scratch/pass.c" <<'END'
#include <linux/bpf.h>
__attribute__((section("xdp"), used)) int pass(struct xdp_md *ctx) { return XDP_PASS; }
char terms[] __attribute__((section("license"), used)) = "GPL";
END
    clang -O2 -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c "$scratch/pass.c" -o "$scratch/pass.o"
    on client ip link set dev cli1 xdpdrv obj "$scratch/pass.o" sec xdp
}

# start <mode> <cookies> <at>: a node whose cookies are answered there; the key is set by a reload.
start() {
    $bench lab node --prefix "$lab" --mode "$1" --syn-cookies "$2" || return 1
    set_place "$3"
}
set_place() {
    # A busy test machine loses much of a flood before the program: what arrives is an attack all the same.
    grep -q '^\[attack\]' "$config" || printf '\n[attack]\nsyn_pps = 500\n' >>"$config"
    sed -i '/^syn_cookies_at/d; s/^syn_cookies = .*/&\nsyn_cookies_at = "'"$1"'"/' "$config"
    reload
}
reload() {
    before=$(metric 'secbeat_reloads_total{result="done"}')
    kill -HUP "$(node_pid)"
    for _ in $(seq 50); do
        [ "$(metric 'secbeat_reloads_total{result="done"}')" -gt "$before" ] && return 0
        sleep 0.1
    done
    api "http://127.0.0.1:9191/api/v1/events?limit=5"
    return 1
}

# flooded <kind> <reason> <attack>: a flood of this kind moves the program's counter and no worker, is reported, and an
# honest client is served all the while.
flooded() {
    begun=$(xdp_count "$2")
    frames_begun=$(frames)
    $bench flood --prefix "$lab" --kind "$1" --rate 50k --seconds 3 --core "$generator_core" >"$scratch/flood" 2>&1 &
    flood=$!
    started="$started $flood"
    honest 100 1 && served=yes || served=no
    wait "$flood" || { cat "$scratch/flood"; return 1; }
    [ "$served" = yes ] || return 1
    saw_attack "$3" || { cat "$scratch/flood"; echo "no $3 was reported"; return 1; }
    caught=$(($(xdp_count "$2") - begun))
    seen=$(($(frames) - frames_begun))
    echo "$caught packets of the flood ended in the program, workers saw $seen frames"
    # A hundred fetches are some two thousand frames.
    [ "$caught" -gt 10000 ] && [ "$seen" -lt 4000 ]
}

floods() {
    check "a SYN flood is answered by the program, honest clients are served" flooded syn tx_syn_cookie syn_flood
    slowly 150k
    check "forged ACKs end in the program" flooded ack drop_cookie_invalid ack_flood
    check "stray RSTs end in the program" flooded rst drop_no_flow rst_flood
    check "a download is not touched by either" finished
}

pages() {
    check "a page arrives" page_is "http://$v4/1k.html" 200
    check "a page arrives over IPv6" page_is "http://$v6/1k.html" 200
    check "fifty clients at a time are served" honest 500 50
    # What a client sends right behind its ACK, before a worker has opened the flow, is not a stray segment.
    head -c 20000 /dev/zero >"$scratch/body"
    posts() {
        lost=$(xdp_count drop_cookie_invalid)
        for _ in $(seq 20); do
            on client curl -s -m 5 -o /dev/null -H 'Expect:' --data-binary "@$scratch/body" "http://$v4/1k.html" \
                || return 1
        done
        [ "$(xdp_count drop_cookie_invalid)" = "$lost" ]
    }
    check "segments right behind the handshake are not dropped" posts
}

places() {
    slowly 200k
    check "a reload gives SYNs back to workers" set_place worker
    check "which is what status says" is_answered_at worker
    count=$(xdp_count tx_syn_cookie)
    check "a worker serves" page_is "http://$v4/1k.html" 200
    still() { [ "$(xdp_count tx_syn_cookie)" = "$count" ]; }
    check "and the program answers nothing" still
    check "a reload brings them back to the program" set_place xdp
    check "which is what status says" is_answered_at xdp
    check "a download goes on over both" finished
}

crash() {
    $bench flood --prefix "$lab" --rate 50k --seconds 8 --core "$generator_core" >/dev/null 2>&1 &
    flood=$!
    started="$started $flood"
    sleep 1
    kill -9 "$(node_pid)"
    kernel_serves() {
        for _ in $(seq 20); do
            page_is "http://$v4/1k.html" 200 && return 0
            sleep 0.1
        done
        return 1
    }
    check "after kill -9 the kernel's path serves: the program answers for no dead worker" kernel_serves
    check "a new node starts under the flood" start syn always xdp
    check "the program answers again" is_answered_at xdp
    check "and honest clients are served" honest 50 1
    wait "$flood" || true
}

# A table of 64 half-open connections fills at once; without SYNs the switch goes back when they have left its window.
back_and_forth() {
    check "a node with a half-open table starts" $bench lab node --prefix "$lab" --mode syn --syn-cookies auto
    sed -i '/^syn_cookies_at/d; s/^syn_cookies = .*/&\nsyn_cookies_at = "xdp"\nmax_syn_backlog = 64/' "$config"
    pid=$(node_pid)
    kill -TERM "$pid"
    for _ in $(seq 50); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
    ip netns exec "$lab-edge" $node --config "$config" >"$scratch/log" 2>&1 &
    node_pid=$!
    for _ in $(seq 50); do api -o /dev/null http://127.0.0.1:9191/health && break; sleep 0.1; done
    check "in peace SYNs are answered from the table" is_answered_at none
    check "a client is served from it" page_is "http://$v4/1k.html" 200
    $bench flood --prefix "$lab" --rate 20k --seconds 4 --core "$generator_core" >/dev/null 2>&1 &
    flood=$!
    started="$started $flood"
    check "a flood switches the program on" is_answered_at xdp
    check "honest clients are served by it" honest 50 1
    wait "$flood" || true
    goes_back() {
        for _ in $(seq 60); do
            [ "$(place)" = none ] && return 0
            sleep 0.5
        done
        return 1
    }
    check "after the flood it goes back to the table" goes_back
    check "which serves" honest 50 1
    kill "$node_pid"
    wait "$node_pid" || true
    node_pid=''
}

drain() {
    # More than the client's buffers take: the node must still have it in hand.
    $bench lab big --prefix "$lab" 32 >/dev/null
    pid=$(node_pid)
    ip netns exec "$lab-client" curl -s -m 60 --limit-rate 8M -o "$scratch/big" "http://$v4/big" &
    download=$!
    started="$started $download"
    sleep 0.5
    kill -TERM "$pid"
    sleep 0.3
    refused() { [ "$(on client curl -s -m 1 -o /dev/null -w '%{time_connect}' "http://$v4/1k.html")" = 0.000000 ]; }
    check "a draining node opens nothing" refused
    whole() { wait "$download" && [ "$(stat -c %s "$scratch/big")" = 33554432 ]; }
    check "and finishes a download that runs" whole
}

generator_core=0
echo "cookies in XDP"
$bench lab up --prefix "$lab" >"$scratch/up" 2>&1 || { cat "$scratch/up"; exit 1; }
pass_everything >"$scratch/pass" 2>&1 || { cat "$scratch/pass"; exit 1; }
check "a node starts" $bench lab node --prefix "$lab" --mode syn
check "on a veth workers answer by default" is_answered_at worker
check "a reload lets the program answer" set_place xdp
check "which is what status says" is_answered_at xdp
pages
floods
places
crash
drain
back_and_forth
check "a node in l7 mode starts" start l7 always xdp
check "the program answers for it" is_answered_at xdp
pages
floods
[ "$failures" = 0 ] || { echo "cookies in XDP: $failures checks failed"; exit 1; }
echo "cookies in XDP: all checks passed"
