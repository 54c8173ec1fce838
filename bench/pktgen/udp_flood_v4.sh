#!/bin/sh
# UDP flood from random IPv4 sources by the kernel's packet generator.
# INTERFACE=eth1 I_OWN_THIS_INTERFACE=eth1 DESTINATION=192.0.2.1 NEXT_HOP=02:00:00:00:00:01 [PORT=80]
# [COUNT=5000000] [RATE=500000] [CPU=0] udp_flood_v4.sh
. "$(dirname "$0")/control.sh"
guard
prepare
write "$INTERFACE" pkt_size 60
write "$INTERFACE" dst "$DESTINATION"
write "$INTERFACE" src_min 32.0.0.0
write "$INTERFACE" src_max 63.255.255.255
write "$INTERFACE" flag IPSRC_RND
run
