# What every test in a lab of network namespaces shares: root or a skip, names, clean-up, and checks told line by line.
#
# Sourced from the top of the repository, with $lab (the lab's prefix) and $what (the test's name) set, and the test's
# own arguments in place. Gives: on, api, check, and an exit that removes everything.   E2E_KEEP=1 leaves the lab
# standing.
if [ "$(id -u)" != 0 ]; then
    code=0
    scripts/as_root.sh "$0" "$@" || code=$?
    [ "$code" = 77 ] && { echo "$what: skipped: needs root"; exit 0; }
    exit "$code"
fi

bench=target/release/secbeat-bench
node=target/release/secbeat-node
v4=10.99.0.1
v6='[fd99::1]'
client_address=10.10.2.2
started=''
node_pid=''

cleanup() {
    for pid in $started $node_pid; do
        kill "$pid" 2>/dev/null || true
    done
    [ -n "${E2E_KEEP:-}" ] || $bench lab down --prefix "$lab" >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
scratch=$(mktemp -d)
trap cleanup EXIT
trap 'exit 130' INT TERM

on() {
    place=$1
    shift
    ip netns exec "$lab-$place" "$@"
}
api() { on edge curl -s -m 5 "$@"; }

. tests/check.sh
