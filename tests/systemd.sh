#!/bin/sh
# The systemd units. Without root: what systemd-analyze says of them, how exposed they are. With root also under a real
# systemd, which this test starts as PID 1 of namespaces of its own, over an overlay of this machine's root: readiness,
# user and capabilities, pins in the BPF file system, reload, restart after kill -9, a hanging worker, wrong
# configurations, drain, an order to restart. Nothing of it touches this machine's services or interfaces.
#
#   tests/systemd.sh [written]     written: only what systemd-analyze says; PROGRAMS_DIR=target/release
# shellcheck disable=SC2317,SC2329 # functions are called by check and by the trap
# shellcheck disable=SC2016 # variables of shells inside
set -eu
cd "$(dirname "$0")/.."
programs=${PROGRAMS_DIR:-target/release}
what=systemd
. tests/systemd/machine.sh

# --offline came with systemd 250; older ones know some of our settings not at all.
systemd-analyze --help 2>/dev/null | grep -q -- --offline \
    || { echo "systemd: skipped: no systemd-analyze of systemd 250 or newer"; exit 0; }
echo "systemd: the units as written"
for name in node orchestrator; do
    [ -x "$programs/secbeat-$name" ] || {
        echo "systemd: $programs/secbeat-$name is missing; run: make release" >&2
        exit 1
    }
    sed "s|/usr/bin/secbeat-|$(cd "$programs" && pwd)/secbeat-|" "config/systemd/secbeat-$name.service" \
        >"$scratch/secbeat-$name.service"
done
verify() {
    systemd-analyze verify --man=no --recursive-errors=no "$1" >"$scratch/verify" 2>&1 || {
        cat "$scratch/verify"
        return 1
    }
    # Unknown keys are warnings and no failure there.
    ! grep "secbeat-" "$scratch/verify"
}
exposed() { systemd-analyze security --offline=yes --no-pager --threshold="$2" "config/systemd/$1.service"; }
for name in node orchestrator; do
    check "systemd-analyze verify finds no mistake in secbeat-$name.service" \
        verify "$scratch/secbeat-$name.service"
done
check "exposure of secbeat-node.service is at most 3.0" exposed secbeat-node 30
check "exposure of secbeat-orchestrator.service is at most 1.5" exposed secbeat-orchestrator 15
for file in config/systemd/drop-in/*.conf; do
    unit=$(basename "$file" | sed 's/^\(secbeat-node\)-.*/\1/')
    mkdir -p "$scratch/$unit.service.d"
    cp "$file" "$scratch/$unit.service.d/"
    check "with $(basename "$file") as well" verify "$scratch/$unit.service"
    rm -r "$scratch/$unit.service.d"
done

[ "${1:-}" != written ] || finish
has_machine || finish
# A client, the machine between, an origin.
ip netns add "$lab-client"
ip netns add "$lab-origin"
mkdir "$scratch/changes"
make --no-print-directory install install-systemd DESTDIR="$scratch/changes" PREFIX=/usr RELEASE_DIR="$programs" \
    >"$scratch/make" 2>&1 || { cat "$scratch/make"; exit 1; }
install -D -m 644 tests/systemd/hang.py "$scratch/changes/usr/lib/hang.py"
cat >"$scratch/changes/etc/secbeat/node.toml" <<END
[server]
mode = "syn"
bind_address = "10.77.1.1:80"
backend_address = "10.77.2.2:8000"
drain_timeout = 2
[io]
driver = "xdp"
interfaces = ["edge0", "edge1"]
[limits]
source_connections = 100
END
# Where root may not raise limits (bit 24, CAP_SYS_RESOURCE), the drop-in made for that is under test as well.
bounds=000000c000003000
if [ $((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1)) = 0 ]; then
    echo "systemd: this machine's root may not raise limits: the node gets CAP_IPC_LOCK by secbeat-node-memlock.conf"
    install -D -m 644 config/systemd/drop-in/secbeat-node-memlock.conf \
        "$scratch/changes/etc/systemd/system/secbeat-node.service.d/memlock.conf"
    bounds=000000c000007000
