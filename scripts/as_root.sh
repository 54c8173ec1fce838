#!/bin/sh
# Runs a command as root: directly, or through sudo where it asks no password; exit 77 where neither works.
set -eu
if [ "$(id -u)" = 0 ]; then
    exec "$@"
fi
if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    exec sudo -n env "PATH=$PATH" "$@"
fi
echo "$(basename "$1"): needs root (network namespaces, AF_XDP)" >&2
exit 77
