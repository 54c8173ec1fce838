#!/bin/sh
# l7 mode, real programs through a real node, in network namespaces: curl, wrk, h2load, openssl, nmap against nginx and
# an origin that says what it received.
#
#   tests/end_to_end_l7.sh xdp | socket
#
# Needs root (or sudo that asks nothing); without, it says so and passes over. Everything happens between namespaces of
# its own, which it removes, also on Ctrl-C.   E2E_KEEP=1 leaves the lab standing.   E2E_BIG_MIB: size over a bad link.
set -eu
cd "$(dirname "$0")/.."
driver=$1
lab=e2el7-$driver
big_mib=${E2E_BIG_MIB:-16}

what="end to end"
. tests/l7_lab.sh

status_is() { want=$1; shift; got=$(fetch -o /dev/null -w '%{http_code}' "$@"); [ "$got" = "$want" ] || { echo "answers $got, not $want"; return 1; }; }
version_is() { want=$1; shift; got=$(fetch -o /dev/null -w '%{http_version}' "$@"); [ "$got" = "$want" ] || { echo "speaks $got, not $want"; return 1; }; }
same_bytes() {
    through=$(fetch -m 300 "$1" | sha256sum)
    direct=$(on origin curl -s -m 300 "$2" | sha256sum)
    [ "$through" = "$direct" ] || { echo "sums differ: $through, $direct"; return 1; }
}
# What the origin says it received of an upload equals what was sent.
upload_arrives() {
    head -c "$1" /dev/urandom >"$scratch/upload"
    sum=$(sha256sum <"$scratch/upload" | cut -d' ' -f1)
    shift
    got=$(fetch -m 300 "$@" --data-binary @"$scratch/upload" | jq -r .sha256)
    [ "$got" = "$sum" ] || { echo "the origin received $got, not $sum"; return 1; }
}
field_is() {
    got=$(fetch "$1" | jq -r --arg name "$2" '[.fields[] | select((.[0] | ascii_downcase) == $name) | .[1]] | join(",")')
    echo "$got" | grep -qE "$3" || { echo "$2 is '$got'"; return 1; }
}
tls_version() {
    on client sh -c "echo | openssl s_client -connect $v4:443 -servername lab.test $1 2>&1" >"$scratch/tls"
    grep -E 'Protocol|Cipher|Verif|error' "$scratch/tls" | head -n 5
    grep -qE "$2" "$scratch/tls"
}
wrk_is_clean() {
    on client wrk -t1 -c20 -d2 --timeout 5 "$1" >"$scratch/wrk"
    cat "$scratch/wrk"
    grep -q 'Requests/sec' "$scratch/wrk" && ! grep -qE 'Socket errors|Non-2xx' "$scratch/wrk"
}
h2load_is_clean() {
    on client h2load -n 2000 -c 10 -m 10 "$1" >"$scratch/h2load" 2>&1
    cat "$scratch/h2load"
    grep -q '2000 succeeded, 0 failed, 0 errored' "$scratch/h2load"
}
trickles() {
    # Ten lines, one every 100 ms: the first must be there long before the last.
    first=$(fetch -N "$1" | { read -r _; date +%s%N; cat >/dev/null; })
    last=$(date +%s%N)
    echo "first line $(((last - first) / 1000000)) ms before the end"
    [ $(((last - first) / 1000000)) -gt 500 ]
}
refused_raw() {
    # A request as it is, without a client's help; the answer's status line.
    got=$({ printf "$1"; sleep 6; } | on client timeout 10 nc 10.99.0.1 80 | head -n 1 | tr -d '\r')
    echo "$got"
    echo "$got" | grep -q "$2"
}
health_of_backend_is_seen() { api http://127.0.0.1:9191/api/v1/status | jq -e '.backends | length == 4'; }

programs() {
    check "curl fetches a page over HTTP/2" version_is 2 "https://$v4/1k.html"
    check "with status 200" status_is 200 "https://$v4/1k.html"
    check "over IPv6" status_is 200 -g "https://$v6/1k.html"
    check "over HTTP/1.1" version_is 1.1 --http1.1 "https://$v4/1k.html"
    check "without TLS" status_is 200 "http://$v4/1k.html"
    check "over HTTP/1.0" status_is 200 --http1.0 "http://$v4/1k.html"
    check "HEAD is answered without a body" status_is 200 -I "https://$v4/1k.html"
    check "what is not there is 404 of the origin" status_is 404 "https://$v4/none"
    check "plain HTTP is sent to HTTPS" status_is 301 "http://$v4:81/x?y=1"
    check "TLS 1.2 is spoken" tls_version -tls1_2 'Protocol *: TLSv1.2|New, TLSv1.2'
    check "TLS 1.3 is spoken" tls_version -tls1_3 'TLSv1.3'
    check "TLS 1.1 is not" tls_version -tls1_1 'Cipher is \(NONE\)'
    check "a megabyte arrives unchanged over HTTP/2" same_bytes "https://$v4/1m.bin" http://127.0.0.1/1m.bin
    check "a chunked body arrives unchanged" same_bytes "https://$v4/bytes?n=3000000&chunked" "http://10.10.3.2:8000/bytes?n=3000000"
    check "an upload arrives unchanged over HTTP/2" upload_arrives 3000000 "https://$v4/echo"
    check "an upload arrives unchanged over HTTP/1.1, chunked" upload_arrives 3000000 --http1.1 -H 'Transfer-Encoding: chunked' "https://$v4/echo"
    check "a small upload with Expect arrives" upload_arrives 2000000 --http1.1 -H 'Expect: 100-continue' "http://$v4/echo"
    check "an empty POST arrives" upload_arrives 0 "https://$v4/echo"
    check "the origin learns the client's address" field_is "https://$v4/echo" x-forwarded-for "^$client_address\$"
    check "and the scheme" field_is "https://$v4/echo" x-forwarded-proto '^https$'
    check "the host is kept" field_is "https://$v4/echo" host "^$v4\$"
    check "each request has an id" field_is "https://$v4/echo" x-request-id '^.{8,}$'
    check "a trickle passes as it comes" trickles "https://$v4/trickle?ms=100"
    check "an answer that is cut short is seen as such" sh -c "! ip netns exec $lab-client curl -sk -m 10 -o /dev/null https://$v4/cut"
    check "a WebSocket passes" on client tests/websocket.py "ws://$v4/ws"
    check "a WebSocket passes over TLS" on client tests/websocket.py "wss://$v4/ws"
    check "wrk sees no error without TLS" wrk_is_clean "http://$v4/1k.html"
    check "wrk sees no error over TLS" wrk_is_clean "https://$v4/1k.html"
    check "h2load sees no error" h2load_is_clean "https://$v4/1k.html"
    check "h2load sees no error without HTTP/2" h2load_is_clean_h1 "https://$v4/1k.html"
    check "a path that climbs out is refused" status_is 400 --path-as-is "https://$v4/a/../../etc/passwd"
    check "an encoded one as well" status_is 400 --path-as-is "https://$v4/%2e%2e/%2e%2e/etc/passwd"
    check "two lengths are refused" refused_raw 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx' ' 400 '
    check "length and chunks together are refused" refused_raw 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' ' 400 '
    check "a bare line feed is refused" refused_raw 'GET / HTTP/1.1\nHost: a\n\n' ' 400 '
    check "no Host is refused" refused_raw 'GET / HTTP/1.1\r\n\r\n' ' 400 '
    check "a head that never ends is told so" refused_raw 'GET / HTTP/1.1\r\nHost: a\r\nX: ' ' 408 '
    check "the status page knows the backends" health_of_backend_is_seen
    check "the access log has a line with a request id" sh -c "sleep 1; tail -n 1 $folder/access.log | jq -e .request_id"
    check "nmap names the service" nmap_sees
}
h2load_is_clean_h1() {
    on client h2load --h1 -n 2000 -c 10 "$1" >"$scratch/h2load" 2>&1
    cat "$scratch/h2load"
    grep -q '2000 succeeded, 0 failed, 0 errored' "$scratch/h2load"
}
nmap_sees() {
    on client nmap -Pn -n -sS -sV --version-light -p 80,443,9999 $v4 >"$scratch/nmap"
    cat "$scratch/nmap"
    grep -qE '^443/tcp *open' "$scratch/nmap" && grep -qE '^80/tcp *open *http' "$scratch/nmap" \
        && grep -qE '^9999/tcp *(closed|filtered)' "$scratch/nmap"
}

# Nothing fails while certificates, configuration and backends change under load.
reloads() {
    on client h2load --h1 -c 10 -D 6 --rps=30 "https://$v4/1k.html" >"$scratch/load" 2>&1 &
    load=$!
    sleep 1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=new.test \
        -addext subjectAltName=DNS:new.test -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null
    kill -HUP "$node_pid"
    sleep 1
    shows_new() { on client sh -c "echo | openssl s_client -connect $v4:443 2>/dev/null" | grep -q 'CN = new.test\|CN=new.test'; }
    check "a new certificate is shown after a reload" shows_new
    sed -i 's/^keepalive_timeout.*/keepalive_timeout = 25/' "$folder/l7.toml"
    kill -HUP "$node_pid"
    sleep 0.5
    echo garbage >"$folder/cert.pem"
    kill -HUP "$node_pid"
    sleep 1
    check "a certificate that is none leaves the one in force" shows_new
    wait $load || true
    no_failures() { cat "$scratch/load"; grep -qE ' 0 failed, 0 errored, 0 timeout' "$scratch/load"; }
    check "no request failed during reloads" no_failures
}

origin_restarts() {
    kill "$echo_pid" && wait "$echo_pid" 2>/dev/null || true
    check "without its origin a request is told 502 or 503" sh -c "ip netns exec $lab-client curl -sk -m 10 -o /dev/null -w '%{http_code}' https://$v4/echo | grep -qE '50[234]'"
    start_echo
    back() { for _ in $(seq 60); do status_is 200 "https://$v4/echo" && return 0; sleep 0.1; done; return 1; }
    check "the origin is used again when it is back" back
}

slow_clients() {
    on client slowhttptest -H -c 1000 -r 500 -i 2 -l 12 -u "http://$v4/1k.html" -p 3 >"$scratch/slow" 2>&1 &
    slow=$!
    sleep 5
    check "a page arrives while 1,000 slow heads are open" status_is 200 "https://$v4/1k.html"
    check "wrk sees no error beside them" wrk_is_clean "http://$v4/1k.html"
    wait $slow || true
    available() { sed 's/\x1b\[[0-9;]*m//g' "$scratch/slow" | tail -n 25; sed 's/\x1b\[[0-9;]*m//g' "$scratch/slow" | grep 'service available' | tail -n 1 | grep -q YES; }
    check "slowhttptest finds the service available (slow heads)" available
    on client slowhttptest -B -c 1000 -r 500 -i 2 -l 12 -s 8192 -u "http://$v4/echo" -p 3 >"$scratch/slow" 2>&1 || true
    check "slowhttptest finds the service available (slow bodies)" available
    on client slowhttptest -X -c 1000 -r 500 -w 10 -y 20 -n 5 -z 32 -l 12 -u "http://$v4/1m.bin" -p 3 >"$scratch/slow" 2>&1 || true
    check "slowhttptest finds the service available (slow reading)" available
}

drain() {
    on client curl -sk -m 60 --limit-rate 400k -o "$scratch/slowly" "https://$v4/1m.bin" &
    download=$!
    sleep 0.7
    kill -TERM "$node_pid"
    finished() { wait "$download" && [ "$(stat -c %s "$scratch/slowly")" = 1000000 ]; }
    gone() { for _ in $(seq 150); do [ -d "/proc/$node_pid" ] || return 0; sleep 0.1; done; return 1; }
    check "a download that runs when the node is told to stop is finished" finished
    check "the node ends by itself" gone
}

bad_link() {
    $bench lab down --prefix "$lab" >/dev/null
    $bench lab up --prefix "$lab" --impair "--loss 1 --reorder 1" >"$scratch/up" || { cat "$scratch/up"; return 1; }
    [ "$driver" = xdp ] || on edge nft flush ruleset
    start_echo
    check "the node starts behind a bad link" start_node
    check "$big_mib MiB come down unchanged under 1 % loss and 1 % reordering" same_bytes \
        "https://$v4/bytes?n=$((big_mib << 20))" "http://10.10.3.2:8000/bytes?n=$((big_mib << 20))"
    check "$big_mib MiB go up unchanged under 1 % loss and 1 % reordering" upload_arrives $((big_mib << 20)) "https://$v4/echo"
}

echo "end to end: mode l7 on $driver"
$bench lab up --prefix "$lab" >"$scratch/up" 2>&1 || { cat "$scratch/up"; exit 1; }
# The lab's kernel path would take the connections before any socket does.
[ "$driver" = xdp ] || on edge nft flush ruleset
start_echo
check "the node starts" start_node
programs
reloads
origin_restarts
slow_clients
drain
bad_link
[ "$failures" = 0 ] || { echo "end to end: $failures checks failed"; exit 1; }
echo "end to end: all checks passed"
