#!/bin/sh
# What the plays call before and after a node is restarted. Before: a download begins that takes longer than the
# restart's first moment and less than the drain; the test then sees whether it arrives whole.
set -eu
: "${SECBEAT_TEST_WORK:?}" "${SECBEAT_TEST_PREFIX:?}"
host=$1 when=$2
echo "$(date +%s.%N) $host $when" >>"$SECBEAT_TEST_WORK/hooks"
[ "$when" = before ] || exit 0
case $host in edge-1) address=10.77.1.11 ;; *) address=10.77.1.12 ;; esac
# 12 MB at 1 MB/s.
setsid nsenter --net="/run/netns/$SECBEAT_TEST_PREFIX-client" \
    curl -s -m 60 --limit-rate 1M -o "$SECBEAT_TEST_WORK/download-$host" -w '%{http_code} %{size_download} %{exitcode}\n' \
    "http://$address/big" >"$SECBEAT_TEST_WORK/download-$host.result" 2>&1 </dev/null &
sleep 1
