#!/bin/sh
# The Python that tests/http2/run.py needs: one that has h2, hpack and hyperframe. The system's, where scripts/setup.sh
# installed them; else one in a place of its own below target/.
#
#   tests/http2/setup.sh        prints the interpreter to use
set -eu
cd "$(dirname "$0")/../.."
place=target/http2-python
has_all() { "$1" -c 'import h2, hpack, hyperframe' 2>/dev/null; }
for python in /usr/bin/python3 python3 "$place/bin/python"; do
    if has_all "$python"; then
        echo "$python"
        exit 0
    fi
done
python3 -m venv "$place"
"$place/bin/pip" install --quiet --disable-pip-version-check 'h2==4.2.0' 'hyperframe==6.1.0' 'hpack==4.1.0' >&2
echo "$place/bin/python"
