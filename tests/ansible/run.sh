#!/bin/bash
# The collection for real: three Debian machines with their own systemd, a client in front of two nodes and a server
# behind them; the plays over SSH. Nothing of this machine but cores and memory takes part, except vm.nr_hugepages,
# which there is only one of: it is raised by 16 and put back.
#
#   tests/ansible/run.sh         lint, then everything
#   tests/ansible/run.sh lint    only the linters and the syntax
#   tests/ansible/run.sh up      only the machines (with ANSIBLE_KEEP=1: to look around)
#
# Needs root, debootstrap and a Debian mirror at the first run; later ones use what lies in target/ansible.
#   ANSIBLE_QUICK=1              without check mode and the plays that only look
#   ANSIBLE_KEEP=1               leave the machines standing
#   SECBEAT_RELEASE=target/release   where the programs are
# shellcheck disable=SC2016  # formats and scripts for others to expand
set -eu
cd "$(dirname "$0")/../.."
here=$PWD/tests/ansible
place=$PWD/target/ansible
release=${SECBEAT_RELEASE:-target/release}
prefix=sba
token=$(sed -n "s/^monitoring_node_token: //p" tests/ansible/inventory/group_vars/all.yml)
failures=0

tools=$("$here/tools.sh")
PATH=$tools:$PATH
export ANSIBLE_CONFIG=$PWD/ansible/ansible.cfg ANSIBLE_HOME=$place/home ANSIBLE_NOCOLOR=1 NO_COLOR=1
mkdir -p "$place/home"

