#!/bin/sh
# SYN flood by Pktgen-DPDK from a card that DPDK has taken over. Replays a file of SYNs (syn_pcap.py), which every
# version of it can, so that sources are random and checksums right.
#   DEVICE=0000:3b:00.0 I_OWN_THIS_DEVICE=0000:3b:00.0 DESTINATION=192.0.2.1 NEXT_HOP=02:00:00:00:00:01 \
#   [RATE_PERCENT=100] [SECONDS_MAX=30] [PACKETS=100000] [CORES=0-2] [PKTGEN=pktgen] pktgen_dpdk.sh
# Before: hugepages, and the card bound to vfio-pci (README.md). Cores: the first for the display, one to receive, one
# to send.
set -eu
cd "$(dirname "$0")"

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || die "needs root"
[ -n "${DEVICE:-}" ] || die "set DEVICE to the card's PCI address"
[ "${I_OWN_THIS_DEVICE:-}" = "$DEVICE" ] || die "set I_OWN_THIS_DEVICE=$DEVICE: you may flood whatever is behind it"
[ -n "${DESTINATION:-}" ] || die "set DESTINATION"
[ -n "${NEXT_HOP:-}" ] || die "set NEXT_HOP to the link address of the first router"
driver=$(basename "$(readlink "/sys/bus/pci/devices/$DEVICE/driver" 2>/dev/null || echo none)")
case $driver in
vfio-pci | igb_uio | uio_pci_generic | mlx5_core) ;;
*) die "$DEVICE is bound to $driver, not to a driver of DPDK" ;;
esac
# Cards of Mellanox stay with the kernel's driver: then the one with the default route is refused here, too.
for place in "/sys/bus/pci/devices/$DEVICE/net"/*; do
    interface=$(basename "$place")
    if ip route show default | grep -qw "dev $interface" || ip -6 route show default | grep -qw "dev $interface"; then
        die "$interface on $DEVICE carries this machine's default route"
    fi
done
case ${SECONDS_MAX:=30} in
0 | *[!0-9]*) die "SECONDS_MAX is a number of seconds, not 0 (which would never end)" ;;
esac
[ "$SECONDS_MAX" -le 600 ] || die "SECONDS_MAX is at most 600"
pktgen=$(command -v "${PKTGEN:-pktgen}") || die "no pktgen: build Pktgen-DPDK, or set PKTGEN"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
./syn_pcap.py --destination "$DESTINATION" --next-hop "$NEXT_HOP" --count "${PACKETS:-100000}" --out "$folder/syn.pcap"
cat >"$folder/commands.lua" <<END
-- Sends for so long and ends. What was sent and what came back is in the counters that the display shows at its
-- end, and in the defender's own: secbeat_xdp_packets_total, or the counters of its card.
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;"
pktgen.set("0", "rate", ${RATE_PERCENT:-100});
pktgen.set("0", "count", 0);
pktgen.start("0");
pktgen.delay($SECONDS_MAX * 1000);
pktgen.stop("0");
pktgen.delay(1000);
pktgen.quit();
END
timeout --signal=TERM --kill-after=5 $((SECONDS_MAX + 60)) \
    "$pktgen" -l "${CORES:-0-2}" -n 4 -a "$DEVICE" --file-prefix secbeat-pktgen -- \
    -P -m "[1:2].0" -s "0:$folder/syn.pcap" -f "$folder/commands.lua"
