# A small machine for tests: this machine's own root under an overlay, with a real systemd as PID 1, in namespaces of
# its own. And the checks, told line by line.
#
# Sourced from the top of the repository with $what (the test's name) set. Gives: check, until_true, finish,
# has_machine, boot, on (a command inside), value, is, pid_of, and an exit that removes everything.
# shellcheck shell=sh disable=SC2154,SC2317,SC2329 # $what is the test's; functions are called by check and by the trap
started=''
machine=''
first=''
group=''
lab=sysd$$
scratch=$(mktemp -d)

cleanup() {
    for pid in $started $machine; do kill -9 "$pid" 2>/dev/null || true; done
    [ -z "$machine" ] || wait "$machine" 2>/dev/null || true
    for place in client origin; do ip netns del "$lab-$place" 2>/dev/null || true; done
    # The processes are gone with their namespaces; their groups stay until somebody removes them.
    if [ -n "$group" ]; then
        for _ in 1 2 3 4 5; do
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.5
        done
    fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

. tests/check.sh
finish() {
    [ $failures = 0 ] || { echo "$what: $failures checks failed"; exit 1; }
    exit 0
}

# Whether a machine can be made here; says why not.
has_machine() {
    [ "$(id -u)" = 0 ] || { echo "$what: under a real systemd: skipped: needs root"; return 1; }
    if [ ! -x /lib/systemd/systemd ] || ! grep -q ' cgroup2 ' /proc/mounts; then
        echo "$what: under a real systemd: skipped: needs systemd and a cgroup2 file system"
        return 1
    fi
}
on() { nsenter --target "$first" --mount --pid --net --uts --ipc --cgroup --root --wd "$@"; }
is_booted() { on systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; }
# boot <folder>: what lies in the folder lies over this machine's root.
boot() {
    mkdir -p "$scratch/over"
    group=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/$lab
    mkdir "$group"
    # shellcheck disable=SC2016 # variables of the shell inside
    sh -c 'echo $$ >"$1/cgroup.procs"
        shift
        exec unshare --mount --pid --fork --kill-child --net --uts --ipc --cgroup "$@"' \
        sh "$group" tests/systemd/boot.sh "$scratch/over" "$1" >"$scratch/boot.log" 2>&1 &
    machine=$!
    for _ in $(seq 100); do
        first=$(cut -d' ' -f1 "/proc/$machine/task/$machine/children" 2>/dev/null || true)
        [ -n "$first" ] && [ "$(cat "/proc/$first/comm" 2>/dev/null)" = systemd ] && break
        sleep 0.1
    done
    check "systemd runs" until_true 30 is_booted
    [ $failures = 0 ] || { cat "$scratch/boot.log"; finish; }
}
value() { on systemctl show --value --property "$2" "$1"; }
pid_of() { value "$1" MainPID; }
is() {
    [ "$(value "$1" "$2")" = "$3" ] && return 0
    echo "$2 of $1 is $(value "$1" "$2"), not $3"
    on journalctl -u "$1" -n 20 --no-pager
    return 1
}
