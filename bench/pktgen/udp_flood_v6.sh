#!/bin/sh
# UDP flood over IPv6 by the kernel's packet generator, from one source (SOURCE) and random ports: pktgen draws
# random sources for IPv4 only.
# INTERFACE=eth1 I_OWN_THIS_INTERFACE=eth1 SOURCE=2001:db8::2 DESTINATION=2001:db8::1 NEXT_HOP=02:00:00:00:00:01
# udp_flood_v6.sh
. "$(dirname "$0")/control.sh"
guard
[ -n "${SOURCE:-}" ] || die "set SOURCE to an IPv6 address"
prepare
write "$INTERFACE" pkt_size 80
write "$INTERFACE" dst6 "$DESTINATION"
write "$INTERFACE" src6 "$SOURCE"
run
