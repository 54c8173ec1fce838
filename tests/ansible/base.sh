#!/bin/bash
# The stock Debian that the test's machines start from, and the packages they may install: both made once, kept below
# target/ansible, made anew when this file changes.
#
#   base.sh <place>       afterwards <place>/base is a root and <place>/packages a repository
#
# Mirror, keys and settings of apt are this machine's own: what works here works there.
set -eu
place=$1
release=bookworm
# What a server has before anybody configures it. python3 is what Ansible needs on a host; sshd is how it gets there.
stock=systemd,systemd-sysv,dbus,python3,openssh-server,iproute2,procps,kmod,ca-certificates,netbase
# What the roles install from Debian, with all that it depends on.
wanted="python3-apt ethtool nftables irqbalance libelf1 zlib1g logrotate prometheus jq curl iperf3 wrk nginx-light tcpdump"

# done_already <what> <text it was made from>
done_already() { [ "$(cat "$place/$1.stamp" 2>/dev/null)" = "$2" ]; }
root_from="$release $stock 1"
packages_from="$release $wanted 2"
if done_already root "$root_from" && done_already packages "$packages_from"; then exit 0; fi
mkdir -p "$place"

sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list \
    2>/dev/null || true)
mirror=$(printf '%s\n' "$sources" | sed -nE 's/^(URIs: *|deb (\[[^]]*\] )?)(https?:[^ ]*\/debian\/?)( .*)?$/\3/p' | head -n1)
[ -n "$mirror" ] || { echo "no Debian mirror in this machine's apt sources" >&2; exit 1; }

if ! done_already root "$root_from"; then
    rm -rf "$place/base" "$place"/*.stamp
    debootstrap --variant=minbase --include="$stock" "$release" "$place/base" "$mirror" >"$place/debootstrap.log" \
        || { tail -n 20 "$place/debootstrap.log" >&2; exit 1; }
    # No console to log in at, no devices to look for.
    ln -sf /dev/null "$place/base/etc/systemd/system/console-getty.service"
    ln -sf /dev/null "$place/base/etc/systemd/system/getty.target"
    echo 'deb [trusted=yes] file:/srv/packages ./' >"$place/base/etc/apt/sources.list"
    rm -f "$place"/base/etc/resolv.conf "$place"/base/etc/apt/sources.list.d/*
    echo "$root_from" >"$place/root.stamp"
fi

# The download happens in a copy-on-write view: the stock root itself never sees the mirror.
view=$place/view
rm -rf "$view"
mkdir -p "$view/upper" "$view/scratch" "$view/root"
cleanup() { umount "$view/root/proc" "$view/root" 2>/dev/null || true; rm -rf "$view"; }
trap cleanup EXIT
mount -t overlay overlay -o "lowerdir=$place/base,upperdir=$view/upper,workdir=$view/scratch" "$view/root"
mount -t proc proc "$view/root/proc"
cp -a /etc/apt/apt.conf.d/. "$view/root/etc/apt/apt.conf.d/"
rm -f "$view"/root/etc/apt/apt.conf.d/docker-*
for file in /etc/resolv.conf /etc/hosts; do cp "$file" "$view/root$file"; done
[ ! -d /etc/ssl/certs ] || cp -aL /etc/ssl/certs/ca-certificates.crt "$view/root/etc/ssl/certs/" || true
printf 'deb %s %s main\n' "$mirror" "$release" >"$view/root/etc/apt/sources.list"
chroot "$view/root" apt-get update -q >"$place/download.log"
# shellcheck disable=SC2086  # a list of packages
chroot "$view/root" apt-get install -y -q --no-install-recommends --download-only $wanted >>"$place/download.log"
rm -rf "$place/packages"
mkdir "$place/packages"
cp "$view"/root/var/cache/apt/archives/*.deb "$place/packages/"
cd "$place/packages"
dpkg-scanpackages --multiversion . 2>/dev/null >Packages
printf 'Suite: test\nDate: %s\nSHA256:\n %s %s Packages\n' "$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S UTC')" \
    "$(sha256sum <Packages | cut -d' ' -f1)" "$(stat -c %s Packages)" >Release
echo "$packages_from" >"$place/packages.stamp"
