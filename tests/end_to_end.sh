#!/bin/sh
# Real programs through a real node, in network namespaces: curl, wrk, nmap and iperf3 against nginx;
# in syn mode also captures of handshakes, compared option by option.
#
#   tests/end_to_end.sh syn | tcp
#
# Needs root (or sudo that asks nothing); without, it says so and passes over. Never touches an interface of the
# machine: everything happens between namespaces of its own, which it removes, also on Ctrl-C.
#   E2E_BIG_MIB=1024   size of the download over a bad link, in MiB
#   E2E_KEEP=1         leave the lab standing
set -eu
cd "$(dirname "$0")/.."
mode=$1
big_mib=${E2E_BIG_MIB:-48}
lab=e2e-$mode
edge_address=10.10.3.1
what="end to end"
. tests/lab.sh

status_of() { on client curl -s -m 10 -o /dev/null -w '%{http_code}' "$1"; }
page_is() { [ "$(status_of "$1")" = "$2" ] || { echo "$1 answers $(status_of "$1"), not $2"; return 1; }; }
seen_as() {
    seen=$(on client curl -s -m 10 "$1" | cut -d' ' -f1)
    [ "$seen" = "$2" ] || { echo "the origin sees $seen, not $2"; return 1; }
}
sum_of() { on "$1" curl -s -m 300 "$2" | sha256sum; }
same_bytes() {
    through=$(sum_of client "$1")
    direct=$(sum_of origin "$2")
    [ "$through" = "$direct" ] || { echo "sums differ: $through, $direct"; return 1; }
}

iperf() {
    ip netns exec "$lab-origin" iperf3 -s -1 >/dev/null 2>&1 &
    server=$!
    for _ in $(seq 50); do
        on origin ss -Hltn 'sport = 5201' | grep -q . && break
        sleep 0.1
    done
    on client iperf3 -c "$1" -t 2 --connect-timeout 5000 $2 --json >"$scratch/iperf.json" || true
    # One server serves once; the next must not meet it.
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    # Any real speed will do here; how fast is a matter for the benchmarks.
    jq -e '.end.sum_received.bits_per_second > 10e6' "$scratch/iperf.json" || {
        jq '{error, end: .end.sum_received}' "$scratch/iperf.json"
        return 1
    }
}

wrk_is_clean() {
    on client wrk -t1 -c20 -d2 --timeout 5 "$1" >"$scratch/wrk"
    cat "$scratch/wrk"
    grep -q 'Requests/sec' "$scratch/wrk" && ! grep -qE 'Socket errors|Non-2xx' "$scratch/wrk"
}

nmap_sees() {
    on client nmap -Pn -n -sS -sV -p 80,8080,9999 "$@" >"$scratch/nmap"
    cat "$scratch/nmap"
    grep -q '^80/tcp *open *http *nginx' "$scratch/nmap" && grep -q '^8080/tcp *open' "$scratch/nmap" \
        && grep -qE '^9999/tcp *(closed|filtered)' "$scratch/nmap"
}

start_node() { $bench lab node --prefix "$lab" --mode "$mode" --driver "$1"; }
node_pid() { pgrep -f "secbeat-node --config /run/secbeat-bench/$lab/" | head -n1; }

programs() {
    check "curl fetches a page" page_is "http://$v4/1k.html" 200
    check "curl fetches a page over IPv6" page_is "http://$v6/1k.html" 200
    check "the origin sees the node's address" seen_as "http://$v4/whoami" "$edge_address"
    check "the PROXY header names the client" seen_as "http://$v4:81/whoami" "$client_address"
    check "the PROXY header names the client over IPv6" seen_as "http://$v6:81/whoami" fd00:10:2::2
    check "a megabyte arrives unchanged" same_bytes "http://$v4/1m.bin" http://127.0.0.1/1m.bin
    check "wrk sees no error" wrk_is_clean "http://$v4/1k.html"
    check "wrk sees no error over IPv6" wrk_is_clean "http://$v6/1k.html"
    check "iperf3 sends" iperf $v4 ''
    check "iperf3 receives" iperf $v4 -R
    check "iperf3 receives over IPv6" iperf fd99::1 -R
    check "nmap finds nginx and the closed port" nmap_sees $v4
}

