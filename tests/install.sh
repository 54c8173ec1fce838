#!/bin/sh
# The make targets that install, with a DESTDIR: what they put where, that configuration is kept, that uninstall leaves
# nothing else, and that health-check tells well from unwell. Touches nothing outside a scratch folder; the programs
# it starts listen on loopback.
#
#   tests/install.sh          PROGRAMS_DIR=target/release
# shellcheck disable=SC2317,SC2329 # functions are called by check and by the trap
set -eu
cd "$(dirname "$0")/.."
programs=${PROGRAMS_DIR:-target/release}
started=''
scratch=$(mktemp -d)
cleanup() {
    for pid in $started; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

. tests/check.sh
run_make() { make --no-print-directory "$@" DESTDIR="$root" PREFIX="$prefix" RELEASE_DIR="$programs"; }
files() { (cd "$root" && find . ! -type d | sort); }
for program in secbeat-node secbeat-orchestrator secbeat secbeat-bench; do
    [ -x "$programs/$program" ] || { echo "install: $programs/$program is missing; run: make release" >&2; exit 1; }
done

for prefix in /usr/local /usr; do
    root=$scratch/root$(echo "$prefix" | tr / -)
    mkdir -p "$root"
    echo "install: PREFIX=$prefix"
    check "make install install-systemd" run_make install install-systemd
    programs_run() {
        for program in secbeat-node secbeat-orchestrator secbeat secbeat-bench; do
            "$root$prefix/bin/$program" --version || return 1
        done
    }
    check "the programs are there and run" programs_run
    shipped_are_valid() {
        "$root$prefix/bin/secbeat-node" --config "$root/etc/secbeat/node.toml" --validate-config \
            && "$root$prefix/bin/secbeat-orchestrator" --config "$root/etc/secbeat/orchestrator.toml" \
                --validate-config \
            && [ "$(stat -c %a "$root/etc/secbeat/node.toml" "$root/etc/secbeat/orchestrator.toml")" = "640
640" ]
    }
    check "the installed configurations are valid and not for everybody" shipped_are_valid
    units_start_them() {
        for name in node orchestrator; do
            unit=$root$prefix/lib/systemd/system/secbeat-$name.service
            [ "$(stat -c %a "$unit")" = 644 ] || return 1
            grep -q "^ExecStart=$prefix/bin/secbeat-$name " "$unit" || return 1
            # Every program that is named is one that was installed, or one of the system.
            if grep -E '^Exec' "$unit" | grep -o '/[a-z/]*/secbeat-[a-z]*' | grep -v -e '^/etc/' -e "^$prefix/bin/"; then
                return 1
            fi
        done
    }
    check "the units start what was installed" units_start_them
    user_and_directories() {
        command -v systemd-sysusers >/dev/null || { echo "skipped: no systemd-sysusers"; return 0; }
        # --root of these looks below /usr only, as on a distribution.
        mkdir -p "$scratch/made/usr/lib" "$scratch/made/etc/secbeat"
        cp -r "$root$prefix/lib/sysusers.d" "$root$prefix/lib/tmpfiles.d" "$scratch/made/usr/lib/"
        systemd-sysusers --root="$scratch/made" && grep -q '^secbeat:.*nologin$' "$scratch/made/etc/passwd" || return 1
        [ "$(id -u)" = 0 ] || return 0
        cp "$root"/etc/secbeat/* "$scratch/made/etc/secbeat/"
        systemd-tmpfiles --root="$scratch/made" --create || return 1
        group=$(sed -n 's/^secbeat:[^:]*:\([0-9]*\):.*/\1/p' "$scratch/made/etc/group")
        [ "$(stat -c %a:%g "$scratch/made/etc/secbeat" "$scratch/made/etc/secbeat/node.toml" | tr '\n' ' ')" \
            = "750:$group 640:$group " ] || return 1
        rm -r "$scratch/made"
    }
    check "systemd makes the user and the directories of them" user_and_directories
    completes() {
        bash -c '. "$1" && complete -p secbeat' sh "$root$prefix/share/bash-completion/completions/secbeat" \
            && [ -s "$root$prefix/share/zsh/site-functions/_secbeat" ] \
            && [ -s "$root$prefix/share/fish/vendor_completions.d/secbeat.fish" ]
    }
    check "completions of secbeat" completes
    keeps_changes() {
        echo "# mine" >>"$root/etc/secbeat/node.toml"
        run_make install && tail -n1 "$root/etc/secbeat/node.toml" | grep -q '^# mine$'
    }
    check "a changed configuration is kept by the next installation" keeps_changes
    leaves_only_configuration() {
        run_make uninstall
        [ "$(files)" = "./etc/secbeat/node.toml
./etc/secbeat/orchestrator.toml" ] || { files; return 1; }
    }
    check "make uninstall leaves the configuration and nothing else" leaves_only_configuration
    check "make uninstall once more does no harm" run_make uninstall
done

echo "install: make health-check"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
api=$(free_port)
front=$(free_port)
origin=$(free_port)
metrics=$(free_port)
export NODE_URL="http://127.0.0.1:$api" ORCHESTRATOR_URL="http://127.0.0.1:$metrics"
health() { make --no-print-directory health-check WANT="${1:-}"; }
fails_saying() {
    text=$1
    shift
    if health "$@" >"$scratch/said" 2>&1; then cat "$scratch/said"; return 1; fi
    grep -q "$text" "$scratch/said" || { cat "$scratch/said"; return 1; }
}
says() {
    text=$1
    shift
    if health "$@" >"$scratch/said" 2>&1 && grep -q "$text" "$scratch/said"; then return 0; fi
    cat "$scratch/said"
    return 1
}
until_said() {
    for _ in $(seq 100); do
        if says "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    says "$@"
}
check "nothing runs: it fails and says so" fails_saying "nothing runs on this machine"
token=$(openssl rand -hex 32)
"$programs/secbeat-node" --driver socket --bind-address "127.0.0.1:$front" --backend-address "127.0.0.1:$origin" \
    --worker-threads 1 \
    --set "metrics.bind_address=127.0.0.1:$api" --set "server.state_dir=$scratch/node" --set health.enable=false \
    --set "api.token=$token" --set server.drain_timeout=5 >"$scratch/node.log" 2>&1 &
node=$!
started="$started $node"
until_up() {
    for _ in $(seq 100); do
        if curl -s -o /dev/null "$NODE_URL/health"; then return 0; fi
        sleep 0.1
    done
    cat "$scratch/node.log"
    return 1
}
check "the node answers" until_up
check "the node asks for a token: it fails and says so" fails_saying "asks for a token: set SECBEAT_API_TOKEN"
export SECBEAT_API_TOKEN="$token"
check "a node that is well, no orchestrator" until_said "^node  *ok  *ok: phase active, mode tcp, driver socket"
check "the same, and the orchestrator is wanted: it fails" \
    fails_saying "^orchestrator  *FAILED  *nothing answers" "node orchestrator"
cat >"$scratch/orchestrator.toml" <<END
[server]
bind_address = "127.0.0.1:$(free_port)"
grpc_address = "127.0.0.1:$(free_port)"
state_dir = "$scratch/orchestrator"
[metrics]
bind_address = "127.0.0.1:$metrics"
[access]
loopback_open = true
END
"$programs/secbeat-orchestrator" --config "$scratch/orchestrator.toml" >"$scratch/orchestrator.log" 2>&1 &
started="$started $!"
check "both are well, both are wanted" until_said "^orchestrator  *ok  *ok: 0 nodes connected" "node orchestrator"
check "a name that is none: it fails" fails_saying "node or orchestrator, not nodes" nodes
# An open connection keeps the node draining.
drains() {
    python3 - "$front" "$scratch/connected" <<END &
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
open(sys.argv[2], "w").close()
time.sleep(4)
END
    started="$started $!"
    for _ in $(seq 50); do [ -e "$scratch/connected" ] && break; sleep 0.1; done
    kill "$node"
    sleep 0.5
    fails_saying "^node  *FAILED  *HTTP 503: unavailable: phase draining" node
}
python3 -m http.server "$origin" --bind 127.0.0.1 >/dev/null 2>&1 &
started="$started $!"
sleep 0.5
check "a node that drains: it fails and shows the phase" drains
[ $failures = 0 ] || { echo "install: $failures checks failed"; exit 1; }
