# Sourced by the pktgen scripts: checks, and writing to /proc/net/pktgen. Not to be run by itself.
#
# The kernel's packet generator (module `pktgen`) floods at 10 Mpps and more from real cards. It sends with the
# interface's own address rights, so each script asks twice: the interface must be named, and named again.

set -eu

PROC=/proc/net/pktgen

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Names the interface twice, refuses the one with the default route, loads the module.
guard() {
    [ "$(id -u)" = 0 ] || die "needs root"
    [ -n "${INTERFACE:-}" ] || die "set INTERFACE=..., DESTINATION=... and NEXT_HOP=... (a MAC address)"
    [ "${I_OWN_THIS_INTERFACE:-}" = "$INTERFACE" ] ||
        die "set I_OWN_THIS_INTERFACE=$INTERFACE: you may flood whatever is behind it"
    [ -n "${DESTINATION:-}" ] && [ -n "${NEXT_HOP:-}" ] || die "set DESTINATION and NEXT_HOP"
    [ -d "/sys/class/net/$INTERFACE" ] || die "no interface $INTERFACE"
    if ip route show default | grep -qw "dev $INTERFACE" || ip -6 route show default | grep -qw "dev $INTERFACE"; then
        die "$INTERFACE carries this machine's default route"
    fi
    case "${COUNT:=5000000}" in
    0 | *[!0-9]*) die "COUNT is a number of packets, not 0 (which would never end)" ;;
    esac
    [ -d "$PROC" ] || modprobe pktgen 2>/dev/null || die "this kernel has no module pktgen; use: secbeat-bench flood"
}

# write FILE WORDS: one command to pktgen, failing with its own answer.
write() {
    file=$PROC/$1
    shift
    echo "$*" >"$file" 2>/dev/null || die "$file refused: $*"
}

# One thread (CPU, default 0) with INTERFACE alone; RATE in packets/s, or as fast as possible.
prepare() {
    THREAD=kpktgend_${CPU:-0}
    write "$THREAD" rem_device_all
    write "$THREAD" add_device "$INTERFACE"
    write "$INTERFACE" count "$COUNT"
    write "$INTERFACE" clone_skb 0
    write "$INTERFACE" burst "${BURST:-8}"
    write "$INTERFACE" delay 0
    [ -z "${RATE:-}" ] || write "$INTERFACE" ratep "$RATE"
    write "$INTERFACE" dst_mac "$NEXT_HOP"
    write "$INTERFACE" udp_src_min 1024
    write "$INTERFACE" udp_src_max 65535
    write "$INTERFACE" udp_dst_min "${PORT:-80}"
    write "$INTERFACE" udp_dst_max "${PORT:-80}"
    write "$INTERFACE" flag UDPSRC_RND
}

# Sends, says what came of it, and leaves the thread empty, also on Ctrl-C.
run() {
    trap 'echo stop >$PROC/pgctrl 2>/dev/null; echo rem_device_all >$PROC/$THREAD 2>/dev/null' EXIT INT TERM
    echo "sending $COUNT packets through $INTERFACE to $DESTINATION"
    write pgctrl start
    grep -A2 '^Result' "$PROC/$INTERFACE"
}