bans() {
    ban() { api -X POST -d "{\"ip\":\"$client_address\",\"duration\":300}" http://127.0.0.1:9191/api/v1/block-ip; }
    blocked() { sleep 1; [ "$(on client curl -s -m 2 -o /dev/null -w '%{http_code}' "http://$v4/1k.html")" = 000 ]; }
    served() { sleep 1; page_is "http://$v4/1k.html" 200; }
    check "a ban is taken" ban
    check "a banned client gets nothing within a second" blocked
    check "the node restarts" start_node xdp
    check "the ban survives the restart" blocked
    check "the ban is lifted" api -f -X DELETE "http://127.0.0.1:9191/api/v1/block-ip/$client_address"
    check "the client is served again" served
}

crash() {
    # All of it under a flood: nobody kills a node on a quiet day.
    $bench flood --prefix "$lab" --rate 200k --seconds 30 >/dev/null 2>&1 &
    flood=$!
    started="$started $flood"
    sleep 1
    check "a page arrives during a flood" page_is "http://$v4/1k.html" 200
    kill -9 "$(node_pid)"
    kernel_serves() {
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            [ "$(on client curl -s -m 2 -o /dev/null -w '%{http_code}' "http://$v4/1k.html")" = 200 ] && return 0
            sleep 0.1
        done
        return 1
    }
    check "after kill -9 the kernel's path serves" kernel_serves
    # In force again means: the node itself answers SYNs with cookies, counted by the new process.
    protects_again() {
        begun=$(date +%s%N)
        start_node xdp || return 1
        until api http://127.0.0.1:9191/metrics | grep -qE '^secbeat_worker_frames_in_total\{[^}]*\} [1-9]'; do
            [ $(($(date +%s%N) - begun)) -lt 5000000000 ] || break
        done
        took=$((($(date +%s%N) - begun) / 1000000))
        echo "protection is back after $took ms"
        [ "$took" -lt 2000 ]
    }
    check "a new node protects again within 2 s, under the flood" protects_again
    check "and serves" page_is "http://$v4/1k.html" 200
    kill "$flood" 2>/dev/null || true
    wait "$flood" 2>/dev/null || true
}

drain() {
    pid=$(node_pid)
    on client curl -s -m 60 --limit-rate 400k -o "$scratch/slow" "http://$v4/1m.bin" &
    download=$!
    sleep 0.5
    kill -TERM "$pid"
    finished() { wait "$download" && [ "$(stat -c %s "$scratch/slow")" = 1000000 ]; }
    gone() { for _ in $(seq 100); do [ -d "/proc/$pid" ] || return 0; sleep 0.1; done; return 1; }
    check "a download that runs when the node is told to stop is finished" finished
    check "the node ends by itself" gone
}

bad_link() {
    $bench lab down --prefix "$lab" >/dev/null
    $bench lab up --prefix "$lab" --impair "--loss 1 --reorder 1" >"$scratch/up" || { cat "$scratch/up"; return 1; }
    $bench lab big --prefix "$lab" "$big_mib" >/dev/null
    check "the node starts behind a bad link" start_node xdp
    check "$big_mib MiB arrive unchanged under 1 % loss and 1 % reordering" same_bytes "http://$v4/big" http://127.0.0.1/big
}

# Sockets, an ordinary user, no capability: inside the origin's namespace, in front of its nginx.
unprivileged() {
    home=$scratch/home
    mkdir -p "$home"
    cp $node "$home/"
    cat >"$home/node.toml" <<END
[server]
mode = "tcp"
bind_address = "127.0.0.1:18443"
backend_address = "127.0.0.1:80"
state_dir = "$home"
[io]
driver = "socket"
[limits]
source_rate = 0
source_connections = 0
END
    chmod 755 "$scratch"
    chown -R nobody "$home"
    ip netns exec "$lab-origin" setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set=-all \
        --inh-caps=-all "$home/secbeat-node" --config "$home/node.toml" >"$scratch/log" 2>&1 &
    started="$started $!"
    answers() {
        for _ in $(seq 50); do
            on origin curl -sf -m 2 -o /dev/null http://127.0.0.1:18443/1k.html && return 0
            sleep 0.1
        done
        tail -n 5 "$scratch/log"
        return 1
    }
    load() {
        on origin wrk -t1 -c20 -d2 --timeout 5 http://127.0.0.1:18443/1k.html >"$scratch/wrk"
        cat "$scratch/wrk"
        grep -q 'Requests/sec' "$scratch/wrk" && ! grep -qE 'Socket errors|Non-2xx' "$scratch/wrk"
    }
    check "without privilege the node serves from sockets" answers
    check "wrk sees no error without privilege" load
    sums() { [ "$(sum_of origin http://127.0.0.1:18443/1m.bin)" = "$(sum_of origin http://127.0.0.1/1m.bin)" ]; }
    check "a megabyte arrives unchanged without privilege" sums
}

echo "end to end: mode $mode"
$bench lab up --prefix "$lab" >"$scratch/up" 2>&1 || { cat "$scratch/up"; exit 1; }
check "the node starts on AF_XDP" start_node xdp
programs
[ "$mode" != syn ] || check "cookies keep every option a client offers" tests/handshake_options.sh "$lab"
bans
crash
drain
if [ "$mode" = tcp ]; then
    # The lab's kernel path would take the connections before any socket does.
    on edge nft flush ruleset
    check "the node starts on sockets" start_node socket
    programs
    $bench lab node --prefix "$lab" --stop >/dev/null 2>&1 || true
    unprivileged
fi
bad_link
if [ "$mode" = syn ]; then
    $bench lab down --prefix "$lab" >/dev/null
    check "honest clients are served during every flood" $bench scenario --prefix "$lab" --results "$scratch" bench/scenarios/quick.toml
fi
[ "$failures" = 0 ] || { echo "end to end: $failures checks failed"; exit 1; }
echo "end to end: all checks passed"
