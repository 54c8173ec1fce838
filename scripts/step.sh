#!/bin/sh
# One step of `make test`: prints its name, runs it, prints how long it took; the end lists all.
#
#   scripts/step.sh begin | <name> <command...> | end
set -eu
cd "$(dirname "$0")/.."
log=target/steps.txt
now() { date +%s; }

case $1 in
    begin)
        mkdir -p target
        : >"$log"
        exit 0 ;;
    end)
        awk -F'\t' '{ printf "  %5d s  %s\n", $1, $2; sum += $1 } END { printf "  %5d s  in all: passed\n", sum }' "$log"
        exit 0 ;;
esac

name=$1
shift
printf '\n== %s\n' "$name"
start=$(now)
"$@" || {
    printf '\n== FAILED: %s\n   the command was: %s\n' "$name" "$*" >&2
    exit 1
}
printf '%d\t%s\n' "$(($(now) - start))" "$name" >>"$log"
