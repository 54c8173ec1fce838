#!/bin/sh
# The network of the test: namespaces joined by three bridges in a namespace of its own. Nothing of this machine's own
# network takes part.
#
#   network.sh up|down <prefix>
#
#   ctl      10.77.0.1     the control station: Ansible runs here
#   control  10.77.0.10    orchestrator, monitoring
#   edge-1   10.77.0.11    mgmt; 10.77.1.11 front, 10.77.2.11 back
#   edge-2   10.77.0.12    the same with .12
#   client   10.77.1.2     in front
#   origin   10.77.2.2     behind
set -eu
action=$1 p=$2

remove() {
    for name in ctl control edge-1 edge-2 client origin switch; do
        ip netns del "$p-$name" 2>/dev/null || true
    done
}

# plug <namespace> <interface> <bridge> <address>
plug() {
    port=$(printf '%s-%s' "$1" "$2" | cut -c1-15)
    ip -n "$p-switch" link add "$port" type veth peer name "$2" netns "$p-$1"
    ip -n "$p-switch" link set "$port" master "$3" up
    # Packets stay packets: none is merged beyond the MTU, none leaves with half a checksum.
    ip netns exec "$p-switch" ethtool -K "$port" tx off tso off gso off gro off >/dev/null
    ip -n "$p-$1" addr add "$4" dev "$2"
    ip -n "$p-$1" link set "$2" up
    case $1 in
        client | origin) ip netns exec "$p-$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null ;;
    esac
}

if [ "$action" = down ]; then
    remove
    exit 0
fi
remove
for name in switch ctl control edge-1 edge-2 client origin; do
    ip netns add "$p-$name"
    ip -n "$p-$name" link set lo up
done
for bridge in mgmt front back; do
    ip -n "$p-switch" link add "$bridge" type bridge
    ip -n "$p-switch" link set "$bridge" up
done
plug ctl mgmt0 mgmt 10.77.0.1/24
plug control mgmt0 mgmt 10.77.0.10/24
plug client front0 front 10.77.1.2/24
plug origin back0 back 10.77.2.2/24
for number in 1 2; do
    plug edge-$number mgmt0 mgmt 10.77.0.1$number/24
    plug edge-$number front0 front 10.77.1.1$number/24
    plug edge-$number back0 back 10.77.2.1$number/24
done