fi
echo "systemd: the units under a real systemd"
boot "$scratch/changes"
ip -n "$lab-client" link add to-edge type veth peer name edge0 netns "$first"
ip -n "$lab-origin" link add to-edge type veth peer name edge1 netns "$first"
ip -n "$lab-client" addr add 10.77.1.2/24 dev to-edge
ip -n "$lab-origin" addr add 10.77.2.2/24 dev to-edge
on ip addr add 10.77.1.1/24 dev edge0
on ip addr add 10.77.2.1/24 dev edge1
for place in client origin; do ip -n "$lab-$place" link set to-edge up; done
for name in edge0 edge1; do on ip link set "$name" up; done
mkdir "$scratch/pages"
echo "a page" >"$scratch/pages/index.html"
ip netns exec "$lab-origin" python3 -m http.server 8000 --bind 10.77.2.2 --directory "$scratch/pages" >/dev/null 2>&1 &
started=$!

start() {
    on systemctl start "$1" && return 0
    on systemctl status --no-pager "$1"
    on journalctl -u "$1" -n 30 --no-pager
    return 1
}
page() { [ "$(ip netns exec "$lab-client" curl -s -m 5 http://10.77.1.1/)" = "a page" ]; }
api() { on curl -s -m 5 "http://127.0.0.1:9191$1"; }
field() { on grep "^$2:" "/proc/$(pid_of "$1")/status" | cut -f2; }
has_field() { [ "$(field "$1" "$2")" = "$3" ] || { echo "$2 of $1 is $(field "$1" "$2"), not $3"; return 1; }; }
healthy() { [ "$(api /health | jq -r .status)" = ok ]; }

drives() { [ "$(api /api/v1/status | jq -r .driver)" = "$1" ] || { api /api/v1/status; return 1; }; }
runs_as() { [ "$(on ps -o user= -p "$(pid_of "$1")")" = secbeat ]; }
pinned() {
    on test -e /sys/fs/bpf/secbeat/link_edge0 && [ "$(on stat -c %U:%a /sys/fs/bpf/secbeat)" = secbeat:700 ] && return 0
    on ls -lR /sys/fs/bpf
    return 1
}
state_is_private() { [ "$(on stat -c %U:%a "$1")" = secbeat:700 ]; }
says_serving() { value secbeat-node StatusText | grep -q '^serving: mode syn, driver xdp'; }

check "the node starts, and systemd waits until it is ready" start secbeat-node
check "it is active" is secbeat-node ActiveState active
check "at once /health answers 200" healthy
check "packets take AF_XDP" drives xdp
check "a page comes through it" until_true 10 page
check "it runs as secbeat" runs_as secbeat-node
# NET_ADMIN 12, NET_RAW 13, PERFMON 38, BPF 39; PERFMON is given up after the start.
check "it could never have more capabilities than the unit names" has_field secbeat-node CapBnd $bounds
check "and keeps three" has_field secbeat-node CapEff 0000008000003000
check "no new privileges" has_field secbeat-node NoNewPrivs 1
check "system calls are filtered" has_field secbeat-node Seccomp 2
check "its pins lie in the BPF file system, closed to others" pinned
check "its state directory is its own" state_is_private /var/lib/secbeat
check "systemctl status says what it does" until_true 5 says_serving

reloads() { on systemctl reload secbeat-node && is secbeat-node ActiveState active; }
generation() { api /api/v1/status | jq .generation; }
reload_is_taken() {
    before=$(generation)
    on sed -i 's/source_connections = 100/source_connections = 101/' /etc/secbeat/node.toml
    reloads && [ "$(generation)" -gt "$before" ]
}
reload_is_refused() {
    on sh -c 'cp -p /etc/secbeat/node.toml /tmp/good.toml; echo "nonsense = 1" >>/etc/secbeat/node.toml'
    before=$(pid_of secbeat-node)
    ! on systemctl reload secbeat-node 2>/dev/null && [ "$(pid_of secbeat-node)" = "$before" ] && page
}
check "systemctl reload brings a changed file into force" reload_is_taken
check "a wrong file fails the reload; the node goes on" reload_is_refused

# It crashes while its file is wrong: whoever looks must find a unit that failed, not one that tries for ever.
dies_and_stays() {
    on systemctl kill --signal=KILL secbeat-node
    until_true 30 is secbeat-node ActiveState failed >/dev/null && is secbeat-node ActiveState failed
    sleep 3
    is secbeat-node ActiveState failed
}
check "with a wrong file it does not start over and over" dies_and_stays
check "its program stays attached meanwhile" pinned
on sh -c 'cp -p /tmp/good.toml /etc/secbeat/node.toml; systemctl reset-failed secbeat-node'
check "with a good one it starts and takes over what is pinned" start secbeat-node
check "a page comes through it" until_true 10 page

