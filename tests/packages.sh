#!/bin/sh
# The Debian packages in target/debian, made by scripts/cargo_deb.sh when they are missing: lintian finds no error; and,
# with root, in a small machine with a real systemd (an overlay over this one's root, see tests/systemd): what they
# install, that nothing is enabled or started, that an upgrade keeps changed configuration and the running process,
# that state goes with purge only, and that purge leaves nothing. Needs Debian or Ubuntu.
#
#   tests/packages.sh
# shellcheck disable=SC2317,SC2329 # functions are called by check and by the trap
# shellcheck disable=SC2016 # variables of shells inside
set -eu
cd "$(dirname "$0")/.."
what=packages
. tests/systemd/machine.sh

command -v dpkg-deb >/dev/null || { echo "packages: skipped: no dpkg here"; exit 0; }
out=target/debian
release=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
architecture=$(dpkg --print-architecture)
file_of() { echo "$out/$1_$release-1_$architecture.deb"; }
for package in secbeat-node secbeat-orchestrator secbeat-cli secbeat-bench; do
    program=target/release/${package%-cli}
    # Made anew when there is none, or an older one than the program.
    [ -n "$(find "$(file_of $package)" -newer "$program" 2>/dev/null)" ] || scripts/cargo_deb.sh "$package"
done

echo "packages: as files"
if command -v lintian >/dev/null; then
    for package in secbeat-node secbeat-orchestrator secbeat-cli secbeat-bench; do
        # The release of this machine decides what lintian knows; errors are errors everywhere.
        check "lintian finds no error in $package" lintian --fail-on error --allow-root "$(file_of $package)"
    done
else
    echo "packages: lintian is not here and says nothing"
fi
scripts_parse() {
    for package in secbeat-node secbeat-orchestrator; do
        for script in postinst prerm postrm; do
            dpkg-deb -I "$(file_of "$package")" "$script" >"$scratch/script" || return 1
            sh -n "$scratch/script" || return 1
            if grep '#DEBHELPER#' "$scratch/script"; then return 1; fi
        done
    done
}
check "maintainer scripts are complete" scripts_parse
does_not_restart() {
    # Stopping on removal is the only thing that may touch a service.
    for package in secbeat-node secbeat-orchestrator; do
        for script in postinst prerm postrm; do
            dpkg-deb -I "$(file_of "$package")" "$script"
        done
    done | grep -E 'deb-systemd-invoke|systemctl|deb-systemd-helper enable' | sort | uniq >"$scratch/calls"
    ! grep -E 'invoke (re|try-)?(start|restart)' "$scratch/calls"
}
check "no script starts or restarts a service" does_not_restart

has_machine || finish
# What dpkg sees is this machine's own database, in the overlay.
mkdir -p "$scratch/changes/packages"
for package in secbeat-node secbeat-orchestrator secbeat-cli secbeat-bench; do
    cp "$(file_of $package)" "$scratch/changes/packages/$package.deb"
done
# The next version: another default configuration, a program that is another file.
for package in secbeat-node secbeat-orchestrator; do
    next=$scratch/next-$package
    dpkg-deb -R "$(file_of $package)" "$next"
    sed -i "s/^Version: .*/Version: $release-2/" "$next/DEBIAN/control"
    echo "# of the next version" >>"$next/etc/secbeat/${package#secbeat-}.toml"
    echo next >"$next/usr/share/doc/$package/next"
    (cd "$next" && find etc usr -type f -exec md5sum {} + >DEBIAN/md5sums)
    dpkg-deb -Znone --root-owner-group -b "$next" "$scratch/changes/packages/$package-next.deb" >/dev/null
    rm -r "$next"
done
echo "packages: in a machine with a real systemd"
boot "$scratch/changes"

install_them() { on env DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i "$@" </dev/null; }
# Whatever the packages could have left behind, where packages put things: everything but what dpkg, the log and caches
# keep of any package.
files() {
    on find /etc /usr /var /opt /srv -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /var/cache \
        -o -path /var/lib/systemd -o -path /var/tmp \) -prune -o -print 2>/dev/null \
        | grep -v -E '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/ld.so.cache$|/__pycache__' | sort
    on sh -c 'find /var/log/secbeat* /run/systemd/system /var/lib/systemd -name "*secbeat*" 2>/dev/null' | sort
}
files >"$scratch/before"
check "all four are installed at once" install_them /packages/secbeat-node.deb /packages/secbeat-orchestrator.deb \
    /packages/secbeat-cli.deb /packages/secbeat-bench.deb
