#!/bin/sh
# Ansible and its linters in a place of their own below target/; prints the directory of the programs.
set -eu
cd "$(dirname "$0")/../.."
place=target/tools/ansible
wanted=ansible/requirements.txt
if ! cmp -s "$wanted" "$place/installed" 2>/dev/null; then
    python3 -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" >&2
    cp "$wanted" "$place/installed"
fi
echo "$PWD/$place/bin"
