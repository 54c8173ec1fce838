#!/bin/sh
# The recipe of the images, carried out without an engine and without a registry: buildah in a chroot, on a Debian that
# debootstrap makes. The programs are those already built; compiling them again, the recipe's first stage, is left out.
# Then each image runs: as an ordinary user, with a read-only program, and its own health check answers.
#
#   tests/container.sh [folder of the programs]      default: target/release; needs root, two to five minutes
set -eu
cd "$(dirname "$0")/.."
programs=$(cd "${1:-target/release}" && pwd)
[ "$(id -u)" = 0 ] || { echo "container: skipped: needs root"; exit 0; }
place=$(mktemp -d)
fail() {
    printf 'container: %s\n' "$*" >&2
    tail -n 20 "$place"/*.log >&2
    exit 1
}
build() { buildah --root "$place/store" --runroot "$place/run" --storage-driver vfs "$@"; }
# shellcheck disable=SC2317,SC2329 # called by the trap
finish() {
    build rm --all >/dev/null 2>&1 || true
    rm -rf "$place"
}
trap finish EXIT
trap 'exit 130' INT TERM

release=$(sed -n 's/^ARG DEBIAN=//p' config/container/Dockerfile)
debootstrap --variant=minbase bookworm "$place/debian" >"$place/debootstrap.log" 2>&1 || fail "no Debian"
tar -C "$place/debian" -cf "$place/debian.tar" .
rm -rf "$place/debian"
printf 'FROM scratch\nADD debian.tar /\n' >"$place/Base"
build bud --isolation chroot -q -t "docker.io/library/debian:$release" -f "$place/Base" "$place" \
    >"$place/base.log" 2>&1 || fail "no base image"
mkdir -p "$place/context/programs"
for program in secbeat-node secbeat-orchestrator secbeat; do
    install -s -t "$place/context/programs" "$programs/$program"
done

for target in node orchestrator cli; do
    build bud --isolation chroot --format docker --pull-never --build-context "programs=$place/context" \
        -f config/container/Dockerfile --target "$target" -t "$target" . >"$place/$target.log" 2>&1 \
        || fail "no image $target"
    build inspect --type image "$target" >"$place/$target.json"
    jq -e '.Docker.config.User == "10001:10001"' "$place/$target.json" >/dev/null \
        || fail "$target runs as root"
    [ "$target" = cli ] || jq -e '.Docker.config.Healthcheck.Test == ["CMD", "secbeat-health"]' "$place/$target.json" \
        >/dev/null || fail "$target has no health check"
    build from --pull-never --name "run-$target" "$target" >"$place/from.log" 2>&1 || fail "no container of $target"
    rights=$(build run --isolation chroot --user 0 "run-$target" -- \
        find / -xdev -path /proc -prune -o -type f -user 10001 -print -o -path '/etc/secbeat/*' -perm -o+r -print)
    [ -z "$rights" ] || fail "$target: files that its user could change, or others read: $rights"
done
# inside <target> <script>: as the image's own user.
inside() { build run --isolation chroot --user 10001:10001 "run-$1" -- /bin/bash -euc "$2"; }

version=$("$programs/secbeat" --version)
[ "$(inside cli 'secbeat --version')" = "$version" ] || fail "the command line is not the one that was built"

# The file of an administrator comes as a mount; here it is copied to its place.
cat >"$place/node.toml" <<'END'
[server]
mode = "l7"
bind_address = "127.0.0.1:18453"
backend_address = "127.0.0.1:18454"
state_dir = "/var/lib/secbeat"
[io]
driver = "socket"
[waf]
enable = true
rules_path = "/etc/secbeat/waf_rules.json"
[metrics]
bind_address = "127.0.0.1:18455"
END
cat >"$place/orchestrator.toml" <<'END'
[server]
bind_address = "127.0.0.1:18456"
grpc_address = "127.0.0.1:18457"
state_dir = "/var/lib/secbeat-orchestrator"
[metrics]
bind_address = "127.0.0.1:18458"
END
# serves <target> <program> <port of /health>
serves() {
    build copy --quiet --chown 0:10001 --chmod 640 "run-$1" "$place/$1.toml" "/etc/secbeat/$1.toml" >/dev/null
    inside "$1" "[ \$(id -u) = 10001 ]
        export SECBEAT_HEALTH=127.0.0.1:$3
        ! secbeat-health 2>/dev/null
        $2 --config /etc/secbeat/$1.toml & pid=\$!
        for _ in {1..100}; do secbeat-health 2>/dev/null && break; sleep 0.1; done
        secbeat-health && secbeat-health alive
        kill \$pid && wait \$pid" >"$place/$1.run.log" 2>&1 || fail "$1 does not serve"
}
serves node secbeat-node 18455
build copy --quiet --chown 0:10001 --chmod 640 run-orchestrator "$place/orchestrator.toml" \
    /etc/secbeat/orchestrator.toml >/dev/null
inside orchestrator '
    secbeat-orchestrator --config /etc/secbeat/orchestrator.toml ca init | grep -q "BEGIN CERTIFICATE"' \
    2>"$place/ca.log" || fail "the orchestrator makes no authority"
serves orchestrator secbeat-orchestrator 18458
echo "container: ok"
