#!/bin/sh
# What a machine is, as text to compare: runs inside it. Files with owner, mode and content; packages; units; users are
# files. Left out is what changes by itself: logs, caches, the package tool's own books, what is mounted.
set -eu
listed() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /mnt \
        -o -path /srv/packages -o -path /var/log -o -path /var/tmp -o -path /var/cache -o -path /var/lib/apt \
        -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /root/.ansible -o -path /root/.cache \
        -o -name __pycache__ -o -path /etc/ld.so.cache -o -name '*-' -path '/etc/*' \) -prune -o "$@"
}
echo "== files"
listed \( -type l -printf '%p -> %l\n' \) -o -printf '%p %y %u:%g %m\n' | sort
listed -type f -print0 | xargs -0 sha256sum | cut -c1-16,65- | sort -k2
echo "== caches of ours"
find /var/cache/secbeat /var/log/secbeat 2>/dev/null || true
echo "== packages"
dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n'
echo "== units"
systemctl list-unit-files --no-legend --no-pager --type=service,timer,socket | sed 's/  */ /g; s/ *$//' | sort
systemctl list-units --no-legend --no-pager --plain --state=active --type=service | cut -d' ' -f1 \
    | grep -vE '^(user|session|systemd-tmpfiles|apt|dpkg|e2scrub|fstrim|logrotate|man-db|ssh@)' | sort
echo "== sysctls"
sysctl -a 2>/dev/null | grep -E '^(net\.|vm\.nr_hugepages )' \
    | grep -vE 'conntrack_count|tcp_fastopen_key|neigh\.|\.stable_secret|route\.flush|conntrack_(max|buckets)' | sort
