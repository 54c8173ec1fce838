#!/bin/sh
# Installs what building, testing and the demonstration need: Debian 12 and newer, Ubuntu 22.04 and newer.
#
#   scripts/setup.sh          install what is missing; does nothing (and calls no package tool) when all is there
#   scripts/setup.sh --check  only say what is missing; exit 1 when something is
#
# Packages come from the distribution, as root or through sudo. Rust is not installed: its toolchain is the
# user's own, so this script only says how to get it.
set -eu

# need <test: command or file> <package>
build_needs='
gcc            gcc
make           make
pkg-config     pkg-config
m4             m4
clang          clang
git            git
/usr/include/libelf.h  libelf-dev
/usr/include/zlib.h    zlib1g-dev
/usr/include/linux/if_xdp.h  linux-libc-dev
'
lab_needs='
ip             iproute2
ethtool        ethtool
nginx          nginx-light
curl           curl
wrk            wrk
iperf3         iperf3
nmap           nmap
nft            nftables
tcpdump        tcpdump
pkill          procps
ping           iputils-ping
jq             jq
setpriv        util-linux
openssl        openssl
haproxy        haproxy
h2load         nghttp2-client
slowhttptest   slowhttptest
sslscan        sslscan
testssl        testssl.sh
nc             netcat-openbsd
lintian        lintian
rsyslogd       rsyslog
/usr/share/doc/rsyslog-gnutls  rsyslog-gnutls
debootstrap    debootstrap
dpkg-scanpackages  dpkg-dev
ssh            openssh-client
/usr/bin/python3  python3
/usr/share/doc/python3-venv  python3-venv
/usr/lib/python3/dist-packages/websockets  python3-websockets
/usr/lib/python3/dist-packages/h2          python3-h2
/usr/lib/python3/dist-packages/hyperframe  python3-hyperframe
/usr/lib/python3/dist-packages/hpack       python3-hpack
/usr/lib/python3/dist-packages/scapy       python3-scapy
/usr/lib/python3/dist-packages/yaml        python3-yaml
/usr/share/modsecurity-crs/rules           modsecurity-crs
prometheus     prometheus
promtool       prometheus
logrotate      logrotate
buildah        buildah
npm            npm
debootstrap    debootstrap
'
# What not every release has: the peer of the WAF's tests. Installed where the package lists name it.
peer_needs='
/usr/lib/nginx/modules/ngx_http_modsecurity_module.so  libnginx-mod-http-modsecurity
'

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

has() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ;;
    esac
}

missing_packages() {
    printf '%s%s' "$build_needs" "$lab_needs" | while read -r test package; do
        [ -z "$test" ] || has "$test" || printf '%s ' "$package"
    done
    printf '%s' "$peer_needs" | while read -r test package; do
        [ -z "$test" ] || has "$test" || ! apt-cache show "$package" >/dev/null 2>&1 || printf '%s ' "$package"
    done
}

# A Rust toolchain new enough for the edition we write in; the number is in Cargo.toml.
check_rust() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! command -v cargo >/dev/null 2>&1; then
        fail "Rust $wanted or newer is missing. Install it with:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
and open a new shell (or: . \"\$HOME/.cargo/env\")."
    fi
    found=$(rustc --version | cut -d' ' -f2)
    oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n1)
    [ "$oldest" = "$wanted" ] || fail "Rust $found is too old, $wanted is needed. Update it with: rustup update stable"
    for component in rustfmt clippy; do
        cargo "$([ $component = rustfmt ] && echo fmt || echo clippy)" --version >/dev/null 2>&1 \
            || fail "the Rust component $component is missing. Add it with: rustup component add $component"
    done
}

check_distribution() {
    [ -r /etc/os-release ] || fail "this is not Debian or Ubuntu; install these yourself: $1"
    ID='' ID_LIKE='' VERSION_ID='' PRETTY_NAME=''
    . /etc/os-release
    case $ID in
        debian) oldest=12 ;;
        ubuntu) oldest=22.04 ;;
        *)
            case " $ID_LIKE " in
                *" debian "* | *" ubuntu "*)
                    say "$PRETTY_NAME is not tested; trying its packages"
                    return ;;
                *) fail "$PRETTY_NAME is not supported; install what these Debian packages hold: $1" ;;
            esac ;;
    esac
    # Debian's testing and unstable have no VERSION_ID: newer than any number.
    [ -n "$VERSION_ID" ] || return 0
    first=$(printf '%s\n%s\n' "$oldest" "$VERSION_ID" | sort -V | head -n1)
    [ "$first" = "$oldest" ] || fail "$PRETTY_NAME is older than $ID $oldest; install these yourself: $1"
}

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "not root and no sudo. As root, run: apt-get install -y --no-install-recommends $packages"
    fi
}

# Installing nginx or iperf3 must not start a service on this machine: while packages are installed, the
# distribution's own switch for that says no, unless the machine's owner has already set one.
install_packages() {
    policy=/usr/sbin/policy-rc.d
    placed=no
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        placed=yes
        trap 'as_root rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
    fi
    as_root apt-get update -q || say "the package lists could not be refreshed; trying those at hand"
    # shellcheck disable=SC2086  # a list of packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $1 \
        || fail "installing failed. The command was: apt-get install -y --no-install-recommends $1"
    # Nor at the next boot: the lab starts its own servers inside namespaces.
    for service in nginx haproxy prometheus rsyslog; do
        case " $1 " in
            *" $service"*)
                if command -v systemctl >/dev/null 2>&1; then
                    as_root systemctl disable "$service" >/dev/null 2>&1 || true
                fi ;;
        esac
    done
    if [ $placed = yes ]; then
        as_root rm -f "$policy"
        trap - EXIT INT TERM
    fi
}

# bpftool is for people who look at maps; nothing here runs it, so its absence is a note and not a failure.
note_bpftool() {
    has bpftool && return 0
    ID=''
    [ -r /etc/os-release ] && . /etc/os-release
    [ "$ID" = ubuntu ] && package=linux-tools-common || package=bpftool
    say "optional: bpftool shows the XDP program and its maps (apt-get install $package)"
}

cd "$(dirname "$0")/.."
packages=$(missing_packages)
packages=${packages% }
if [ "${1:-}" = --check ]; then
    [ -z "$packages" ] || fail "missing: $packages"
    check_rust
    exit 0
fi
if [ -n "$packages" ]; then
    check_distribution "$packages"
    say "installing: $packages"
    install_packages "$packages"
    still=$(missing_packages)
    [ -z "$still" ] || fail "still missing after the installation: $still"
    note_bpftool
    say "done"
fi
check_rust