restarted() {
    now=$(pid_of secbeat-node)
    [ "$now" != "$1" ] && [ "$now" != 0 ] && [ "$(value secbeat-node ActiveState)" = active ]
}
comes_back() {
    before=$(pid_of secbeat-node)
    on systemctl kill --signal=KILL secbeat-node
    until_true 20 restarted "$before"
}
check "kill -9: it is started again by itself" comes_back
check "a page comes through it" until_true 10 page

hang_one_worker() {
    before=$(pid_of secbeat-node)
    worker=$(on sh -c "grep -l '^worker-0' /proc/$before/task/*/comm | cut -d/ -f5")
    on python3 /usr/lib/hang.py "$worker" 40 &
    hanging=$!
    until_true 40 restarted "$before" || { kill "$hanging"; return 1; }
    kill "$hanging" 2>/dev/null || true
    on journalctl -u secbeat-node --no-pager >"$scratch/journal"
    grep -q 'Watchdog timeout' "$scratch/journal" || { tail -n 30 "$scratch/journal"; return 1; }
}
check "one worker hangs: the watchdog ends the node and it starts again" hang_one_worker
check "a page comes through it" until_true 10 page

stops() { on systemctl stop secbeat-node && is secbeat-node ActiveState inactive && is secbeat-node Result success; }
check "systemctl stop drains and is no failure" stops

# What each exit code leads to, with a program in the node's place that only ends.
ends_with() {
    on sh -c "mkdir -p /run/systemd/system/secbeat-node.service.d
        printf '[Service]\nType=exec\nWatchdogSec=0\nExecStartPre=\nExecStart=\n%s\n' \
            'ExecStart=/bin/sh -c \"sleep 0.2; exit $1\"' \
            >/run/systemd/system/secbeat-node.service.d/test.conf
        systemctl daemon-reload; systemctl reset-failed secbeat-node; systemctl start secbeat-node" 2>/dev/null || true
    sleep 4
    restarts=$(value secbeat-node NRestarts)
    on systemctl stop secbeat-node
    case $2:$restarts in
        again:0 | stays:[1-9]*) echo "$restarts restarts after exit code $1"; return 1 ;;
    esac
}
check "exit code 4, an ordered restart, starts it again" ends_with 4 again
check "exit code 1 starts it again" ends_with 1 again
check "exit code 2, a wrong configuration, does not" ends_with 2 stays
check "exit code 3, an unfit machine, does not" ends_with 3 stays
check "exit code 0 does not" ends_with 0 stays

well() { [ "$(on curl -s -m 5 http://127.0.0.1:9192/health | jq -r .status)" = ok ]; }
orchestrator_comes_back() {
    before=$(pid_of secbeat-orchestrator)
    on systemctl kill --signal=KILL secbeat-orchestrator
    until_true 30 well_with_another "$before"
}
well_with_another() {
    [ "$(pid_of secbeat-orchestrator)" != "$1" ] && [ "$(value secbeat-orchestrator ActiveState)" = active ] && well
}
orchestrator_says() { value secbeat-orchestrator StatusText | grep -q '^serving: 0 nodes connected'; }
orchestrator_reloads() { on systemctl reload secbeat-orchestrator && is secbeat-orchestrator ActiveState active; }
orchestrator_stops() { on systemctl stop secbeat-orchestrator && is secbeat-orchestrator Result success; }
makes_an_authority() {
    on setpriv --reuid=secbeat --regid=secbeat --clear-groups \
        secbeat-orchestrator --config /etc/secbeat/orchestrator.toml ca init | grep -q 'BEGIN CERTIFICATE'
}
refused_for_want_of_it() {
    ! on systemctl start secbeat-orchestrator && sleep 4 && is secbeat-orchestrator NRestarts 0
}
check "an orchestrator without a certificate ends with 2 and is not started over and over" refused_for_want_of_it
check "its user makes the authority" makes_an_authority
check "the orchestrator starts, and systemd waits until it is ready" start secbeat-orchestrator
check "at once /health answers 200" well
check "it runs as secbeat" runs_as secbeat-orchestrator
check "without any capability" has_field secbeat-orchestrator CapBnd 0000000000000000
check "its state directory is its own" state_is_private /var/lib/secbeat-orchestrator
check "systemctl status says what it does" until_true 15 orchestrator_says
check "systemctl reload" orchestrator_reloads
check "kill -9: it is started again by itself" orchestrator_comes_back
check "systemctl stop is no failure" orchestrator_stops
finish
