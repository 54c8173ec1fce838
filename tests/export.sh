#!/bin/sh
# Security events of a real node at a real rsyslog: UDP, TCP and TLS, a receiver that is away, one that stops reading.
#
#   tests/export.sh        SECBEAT_NODE=... the program; EXPORT_KEEP=1 leaves configuration and logs
#
# No privilege and no network: one node in l7 mode on kernel sockets, its origin and rsyslogd, all on loopback.
# Events are caused from outside: bans through the API, requests that the node refuses, among them hostile ones.
# What rsyslog has parsed is compared with what the node says it has sent, number by number.
set -eu
cd "$(dirname "$0")/.."
node=${SECBEAT_NODE:-$PWD/target/release/secbeat-node}
rsyslogd=$(PATH="$PATH:/usr/sbin:/sbin" command -v rsyslogd) || {
    echo "export: rsyslogd is missing: run scripts/setup.sh"
    exit 1
}
[ -x "$node" ] || { echo "export: $node is missing: build it, or set SECBEAT_NODE"; exit 1; }
scratch=$(mktemp -d)
token=$(openssl rand -hex 16)
node_pid='' rsyslog_pid='' origin_pid='' deaf_pid=''

cleanup() {
    for pid in $node_pid $rsyslog_pid $origin_pid $deaf_pid; do
        kill -CONT "$pid" 2>/dev/null || true
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "${EXPORT_KEEP:-}" ]; then echo "kept: $scratch"; else rm -rf "$scratch"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# shellcheck disable=SC2046  # eight ports
set -- $(python3 -c '
import socket
held = [socket.socket() for _ in range(8)]
[holder.bind(("127.0.0.1", 0)) for holder in held]
print(*(holder.getsockname()[1] for holder in held))')
udp=$1 tcp=$2 tls=$3 cef=$4 web=$5 origin=$6 metrics=$7 deaf=$8

. tests/check.sh
# metric <name> <labels>: its value.
metric() {
    curl -s "http://127.0.0.1:$metrics/metrics" | awk -v wanted="secbeat_export_$1{$2}" \
        '$1 == wanted { print $2; found = 1 } END { if (!found) print "absent" }'
}
lost() { metric lost_total "sink=\"$1\",reason=\"$2\""; }
api() {
    curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$@"
}
# ban <address>: through the API, and lifted again.
ban() {
    api "http://127.0.0.1:$metrics/api/v1/block-ip" -d "{\"ip\":\"$1\",\"duration\":600,\"reason\":\"test \\\"]\\\\ = |\"}" \
        >"$scratch/ban"
    api -X DELETE "http://127.0.0.1:$metrics/api/v1/block-ip/$1" >>"$scratch/ban"
}
# bad_requests <count>: targets that climb out of the root; each is refused and reported.
bad_requests() {
    python3 - "$web" "$1" <<'END'
import socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
for number in range(count):
    # A worker reports a few refused requests per tick; of a flood it counts most.
    time.sleep(0.02)
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        target = b'/../../etc/passwd?%d"]\\|=<132>1' % number
        agent = b'User-Agent: x"]\\|=\xff\xc3\x28\r\n'
        s.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: shop.example\r\n" + agent + b"Connection: close\r\n\r\n")
        while s.recv(4096):
            pass
END
}
# records <file> <jq filter>: how many parsed records match.
records() { jq -c "select($2)" "$1" 2>/dev/null | wc -l; }
is() { [ "$1" = "$2" ] || { echo "        $1, expected $2"; return 1; }; }
at_least() { [ "$1" -ge "$2" ] || { echo "        $1, expected at least $2"; return 1; }; }

certificates() {
    cd "$scratch"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=test authority' \
        -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign
    for name in syslog client; do
        openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj "/CN=$name"
        printf 'subjectAltName=IP:127.0.0.1,DNS:%s\nbasicConstraints=CA:false\n' $name >$name.ext
        openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile $name.ext -out $name.pem
    done
    cd - >/dev/null
}
certificates >"$scratch/certificates.log" 2>&1 || { cat "$scratch/certificates.log"; exit 1; }

cat >"$scratch/rsyslog.conf" <<END
global(workDirectory="$scratch" maxMessageSize="16k" parser.escapeControlCharactersOnReceive="off"
       DefaultNetstreamDriverCAFile="$scratch/ca.pem"
       DefaultNetstreamDriverCertFile="$scratch/syslog.pem" DefaultNetstreamDriverKeyFile="$scratch/syslog.key")
module(load="imudp")
module(load="imtcp" maxSessions="50")
module(load="imptcp")
module(load="mmpstrucdata")
template(name="fields" type="list") {
    constant(value="{") property(outname="pri" name="pri" format="jsonf")
    constant(value=",") property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    constant(value=",") property(outname="app" name="app-name" format="jsonf")
    constant(value=",") property(outname="msgid" name="msgid" format="jsonf")
    constant(value=",") property(outname="msg" name="msg" format="jsonf")
    constant(value=",\"data\":") property(name="\$!rfc5424-sd") constant(value="}\n")
}
template(name="plain" type="string" string="%msg%\n")
ruleset(name="udp") { action(type="mmpstrucdata") action(type="omfile" file="$scratch/udp.json" template="fields") }
ruleset(name="tcp") { action(type="mmpstrucdata") action(type="omfile" file="$scratch/tcp.json" template="fields") }
ruleset(name="tls") { action(type="mmpstrucdata") action(type="omfile" file="$scratch/tls.json" template="fields") }
ruleset(name="cef") { action(type="omfile" file="$scratch/cef.log" template="plain") }
input(type="imudp" address="127.0.0.1" port="$udp" ruleset="udp")
input(type="imptcp" address="127.0.0.1" port="$tcp" ruleset="tcp")
input(type="imptcp" address="127.0.0.1" port="$cef" ruleset="cef")
input(type="imtcp" address="127.0.0.1" port="$tls" ruleset="tls" streamDriver.name="gtls" streamDriver.mode="1"
      streamDriver.authMode="x509/certvalid")
END
rsyslog_up() {
    "$rsyslogd" -n -f "$scratch/rsyslog.conf" -i "$scratch/rsyslog.pid" >>"$scratch/rsyslog.log" 2>&1 &
    rsyslog_pid=$!
}
rsyslog_down() {
    kill "$rsyslog_pid"
    wait "$rsyslog_pid" || true
    rsyslog_pid=''
}
listens() { ss -Hltn "sport = :$1" | grep -q .; }
rsyslog_up
until_true 10 listens "$tls" || { cat "$scratch/rsyslog.log"; exit 1; }
python3 -m http.server --bind 127.0.0.1 --directory "$scratch" "$origin" >"$scratch/origin.log" 2>&1 &
origin_pid=$!
# A receiver that takes a connection and never reads from it.
python3 -c '
import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
# Small segments: else the sender has megabytes of room on loopback.
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(8)
held = []
while True:
    held.append(s.accept()[0])' "$deaf" &
deaf_pid=$!

config() {
    cat <<END
[server]
mode = "l7"
state_dir = "$scratch/state"
worker_threads = 1
[io]
driver = "socket"
[[listeners]]
name = "web"
bind_address = "127.0.0.1:$web"
tls = false
[[backends]]
address = "127.0.0.1:$origin"
[limits]
source_rate = 0
source_connections = 0
[waf]
rate_limit_rps = 0
enable = true
block_suspicious = true
crs_path = "$scratch/rules.conf"
[metrics]
bind_address = "127.0.0.1:$metrics"
[api]
token = "$token"
metrics_without_token = true
[lists]
auto_ban = false
[health]
enable = false
[[export]]
name = "udp"
target = "udp://127.0.0.1:$udp"
max_record_bytes = 8000
[[export]]
name = "tcp"
target = "tcp://127.0.0.1:$tcp"
queue_records = ${1:-1000}
[[export]]
name = "tls"
target = "tls://localhost:$tls"
server_name = "syslog"
ca_path = "$scratch/ca.pem"
cert_path = "$scratch/client.pem"
key_path = "$scratch/client.key"
[[export]]
name = "cef"
format = "cef"
target = "tcp://127.0.0.1:$cef"
[[export]]
name = "file"
format = "json"
target = "file://$scratch/file.json"
[[export]]
name = "deaf"
format = "json"
target = "tcp://127.0.0.1:$deaf"
queue_records = 64
END
}
cat >"$scratch/rules.conf" <<'END'
SecRuleEngine On
SecRule ARGS "@contains union select" "id:942999,phase:2,deny,status:403,msg:'SQL',tag:'attack-sqli'"
END
config >"$scratch/node.toml"
mkdir -p "$scratch/state"
"$node" --config "$scratch/node.toml" >"$scratch/node.log" 2>&1 &
node_pid=$!
until_true 20 listens "$web" || { tail -n 20 "$scratch/node.log"; exit 1; }

echo "every transport"
for number in 1 2 3 4 5; do ban "192.0.2.$number"; done
check "bans were set and lifted" is "$(cat "$scratch/ban")" 200200
for number in 1 2 3; do
    curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$web/?q=1+union+select+$number" >>"$scratch/waf"
done
check "the WAF refused three requests" is "$(cat "$scratch/waf")" 403403403
bad_requests 97
# refused <file>: refused requests in it.
refused() { records "$scratch/$1.json" '.msgid == "request_refused" or .event == "request_refused"'; }
# The file has all of them: it is on this machine and loses nothing.
arrived() { [ "$(refused "$1")" -ge "$(cat "$scratch/file.json"* | grep -c '"event":"request_refused"')" ]; }
sleep 1
check "the node reported refused requests" at_least "$(refused file)" 90
for sink in udp tcp tls; do
    file="$scratch/$sink.json"
    until_true 20 arrived "$sink" || true
    check "$sink: all refused requests" is "$(refused $sink)" "$(refused file)"
    check "$sink: 5 bans, 5 liftings" is \
        "$(records "$file" '.msgid == "ip_banned"') $(records "$file" '.msgid == "ban_lifted"')" "5 5"
    check "$sink: every record that was sent was parsed" is "$(records "$file" '.data["secbeat@32473"].kind != null')" \
        "$(metric sent_total "sink=\"$sink\"")"
    check "$sink: nothing else arrived" is "$(wc -l <"$file")" "$(metric sent_total "sink=\"$sink\"")"
    check "$sink: fields of a refused request" at_least "$(records "$file" '
        .msgid == "request_refused" and .pri == "132"
        and .app == "secbeat-node" and .data["secbeat@32473"].src == "127.0.0.1" and
        .data["secbeat@32473"].action == "blocked" and .data["secbeat@32473"].listener == "web" and
        .data["secbeat@32473"].attack_type == "path_traversal" and .data["secbeat.details@32473"].status == "400"')" \
        $(($(refused file) - 3))
    check "$sink: what the WAF refused" is "$(records "$file" '.data["secbeat@32473"].rule == "942999" and
        .data["secbeat@32473"].attack_type == "sql_injection" and .data["secbeat@32473"].method == "GET"')" 3
    check "$sink: hostile text arrives as it was" at_least "$(records "$file" \
        '(.data["secbeat@32473"].reason // "") == "test \"]\\ = |"')" 5
