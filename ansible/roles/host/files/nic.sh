#!/bin/sh
# Settings of network cards from small files, in the order in which cards accept them: channels, rings, RSS, offloads,
# NAPI, interrupts. The same program runs at boot (secbeat-nic.service) and from the Ansible role.
#
#   nic.sh driver <interface>                 its driver
#   nic.sh record <file>                      what is in force now, for the keys of the file, in the same form
#   nic.sh note <file> <ledger>               the same, kept in the ledger unless the key is there; prints what is new
#   nic.sh diff <file>...                     one line per value that differs; nothing is changed
#   nic.sh apply <file>...                    the same, and sets them
#
# A file has one `key value` per line. A value that the card does not know about is left alone and not a difference;
# one that it refuses ends the program with 1 and names the interface, the key and the value.
set -eu
sys=${NIC_SYS:-/sys/class/net}

fail() { printf 'nic: %s\n' "$*" >&2; exit 1; }

driver() {
    if [ -e "$sys/$1/device/driver" ]; then
        basename "$(readlink -f "$sys/$1/device/driver")"
    elif [ -e "$sys/$1" ]; then
        # Virtual ones have no device; the kernel still knows their kind.
        ip -details -oneline link show dev "$1" | grep -oE ' (veth|vlan|bond|bridge|dummy|macvlan|tun) ' | head -n 1 | tr -d ' '
    else
        fail "$1: no such interface"
    fi
}

# The second block of `ethtool -l` and `-g` is what is in force, the first what could be.
current() { printf '%s\n' "$1" | sed -n '/^Current/,$p' | sed -n "s/^$2:[[:space:]]*//p" | head -n 1; }
most() { printf '%s\n' "$1" | sed '/^Current/,$d' | sed -n "s/^$2:[[:space:]]*//p" | head -n 1; }

# Interrupts of the queues, in order: by number among those whose name fits.
interrupts() {
    for list in "$sys/$interface/device/msi_irqs" "$sys/$interface/device/../msi_irqs"; do
        [ -d "$list" ] || continue
        for number in $(find "$list" -mindepth 1 -printf '%f\n' | sort -n); do
            if sed -n "s/^ *$number://p" /proc/interrupts | grep -qE -e "$irq_names"; then echo "$number"; fi
        done
        return
    done
}

# value <key>: what is in force; empty when the card has no such thing.
value() {
    case $1 in
        channels_combined) current "$(ethtool -l "$interface" 2>/dev/null)" Combined ;;
        channels_rx) current "$(ethtool -l "$interface" 2>/dev/null)" RX ;;
        channels_tx) current "$(ethtool -l "$interface" 2>/dev/null)" TX ;;
        ring_rx) current "$(ethtool -g "$interface" 2>/dev/null)" RX ;;
        ring_tx) current "$(ethtool -g "$interface" 2>/dev/null)" TX ;;
        rss)
            # Equal shares over N queues are N different numbers in the table.
            ethtool -x "$interface" 2>/dev/null | awk '/^ *[0-9]+:/ { for (i = 2; i <= NF; i++) seen[$i] = 1 }
                END { for (q in seen) n++; if (n) print n }' ;;
        feature:*)
            # A fixed feature cannot be changed, so it is no difference.
            ethtool -k "$interface" 2>/dev/null | sed -n "s/^[[:space:]]*${1#feature:}: \(on\|off\)\$/\1/p" | head -n 1 ;;
        napi_defer_hard_irqs | gro_flush_timeout) cat "$sys/$interface/$1" 2>/dev/null || true ;;
        irq_*) cat "/proc/irq/${1#irq_}/smp_affinity_list" 2>/dev/null || true ;;
        *) fail "$interface: unknown key $1" ;;
    esac
}

set_value() {
    case $1 in
        channels_combined) ethtool -L "$interface" combined "$2" ;;
        channels_rx) ethtool -L "$interface" rx "$2" ;;
        channels_tx) ethtool -L "$interface" tx "$2" ;;
        ring_rx) ethtool -G "$interface" rx "$2" ;;
        ring_tx) ethtool -G "$interface" tx "$2" ;;
        rss) if [ "$2" = default ]; then ethtool -X "$interface" default; else ethtool -X "$interface" equal "$2"; fi ;;
        feature:*) ethtool -K "$interface" "${1#feature:}" "$2" ;;
        napi_defer_hard_irqs | gro_flush_timeout) echo "$2" >"$sys/$interface/$1" ;;
        irq_*) echo "$2" >"/proc/irq/${1#irq_}/smp_affinity_list" ;;
    esac
}

# The keys of a file with what they stand for on this card: "max" and the cores of interrupts are worked out here.
wanted() {
    while read -r key rest; do
        case $key in
            '' | '#'* | interface | irq_names) ;;
            ring_rx | ring_tx)
                name=RX
                [ "$key" = ring_rx ] || name=TX
                limit=$(most "$(ethtool -g "$interface" 2>/dev/null)" $name)
                case $limit in '' | *[!0-9]*) continue ;; esac
                [ "$rest" != max ] || rest=$limit
                [ "$rest" -le "$limit" ] || fail "$interface: $key is $rest; the card allows 1 to $limit"
                printf '%s %s\n' "$key" "$rest" ;;
            irq_cores)
                # shellcheck disable=SC2086  # a list of cores
                set -- $rest
                for number in $(interrupts); do
                    printf 'irq_%s %s\n' "$number" "$1"
                    first=$1
                    shift
                    set -- "$@" "$first"
                done ;;
            *) printf '%s %s\n' "$key" "$rest" ;;
        esac
    done <"$1"
}

each() {
    action=$1 file=$2
    interface=$(sed -n 's/^interface //p' "$file")
    irq_names=$(sed -n 's/^irq_names //p' "$file")
    # At boot the driver may still be on its way.
    tries=0
    until [ -e "$sys/$interface" ]; do
        tries=$((tries + 1))
        [ "$tries" -le "${NIC_WAIT_S:-0}" ] || fail "$interface: no such interface"
        sleep 1
    done
    list=$(wanted "$file")
    [ "$action" != record ] || printf 'interface %s\n' "$interface"
    printf '%s\n' "$list" | while read -r key want; do
        [ -n "$key" ] || continue
        have=$(value "$key")
        case $have in '' | n/a) continue ;; esac
        if [ "$action" = record ]; then
            # Shares that were set by hand cannot be told from the driver's own: it gets those back.
            [ "$key" != rss ] || have=default
            printf '%s %s\n' "$key" "$have"
        elif [ "$have" != "$want" ]; then
            [ "$key $want" != "rss default" ] || [ "$action" = apply ] || continue
            printf '%s: %s %s -> %s\n' "$interface" "$key" "$have" "$want"
            [ "$action" = diff ] || set_value "$key" "$want" || fail "$interface: $key cannot be set to $want"
        fi
    done
}

action=$1
shift
if [ "$action" = driver ]; then
    driver "$1"
    exit
fi
if [ "$action" = note ]; then
    now=$(each record "$1")
    printf '%s\n' "$now" | while read -r key rest; do
        grep -q "^$key " "$2" 2>/dev/null || printf '%s %s\n' "$key" "$rest" | tee -a "$2"
    done
    exit
fi
for file in "$@"; do
    each "$action" "$file"
done
