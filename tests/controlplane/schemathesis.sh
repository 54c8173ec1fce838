#!/bin/sh
# The REST API of an orchestrator against its own OpenAPI document, by a tester that others wrote: generated requests,
# valid and not, must never be answered with 5xx, nor with a status, header, media type or body that the document does
# not name. That tokens are asked for is a unit test: here the limit of failed logins answers soon (429).
#
#   tests/controlplane/schemathesis.sh [program]     program: target/debug/secbeat-orchestrator, built when missing
#   SECONDS_MAX=90 EXAMPLES=20 SEED=1                 bounds; the seed makes a run repeatable
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
program=${1:-target/debug/secbeat-orchestrator}
seconds_max=${SECONDS_MAX:-90}
examples=${EXAMPLES:-20}
seed=${SEED:-1}
version=4.32.5

[ -x "$program" ] || cargo build --quiet -p secbeat-orchestrator
tools=target/tools/schemathesis
if ! "$tools/bin/schemathesis" --version 2>/dev/null | grep -q "$version"; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

# The tester leaves connections open, more than one address may have by default.
# shellcheck disable=SC3045 # dash and bash know both
ulimit -n "$(ulimit -H -n)"
place=$(mktemp -d)
pid=
# shellcheck disable=SC2317,SC2329 # called by the trap
finish() {
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$place"
}
trap finish EXIT INT TERM

# shellcheck disable=SC2046 # three words are wanted
# A free port for each listener: bound, read, given back.
set -- $(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(place.getsockname()[1] for place in held))')
rest_port=$1
cat >"$place/orchestrator.toml" <<EOF
[server]
bind_address = "127.0.0.1:$rest_port"
grpc_address = "127.0.0.1:$2"
state_dir = "$place/state"
[metrics]
bind_address = "127.0.0.1:$3"
[api]
rate_limit_rps = 100000
connections_max = 100000
[logging]
level = "warn"
EOF
run() { "$program" --config "$place/orchestrator.toml" "$@"; }
run ca init >"$place/authority.pem"
token=$(run token create tester --scope admin)
"$program" --config "$place/orchestrator.toml" serve >"$place/log" 2>&1 &
pid=$!
base="https://localhost:$rest_port"
serves() {
    python3 -c '
import ssl, sys, urllib.request
trusted = ssl.create_default_context(cafile=sys.argv[2])
urllib.request.urlopen(sys.argv[1] + "/health", timeout=2, context=trusted)' "$base" "$place/authority.pem" 2>/dev/null
}
tries=0
until serves; do
    tries=$((tries + 1))
    if [ "$tries" -gt 150 ] || ! kill -0 "$pid" 2>/dev/null; then
        echo "the orchestrator does not serve:" >&2
        cat "$place/log" >&2
        exit 1
    fi
    sleep 0.2
done

# Not asked: whether every request that fits the document is accepted. Addresses, names and policies have rules that a
# schema cannot say. A 504 or a closed connection counts as an error of the server.
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance
checks=$checks,response_schema_conformance,unsupported_method,allow_header_conformance
cd "$place"
result=0
"$root/$tools/bin/schemathesis" run "$base/api/v1/openapi.json" \
    --header "Authorization: Bearer $token" --tls-verify "$place/authority.pem" \
    --checks "$checks" \
    --phases examples,coverage,fuzzing --max-examples "$examples" --max-time "$seconds_max" --seed "$seed" \
    --request-timeout 20 --continue-on-failure --workers 1 --no-color --warnings off || result=$?
kill -0 "$pid" 2>/dev/null || {
    echo "the orchestrator ended:" >&2
    result=1
}
if [ "$result" -ne 0 ]; then
    echo "-- the orchestrator's log" >&2
    tail -n 40 "$place/log" >&2
fi
exit "$result"