programs_run() {
    for program in secbeat-node secbeat-orchestrator secbeat secbeat-bench; do
        on "/usr/bin/$program" --version || return 1
    done
}
check "the programs run" programs_run
nothing_started() {
    for name in secbeat-node secbeat-orchestrator; do
        is "$name" ActiveState inactive || return 1
        is "$name" UnitFileState disabled || return 1
    done
}
check "nothing is enabled, nothing is started" nothing_started
private() {
    shown=$(on stat -c '%n %U:%G:%a' /etc/secbeat /etc/secbeat/node.toml /etc/secbeat/orchestrator.toml)
    [ "$shown" = "/etc/secbeat root:secbeat:750
/etc/secbeat/node.toml root:secbeat:640
/etc/secbeat/orchestrator.toml root:secbeat:640" ] || { echo "$shown"; return 1; }
}
check "the configuration is the service's and nobody else's to read" private
has_conffiles() {
    on dpkg-query -W -f '${Conffiles}\n' secbeat-node secbeat-orchestrator >"$scratch/conffiles"
    grep -q '/etc/secbeat/node.toml' "$scratch/conffiles" \
        && grep -q '/etc/secbeat/orchestrator.toml' "$scratch/conffiles"
}
check "the configuration is dpkg's to keep" has_conffiles
valid() {
    on secbeat-node --config /etc/secbeat/node.toml --validate-config \
        && on secbeat-orchestrator --config /etc/secbeat/orchestrator.toml --validate-config
}
check "it is valid as installed" valid
completes() { on bash -c '. /usr/share/bash-completion/completions/secbeat && complete -p secbeat'; }
check "completions of secbeat" completes

on sh -c 'echo "# changed here" >>/etc/secbeat/node.toml
    printf "[access]\nloopback_open = true\n[server]\nstate_dir = \"/var/lib/secbeat-orchestrator\"\n" \
        >/etc/secbeat/orchestrator.toml
    chgrp secbeat /etc/secbeat/*.toml'
starts() { on systemctl start secbeat-node secbeat-orchestrator || { on journalctl -n 40 --no-pager; return 1; }; }
check "both start" starts
on curl -s -X POST -d '{"ip":"203.0.113.5","duration":3600}' http://127.0.0.1:9191/api/v1/block-ip >/dev/null
node=$(pid_of secbeat-node)
orchestrator=$(pid_of secbeat-orchestrator)
# What a process is, by something no other can have.
identity() { on cut -d' ' -f22 "/proc/$1/stat"; }
node_is=$(identity "$node")
check "the next version is installed" \
    install_them /packages/secbeat-node-next.deb /packages/secbeat-orchestrator-next.deb
is_next() { [ "$(on dpkg-query -W -f '${Version} ' secbeat-node secbeat-orchestrator)" = "$release-2 $release-2 " ]; }
check "dpkg has the next version" is_next
untouched() {
    [ "$(pid_of secbeat-node)" = "$node" ] && [ "$(identity "$node")" = "$node_is" ] \
        && [ "$(pid_of secbeat-orchestrator)" = "$orchestrator" ] && [ "$(value secbeat-node NRestarts)" = 0 ] \
        && [ "$(value secbeat-node ActiveState)" = active ] \
        && [ "$(value secbeat-orchestrator ActiveState)" = active ] \
        && on curl -sf http://127.0.0.1:9191/health
}
check "the running processes are the same, and well" untouched
runs_the_earlier() { on readlink "/proc/$node/exe" | grep -q 'secbeat-node (deleted)'; }
check "they are of the earlier version until somebody restarts them" runs_the_earlier
kept() { on grep -q '^# changed here' /etc/secbeat/node.toml && on test -e /etc/secbeat/node.toml.dpkg-dist; }
check "the changed configuration is kept, the new default lies beside it" kept
restarts() {
    on systemctl restart secbeat-node && ! on readlink "/proc/$(pid_of secbeat-node)/exe" | grep -q deleted \
        && on curl -s http://127.0.0.1:9191/api/v1/blocked-ips | grep -q 203.0.113.5
}
check "a restart brings the next version, with the bans of the one before" restarts
back() { install_them /packages/secbeat-node.deb && on systemctl is-active secbeat-node; }
check "and the earlier version can be installed again" back

on systemctl enable secbeat-node 2>/dev/null
removed() {
    on dpkg -r secbeat-node secbeat-orchestrator && [ -z "$(on pgrep secbeat-node)" ] \
        && ! on test -e /usr/bin/secbeat-node
}
check "removal stops them" removed
state_is_kept() {
    on test -s /var/lib/secbeat/bans.json && on test -s /etc/secbeat/node.toml \
        && on test -d /var/lib/secbeat-orchestrator
}
check "removal keeps configuration and state" state_is_kept
detached() { ! on test -e /sys/fs/bpf/secbeat; }
check "removal unpins the XDP program" detached
purged() { on dpkg -P secbeat-node secbeat-orchestrator secbeat-cli secbeat-bench; }
check "all four are purged" purged
nothing_left() {
    files >"$scratch/after"
    diff "$scratch/before" "$scratch/after"
}
check "nothing is left but the user" nothing_left
user_is_kept() { on getent passwd secbeat; }
check "the user stays, so that its number is nobody else's" user_is_kept
finish
