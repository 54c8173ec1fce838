#!/bin/sh
# The Python that tests/http2/run.py needs (h2, hyperframe, hpack), in a place of its own below target/.
#
#   tests/http2/setup.sh        prints the interpreter to use
set -eu
cd "$(dirname "$0")/../.."
place=target/http2-python
if ! "$place/bin/python" -c 'import h2, hpack, hyperframe' 2>/dev/null; then
    python3 -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check 'h2==4.2.0' 'hyperframe==6.1.0' 'hpack==4.1.0' >&2
fi
echo "$place/bin/python"
