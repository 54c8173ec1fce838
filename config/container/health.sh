#!/bin/bash
# Asks /health of the program in this container: exit 0 when it answers 200. The image holds no curl for this alone.
#
#   secbeat-health [ready|alive]     alive: any answer of HTTP will do, as of a node that drains (503)
#   SECBEAT_HEALTH=ADDRESS:PORT      where; SECBEAT_API_TOKEN is sent when it is set
set -eu
want=${1:-ready}
place=${SECBEAT_HEALTH:-127.0.0.1:9191}
exec 3<>"/dev/tcp/${place%:*}/${place##*:}"
{
    printf 'GET /health HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n' "$place"
    [ -z "${SECBEAT_API_TOKEN:-}" ] || printf 'Authorization: Bearer %s\r\n' "$SECBEAT_API_TOKEN"
    printf '\r\n'
} >&3
status=
read -r -t 3 _ status _ <&3 || true
case $want:$status in
    ready:200 | alive:[1-5]??) exit 0 ;;
    *) echo "secbeat-health: /health on $place answers ${status:-nothing}" >&2; exit 1 ;;
esac