lint() {
    (cd ansible && yamllint --strict . && yamllint --strict -c .yamllint "$here/inventory" \
        && ansible-lint -q --profile production)
    for play in site check upgrade rollback revert; do
        ansible-playbook --syntax-check -i ansible/inventory/example/hosts.yml "ansible/$play.yml" >/dev/null
    done
    shellcheck ansible/roles/*/files/*.sh "$here"/*.sh
    echo "  ok      ansible-lint (production), yamllint, syntax, shellcheck"
}
[ "${1:-}" = up ] || lint
[ "${1:-}" != lint ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "ansible: skipped: needs root"
    exit 0
fi
for program in debootstrap dpkg-deb dpkg-scanpackages ip nsenter curl ssh; do
    command -v "$program" >/dev/null || { echo "ansible: $program is missing: scripts/setup.sh" >&2; exit 1; }
done
[ -x "$release/secbeat-node" ] || { echo "ansible: no programs in $release: make release" >&2; exit 1; }

work=$place/run
started=''
hugepages=$(cat /proc/sys/vm/nr_hugepages)
cleanup() {
    if [ -z "${ANSIBLE_KEEP:-}" ]; then
        for pid in $started; do kill "$pid" 2>/dev/null || true; done
        for name in control edge-1 edge-2; do
            "$here/machine.sh" stop "$(cat "$work/$name.pid" 2>/dev/null || echo 0)" "$work/$name" "$name" || true
        done
        "$here/network.sh" down "$prefix"
        echo "$hugepages" >/proc/sys/vm/nr_hugepages
    fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

check() {
    sentence=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        printf '  ok      %s\n' "$sentence"
    else
        printf '  FAILED  %s\n' "$sentence"
        sed 's/^/            /' "$work/output" | tail -n "${CHECK_LINES:-25}"
        failures=$((failures + 1))
    fi
}
on() { nsenter --net="/run/netns/$prefix-$1" "${@:2}"; }
in_machine() { nsenter -t "$(cat "$work/$1.pid")" --all "${@:2}"; }

begin=$SECONDS
"$here/base.sh" "$place"
rm -rf "$work"
mkdir -p "$work/cp"
# Three versions of the packages, made again only when what they are made of has changed.
made_from=$(stat -c '%n %s %Y' "$here/package.sh" config/systemd/*.service "$release"/secbeat* target/debian/*.deb 2>/dev/null | sha256sum)
if [ "$(cat "$place/built/stamp" 2>/dev/null)" != "$made_from" ]; then
    rm -rf "$place/built"
    make() { "$here/package.sh" "$1" "$place/built" "$release" "${@:2}"; }
    make 0.1.0~test1 secbeat-node secbeat-orchestrator secbeat-cli secbeat-bench
    make 0.1.0~test2 secbeat-node secbeat-orchestrator secbeat-cli
    make 0.1.0~test3 secbeat-orchestrator secbeat-cli
    make 0.1.0~test3 broken secbeat-node
    echo "$made_from" >"$place/built/stamp"
fi
"$here/network.sh" up "$prefix"
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
for name in control edge-1 edge-2; do
    mkdir -p "$work/$name/upper/root/.ssh"
    chmod 700 "$work/$name/upper/root" "$work/$name/upper/root/.ssh"
    # Packet memory counts against a limit that the unit raises; where this machine itself may not raise it (no
    # CAP_SYS_RESOURCE), the node in it gets the capability that does without.
    if [ "$name" != control ] && ! (ulimit -Hl unlimited) 2>/dev/null; then
        mkdir -p "$work/$name/upper/etc/systemd/system/secbeat-node.service.d"
        cp config/systemd/drop-in/secbeat-node-memlock.conf \
            "$work/$name/upper/etc/systemd/system/secbeat-node.service.d/memlock.conf"
    fi
    cp "$work/key.pub" "$work/$name/upper/root/.ssh/authorized_keys"
    "$here/machine.sh" start "$name" "$prefix-$name" "$place/base" "$work/$name" "$place/packages" >"$work/$name.pid"
done
mkdir -p "$work/www"
head -c 12000000 /dev/urandom >"$work/www/big"
head -c 1000 /dev/urandom >"$work/www/small"
nsenter --net="/run/netns/$prefix-origin" python3 -m http.server --directory "$work/www" --bind 10.77.2.2 8000 >"$work/origin.log" 2>&1 &
started="$started $!"

export SECBEAT_TEST_PACKAGES=$place/built SECBEAT_TEST_WORK=$work SECBEAT_TEST_PREFIX=$prefix
export SECBEAT_TEST_HOOK=$here/hook.sh SECBEAT_TEST_HUGEPAGES=$((hugepages + 16))
export ANSIBLE_HOST_KEY_CHECKING=false ANSIBLE_SSH_CONTROL_PATH_DIR=$work/cp ANSIBLE_PRIVATE_KEY_FILE=$work/key
export ANSIBLE_SSH_COMMON_ARGS="-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
play() {
    name=$1
    shift
    took=$SECONDS
    code=0
    on ctl ansible-playbook -i "$here/inventory/hosts.yml" "ansible/$name.yml" "$@" >"$work/play.log" 2>&1 || code=$?
    cat "$work/play.log" >>"$work/all.log"
    echo "($((SECONDS - took)) s: $name $*)"
    grep -E '^[a-z0-9-]+ +: ok=' "$work/play.log" || true
    [ $code = 0 ] || grep -vE '^(ok|skipping|included)|^$' "$work/play.log" | tail -n 40
    return $code
}
changed_nothing() { ! grep -E '^[a-z0-9-]+ +: ok=' "$work/play.log" | grep -v 'changed=0 '; }
clean_play() { play "$@" && { changed_nothing || { grep -B6 -A12 '^changed' "$work/play.log"; return 1; }; }; }
fails_play() { ! play "$@"; }

for name in control edge-1 edge-2; do
    for _ in $(seq 100); do
        on ctl ssh -i "$work/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
            "root@$(sed -n "/$name:/{n;s/.*: //p;q}" "$here/inventory/hosts.yml")" true 2>/dev/null && break
        sleep 0.2
    done
done
manifest() {
    for name in control edge-1 edge-2; do
        {
            in_machine "$name" sh -s <"$here/manifest.sh"
            echo "== network"
            on "$name" nft list ruleset
            on "$name" ip -details link | grep -vE '^ +(link|veth|RX|TX)|qdisc' || true
            on "$name" ip link | grep -oE 'xdp[a-z]*|prog/xdp.*' || true
            for card in front0 back0; do
                [ "$name" != control ] || continue
                on "$name" ethtool -k "$card"
                on "$name" cat "/sys/class/net/$card/napi_defer_hard_irqs" 2>/dev/null || true
            done
        } >"$work/manifest-$name.$1" 2>/dev/null
    done
}
manifest before

export -p >"$work/environment"
echo "machines stand after $((SECONDS - begin)) s"
[ "${1:-}" != up ] || exit 0
version_is() { [ "$(in_machine "$1" dpkg-query -W -f '${Version}' "$2")" = "$3" ]; }
api() { on "$1" curl -s -m 5 -H 'Authorization: Bearer '"$token" "${@:3}" "http://10.77.0.1${1#edge-}:9191$2"; }
page() { [ "$(on client curl -s -m 5 -o /dev/null -w '%{http_code}' "http://10.77.1.1$1/small")" = 200 ]; }
no_page() { sleep 1; ! page "$1"; }

quick() { [ -n "${ANSIBLE_QUICK:-}" ]; }
quick || check "check mode on bare hosts changes nothing and ends well" play site --check --diff
check "site.yml" play site
check "site.yml again changes nothing" clean_play site
quick || check "check mode after it is clean" clean_play site --check --diff
quick || check "check.yml" play check

on_xdp() { api "$1" /api/v1/status | tee /dev/stderr | jq -e '.driver == "xdp" and .phase == "active" and .backends[0].state == "up"'; }
in_fleet() {
    in_machine control sh -c 'SECBEAT_TOKEN=$(cat /etc/secbeat/ansible.token) secbeat --server https://10.77.0.10:9443 \
        --ca /etc/secbeat/authority.pem -o json node list' | tee /dev/stderr | grep -c edge-
}
ban() { api "$1" /api/v1/block-ip -f -X POST -d '{"ip":"10.77.1.2","duration":300}'; }
unban() { api "$1" /api/v1/block-ip/10.77.1.2 -f -X DELETE; }
for number in 1 2; do
    check "edge-$number works on AF_XDP with its backend up" on_xdp edge-$number
    check "edge-$number leads the client to the origin" page $number
done
check "both nodes are in the fleet" in_fleet
check "a ban holds" eval 'ban edge-1 && no_page 1'
check "and goes" eval 'unban edge-1 && sleep 1 && page 1'
scraped() {
    for _ in $(seq 30); do
        in_machine control curl -s 'http://127.0.0.1:9099/api/v1/query?query=up' >"$work/up.json" || true
        [ "$(jq '[.data.result[] | select(.value[1] == "1")] | length' "$work/up.json")" = 3 ] && return 0
        sleep 1
    done
    cat "$work/up.json"
    return 1
}
check "Prometheus reaches both nodes and the orchestrator" scraped
same_process() {
    before=$(in_machine edge-1 systemctl show -P MainPID secbeat-node)
    play site --limit edge-1 -e test_source_rate=777 || return 1
    [ "$(in_machine edge-1 systemctl show -P MainPID secbeat-node)" = "$before" ] || return 1
    in_machine edge-1 grep -A3 '^.limits' /etc/secbeat/node.toml | grep 777 || return 1
    play site --limit edge-1
}
quick || check "a changed limit is reloaded, not restarted" same_process

# Upgrade under traffic: fresh connections all the time, and a download on each node that is open when it is stopped.
loop() {
    while :; do
        stamp=$(date +%s.%N)
        result=$(on client curl -s -m 25 -o /dev/null -w '%{http_code} %{exitcode} %{time_total}' "http://10.77.1.1$1/small" || true)
        echo "$stamp $result"
        sleep 0.05
    done
}
traffic_begin() {
    rm -f "$work"/download-* "$work/hooks"
    for number in 1 2; do
        loop $number >"$work/loop-$number" 2>/dev/null &
        echo $! >"$work/loop-$number.pid"
        started="$started $!"
    done
}
traffic_end() { for number in 1 2; do kill "$(cat "$work/loop-$number.pid")" 2>/dev/null || true; done; }
whole() {
    cat "$work/download-$1.result"
    cmp "$work/download-$1" "$work/www/big"
}
# What the documents say: while a node drains, nobody answers a new connection, and the client's SYN is sent again;
# one that is open at the moment when kernel or node take over from each other is lost. With one request at a time that
# is at most two per restart.
few_lost() {
    total=$(wc -l <"$work/loop-$1")
    lost=$(grep -vc ' 200 0 ' "$work/loop-$1" || true)
    echo "$lost of $total requests lost on edge-$1, the longest took $(cut -d' ' -f4 "$work/loop-$1" | sort -n | tail -n 1) s"
    grep -v ' 200 0 ' "$work/loop-$1" || true
    [ "$total" -gt 50 ] && [ "$lost" -le "$2" ]
}

traffic_begin
check "upgrade.yml under traffic" play upgrade -e secbeat_version=0.1.0~test2
sleep 1
traffic_end
for number in 1 2; do
    check "edge-$number has the new version" version_is edge-$number secbeat-node 0.1.0~test2
    check "the download that was open on edge-$number is whole" whole edge-$number
    check "edge-$number lost no more fresh connections than documented" few_lost $number 2
done
check "the orchestrator has the new version, and a backup" eval \
    'version_is control secbeat-orchestrator 0.1.0~test2 && in_machine control ls /var/backups/secbeat | grep store'
quick || check "site.yml with the new version changes nothing" clean_play site -e secbeat_version=0.1.0~test2

traffic_begin
check "an upgrade to a broken version ends as failed" fails_play upgrade -e secbeat_version=0.1.0~test3
traffic_end
check "the canary is back on the version that works" version_is edge-1 secbeat-node 0.1.0~test2
check "and works" on_xdp edge-1
check "the other node was not touched" eval 'version_is edge-2 secbeat-node 0.1.0~test2 && grep edge-1 "$work/hooks" && ! grep edge-2 "$work/hooks"'
check "the client was led to the origin all the while" few_lost 1 4

check "rollback.yml" play rollback
for number in 1 2; do
    check "edge-$number is back on the first version" version_is edge-$number secbeat-node 0.1.0~test1
    check "and works" on_xdp edge-$number
done

check "revert.yml" play revert
manifest after
as_before() { diff "$work/manifest-$1.before" "$work/manifest-$1.after"; }
for name in control edge-1 edge-2; do
    check "$name is as it was" as_before $name
done
quick || check "revert.yml again changes nothing" clean_play revert

echo "ansible: $((SECONDS - begin)) s, $failures failed"
[ $failures = 0 ]