done
check "file: the same as over TLS" is "$(records "$scratch/file.json" '.kind != null')" "$(wc -l <"$scratch/tls.json")"
check "cef: the same as over TLS" is "$(grep -c '^ *CEF:0|SecBeat|secbeat-node|' "$scratch/cef.log")" \
    "$(wc -l <"$scratch/tls.json")"
check "cef: a ban's keys" at_least \
    "$(grep -c '|ip_banned|.* src=192.0.2.*act=banned.* reason=test "]\\\\ \\= |' "$scratch/cef.log")" 5

echo "a receiver that does not read"
bad_requests 400
check "its queue is full and no longer" is "$(metric waiting 'sink="deaf"')" 64
check "it loses records, counted" at_least "$(lost deaf queue_full)" 1
until_true 20 arrived tls || true
check "the others lose none" is "$(lost tls queue_full) $(refused tls)" "0 $(refused file)"
check "requests are still answered" is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$web/")" 200

echo "a receiver that is away"
config 32 >"$scratch/node.toml"
kill -HUP "$node_pid"
reloaded() { [ "$(records "$scratch/file.json" '.event == "reloaded"')" = 1 ]; }
check "a changed queue is taken in by a reload" until_true 10 reloaded
rsyslog_down
bad_requests 300
check "tcp: the queue holds what it may" at_least 32 "$(metric waiting 'sink="tcp"')"
check "tcp: losses are counted" at_least "$(lost tcp queue_full)" 200
check "tls: a larger queue loses nothing" is "$(lost tls queue_full)" 0
rsyslog_up
until_true 60 arrived tls || true
told() {
    sum=$(jq -s '[.[] | select(.msgid == "records_lost") | .data["secbeat@32473"].count | tonumber] | add // 0' \
        "$scratch/tcp.json")
    [ "$sum" = "$(lost tcp queue_full)" ]
}
check "tcp: every loss is told" until_true 60 told
check "tls: what waited has arrived" is "$(refused tls)" "$(refused file)"
# A datagram to a closed port is lost without a word; the host says so at the next, which is counted. Nothing more is
# promised of UDP than that.
check "udp: refused datagrams are counted" at_least "$(lost udp refused)" 1
before=$(refused udp)
bad_requests 20
again() { [ "$(refused udp)" -gt "$before" ]; }
check "udp: records arrive again" until_true 30 again
echo "rotation, and the end"
mv "$scratch/file.json" "$scratch/file.json.1"
kill -HUP "$node_pid"
check "a moved file is opened anew" until_true 10 reloaded
kill -TERM "$node_pid"
begin=$(date +%s)
wait "$node_pid" || true
node_pid=''
check "a receiver that does not read does not hold up the end" at_least 15 $(($(date +%s) - begin))
[ "$failures" = 0 ] || { echo "export: $failures checks failed"; exit 1; }
echo "export: all checks passed"
