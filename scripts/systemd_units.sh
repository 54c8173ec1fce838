#!/bin/sh
# Puts the systemd units, their user and their directories below a prefix, or takes them away. Enables and starts
# nothing, stops nothing.
#
#   scripts/systemd_units.sh install | uninstall <destdir> <prefix>
#
# With an empty destdir the running machine follows at once: user, directories, daemon-reload.
set -eu
cd "$(dirname "$0")/.."
action=$1 destdir=$2 prefix=$3
units="$destdir$prefix/lib/systemd/system"
users="$destdir$prefix/lib/sysusers.d"
files="$destdir$prefix/lib/tmpfiles.d"
examples="$destdir$prefix/share/doc/secbeat/systemd"

is_live() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

if [ "$action" = uninstall ]; then
    for name in node orchestrator; do
        if is_live && systemctl is-active --quiet "secbeat-$name"; then
            echo "uninstall: secbeat-$name runs; first: systemctl disable --now secbeat-$name" >&2
            exit 1
        fi
    done
    for name in node orchestrator; do
        rm -f "$units/secbeat-$name.service" "$users/secbeat-$name.conf" "$files/secbeat-$name.conf"
    done
    rm -rf "$examples"
    if is_live; then systemctl daemon-reload; fi
    exit 0
fi

install -d "$units" "$users" "$files" "$examples"
for name in node orchestrator; do
    sed "s|/usr/bin/secbeat-|$prefix/bin/secbeat-|" "config/systemd/secbeat-$name.service" \
        >"$units/secbeat-$name.service"
    chmod 644 "$units/secbeat-$name.service"
    install -m 644 "config/systemd/sysusers.d/secbeat-$name.conf" "$users/"
    install -m 644 "config/systemd/tmpfiles.d/secbeat-$name.conf" "$files/"
done
install -m 644 config/systemd/drop-in/*.conf "$examples/"
if is_live; then
    systemd-sysusers secbeat-node.conf
    systemd-tmpfiles --create secbeat-node.conf secbeat-orchestrator.conf
    systemctl daemon-reload
    echo "install-systemd: next: systemctl enable --now secbeat-node (or secbeat-orchestrator)"
elif [ -z "$destdir" ]; then
    echo "install-systemd: systemd does not run here; units are in $units"
fi
