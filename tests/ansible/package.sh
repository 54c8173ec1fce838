#!/bin/bash
# Debian packages of a version of its own, for the test: installing and going back need several.
#
#   package.sh <version> <directory> <release directory> [broken] <package>...
#
# Where the real packages are (target/debian), they are taken apart and put together again with another version. Where
# they are not, plain ones are made of the programs and the units. `broken` makes a node that starts, takes its
# configuration, and answers on another port than it should: what a health gate is for.
# shellcheck disable=SC2016  # scripts for others to expand
set -eu
version=$1 place=$2 release=$3
shift 3
broken=no
if [ "$1" = broken ]; then
    broken=yes
    shift
fi
mkdir -p "$place"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A program that does not speak to the service manager yet would never be ready for a unit that waits for it.
unit() {
    if grep -q NOTIFY_SOCKET "$2"; then cat "$1"; else sed 's/^Type=notify/Type=exec/; /^WatchdogSec/d; /^NotifyAccess/d' "$1"; fi
}

plain() {
    package=$1 root=$2
    case $package in secbeat-cli) program=secbeat ;; *) program=$package ;; esac
    install -D -m 755 "$release/$program" "$root/usr/bin/$program"
    depends="libc6"
    case $package in secbeat-node | secbeat-bench) depends="libc6, libelf1, zlib1g" ;; esac
    mkdir -p "$root/DEBIAN"
    case $package in
        secbeat-node | secbeat-orchestrator)
            mkdir -p "$root/lib/systemd/system"
            unit "config/systemd/$package.service" "$release/$program" >"$root/lib/systemd/system/$package.service"
            install -D -m 644 "config/systemd/sysusers.d/$package.conf" "$root/usr/lib/sysusers.d/$package.conf"
            install -D -m 644 "config/systemd/tmpfiles.d/$package.conf" "$root/usr/lib/tmpfiles.d/$package.conf"
            printf '#!/bin/sh\nset -e\nif [ "$1" = configure ]; then\n  systemd-sysusers %s.conf\n  systemd-tmpfiles --create %s.conf || true\nfi\n' \
                "$package" "$package" >"$root/DEBIAN/postinst"
            chmod 755 "$root/DEBIAN/postinst" ;;
    esac
    cat >"$root/DEBIAN/control" <<END
Package: $package
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The SecBeat authors <security@secbeat.example>
Depends: $depends
Section: net
Priority: optional
Description: SecBeat, made for a test
END
}

for package in "$@"; do
    root=$scratch/$package
    real=$(find target/debian -maxdepth 1 -name "${package}_*.deb" 2>/dev/null | sort | tail -n 1)
    if [ -n "$real" ]; then
        dpkg-deb --raw-extract "$real" "$root"
        sed -i "s/^Version:.*/Version: $version/" "$root/DEBIAN/control"
    else
        mkdir -p "$root"
        plain "$package" "$root"
    fi
    if [ $broken = yes ]; then
        install -D -m 755 "$root/usr/bin/secbeat-node" "$root/usr/lib/secbeat-broken/secbeat-node"
        cat >"$root/usr/bin/secbeat-node" <<'END'
#!/bin/sh
exec "$(dirname "$0")/../lib/secbeat-broken/secbeat-node" --set metrics.bind_address=127.0.0.1:9 "$@"
END
        chmod 755 "$root/usr/bin/secbeat-node"
        rm -f "$root/DEBIAN/md5sums"
    fi
    dpkg-deb -Zgzip -z1 --root-owner-group --build "$root" "$place/${package}_${version}_$(dpkg --print-architecture).deb" >/dev/null
    rm -rf "$root"
done
