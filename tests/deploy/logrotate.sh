#!/bin/sh
# logrotate in earnest: the shipped file, a running node, requests all the while. Every request must be in exactly one
# line of the access log and one record of the audit log, whole, whatever file it ended up in.
#
#   tests/deploy/logrotate.sh [node]       default: target/release/secbeat-node
#   REQUESTS=20000 ROTATIONS=12            bounds
#
# Loopback only. As an ordinary user the line `su` is left out, which logrotate obeys for root alone.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
node=${1:-target/release/secbeat-node}
requests=${REQUESTS:-20000}
rotations=${ROTATIONS:-12}
logrotate=$(command -v logrotate || echo /usr/sbin/logrotate)
place=$(mktemp -d)
started=
# shellcheck disable=SC2317,SC2329 # called by the trap
finish() {
    for pid in $started; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$place"
}
trap finish EXIT
trap 'exit 130' INT TERM
fail() {
    printf 'logrotate: %s\n' "$*" >&2
    tail -n 15 "$place"/*.out >&2
    exit 1
}

# shellcheck disable=SC2046 # words are wanted
set -- $(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(place.getsockname()[1] for place in held))')
front=$1 api=$2 origin=$3
mkdir -p "$place/logs" "$place/www"
chmod 750 "$place/logs"
echo page >"$place/www/index.html"
cat >"$place/nginx.conf" <<END
daemon off; worker_processes 1; pid $place/nginx.pid; error_log $place/nginx.out;
events { worker_connections 512; }
http { access_log off; client_body_temp_path $place/b; proxy_temp_path $place/p; fastcgi_temp_path $place/f;
  uwsgi_temp_path $place/u; scgi_temp_path $place/s;
  server { listen 127.0.0.1:$origin; root $place/www; } }
END
chmod 755 "$place" "$place/www"
PATH=$PATH:/usr/sbin nginx -c "$place/nginx.conf" 2>/dev/null &
started="$started $!"
cat >"$place/node.toml" <<END
[server]
mode = "l7"
bind_address = "127.0.0.1:$front"
backend_address = "127.0.0.1:$origin"
state_dir = "$place/state"
[io]
driver = "socket"
[limits]
source_rate = 0
source_connections = 0
[lists]
auto_ban = false
[waf]
enable = true
rate_limit_rps = 0
rules_path = "$root/config/waf_rules.json"
audit_log = "$place/logs/audit.json"
audit_all = true
[access_log]
path = "$place/logs/access.log"
[metrics]
bind_address = "127.0.0.1:$api"
END
"$node" --config "$place/node.toml" >"$place/node.out" 2>&1 &
node_pid=$!
started="$started $node_pid"
tries=100
until curl -skf -m 2 -o /dev/null "https://127.0.0.1:$front/" \
    && curl -sf -o /dev/null "http://127.0.0.1:$api/health"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "the node does not serve"
    sleep 0.1
done

# The shipped file; only the paths, the owner and how the process is found are this run's.
sed -e "s|/var/log/secbeat/|$place/logs/|g" -e "s/systemctl is-active .*; then/kill -0 $node_pid; then/" \
    -e "s/systemctl kill .*/kill -USR1 $node_pid/" config/logrotate/secbeat-node >"$place/rotation"
if [ "$(id -u)" = 0 ]; then
    sed -i 's/^\( *su\) .*/\1 root root/' "$place/rotation"
else
    sed -i '/^ *su /d' "$place/rotation"
fi
grep -q "kill -USR1 $node_pid" "$place/rotation" || fail "the shipped file does not ask the node to open its files anew"
! grep -q systemctl "$place/rotation" || fail "systemctl is called in a way that this test does not know"
chmod 644 "$place/rotation"

# The line of the question above is written within 50 ms.
sleep 0.5
before=$(wc -l <"$place/logs/access.log")
h2load --h1 -n "$requests" -c 4 "https://127.0.0.1:$front/" >"$place/load.out" 2>&1 &
load=$!
started="$started $load"
rotated=0
while [ "$rotated" -lt "$rotations" ]; do
    sleep 0.3
    "$logrotate" -f -s "$place/state.rotation" "$place/rotation" >>"$place/rotate.out" 2>&1 || fail "logrotate failed"
    rotated=$((rotated + 1))
    # Of the rotations, most must happen while requests come.
    kill -0 "$load" 2>/dev/null || break
done
wait "$load" || fail "the load failed"
grep -q "$requests succeeded" "$place/load.out" || fail "not every request was answered"
[ "$rotated" -ge 3 ] || fail "only $rotated rotations while requests came: raise REQUESTS"
sleep 1
curl -sk -o /dev/null "https://127.0.0.1:$front/"
sleep 0.5
lost=$(curl -s "http://127.0.0.1:$api/metrics" \
    | awk '/^secbeat_(log_lines_dropped|waf_audit_lost)_total/ { n += $2 } END { print n + 0 }')
[ "$lost" = 0 ] || fail "$lost lines were lost by the node's own count"

python3 - "$place/logs" "$((before + requests + 1))" "$rotated" <<'END' || fail "lines are lost or torn"
import gzip, json, pathlib, sys
folder, wanted, rotated = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
faults = []
for name, identity in (("access.log", lambda line: line["request_id"]), ("audit.json", json.dumps)):
    files = sorted(folder.glob(name + "*"))
    seen, lines = set(), 0
    for path in files:
        data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
        if data and not data.endswith(b"\n"):
            faults.append(f"{path.name}: its last line is torn")
        for number, line in enumerate(data.splitlines(), 1):
            try:
                seen.add(identity(json.loads(line)))
                lines += 1
            except (ValueError, KeyError, TypeError) as error:
                faults.append(f"{path.name}: line {number}: {error}")
    if len(files) < rotated:
        faults.append(f"{name}: {len(files)} files after {rotated} rotations")
    if lines != wanted or len(seen) != wanted:
        faults.append(f"{name}: {lines} lines, {len(seen)} different ones, {wanted} requests")
    print(f"{name}: {lines} lines in {len(files)} files, {sum(path.suffix == '.gz' for path in files)} compressed")
new = folder / "access.log"
if not new.exists() or not new.stat().st_size:
    faults.append("there is no new access.log, or it is empty: the node still writes to an old one")
sys.exit("\n".join(faults[:20]) if faults else 0)
END
echo "logrotate: $rotated rotations during $requests requests: ok"
