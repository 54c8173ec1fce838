#!/bin/sh
# Sysctls of a file against those in force.
#
#   kernel-values.sh record <file>     what is in force now, for the keys of the file
#   kernel-values.sh note <file> <ledger>   the same, kept in the ledger unless the key is there already
#   kernel-values.sh diff <file>       one line per key that differs
#   kernel-values.sh apply <file>      the same, and sets them
#
# A key that this kernel or this network namespace does not have is left out.
set -eu
action=$1
file=$2
ledger=${3:-}
# Tabs and runs of blanks are the same to the kernel.
plain() { tr -s ' \t' '  ' | sed 's/^ //; s/ $//'; }
grep -E '^[a-z]' "$file" | while IFS='=' read -r key want; do
    key=$(printf '%s' "$key" | plain)
    want=$(printf '%s' "$want" | plain)
    path=/proc/sys/$(printf '%s' "$key" | tr . /)
    [ -e "$path" ] || continue
    have=$(plain <"$path")
    if [ "$action" = record ]; then
        printf '%s = %s\n' "$key" "$have"
    elif [ "$action" = note ]; then
        grep -q "^$key = " "$ledger" 2>/dev/null || printf '%s = %s\n' "$key" "$have" | tee -a "$ledger"
    elif [ "$have" != "$want" ]; then
        printf '%s: %s -> %s\n' "$key" "$have" "$want"
        [ "$action" = diff ] || printf '%s\n' "$want" >"$path" || {
            echo "kernel-values: $key cannot be set to $want" >&2
            exit 1
        }
    fi
done
