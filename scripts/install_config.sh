#!/bin/sh
# Installs a configuration file, unless there is one already.   scripts/install_config.sh <file> <place>
set -eu
if [ -e "$2" ]; then
    echo "install: $2 is kept as it is"
else
    install -m 640 "$1" "$2"
fi
