#!/bin/sh
# Asks the node and the orchestrator of this machine whether they are well: one line each.
#
#   scripts/health_check.sh [node] [orchestrator]     those named must run; without names, at least one must
#   NODE_URL=http://127.0.0.1:9191 ORCHESTRATOR_URL=http://127.0.0.1:9192
#   SECBEAT_API_TOKEN=...                              when the node's API asks for one
#
# Exit code 0: all well. 1: one is not well, or does not run and should.
set -eu
node_url=${NODE_URL:-http://127.0.0.1:9191}
orchestrator_url=${ORCHESTRATOR_URL:-http://127.0.0.1:9192}
for tool in curl jq; do
    command -v $tool >/dev/null || { echo "health-check: $tool is missing (apt-get install $tool)" >&2; exit 1; }
done
for name in "$@"; do
    case $name in node | orchestrator) ;; *) echo "health-check: node or orchestrator, not $name" >&2; exit 1 ;; esac
done
body=$(mktemp)
trap 'rm -f "$body"' EXIT
running=0
unwell=0

# ask <name> <url> <jq: facts of the answer as one line> <wanted: yes or no>
ask() {
    # The token goes in by standard input: a command line can be read by everybody.
    code=$(printf '%s' "${SECBEAT_API_TOKEN:+Authorization: Bearer $SECBEAT_API_TOKEN}" \
        | curl -s -m 5 -H @- -o "$body" -w '%{http_code}' "$2/health") || code=000
    case $code in
        000)
            if [ "$4" = yes ]; then word='FAILED'; unwell=1; else word='absent'; fi
            printf '%-13s %-7s nothing answers at %s\n' "$1" "$word" "$2" ;;
        200)
            running=1
            printf '%-13s %-7s %s\n' "$1" ok "$(jq -r "$3" "$body")" ;;
        401 | 403)
            running=1 unwell=1
            printf '%-13s %-7s %s asks for a token: set SECBEAT_API_TOKEN\n' "$1" FAILED "$2" ;;
        *)
            running=1 unwell=1
            facts=$(jq -r "$3" "$body" 2>/dev/null || head -c 300 "$body")
            printf '%-13s %-7s HTTP %s: %s\n' "$1" FAILED "$code" "$facts" ;;
    esac
}

wanted() { case " $names " in *" $1 "*) echo yes ;; *) echo no ;; esac; }
names=$*
if [ $# = 0 ] || [ "$(wanted node)" = yes ]; then
    facts='"\(.status): phase \(.phase), mode \(.mode), driver \(.driver), workers stalled: \(.workers_stalled)"'
    ask node "$node_url" "$facts" "$(wanted node)"
fi
if [ $# = 0 ] || [ "$(wanted orchestrator)" = yes ]; then
    facts='"\(.status): \(.nodes_connected) nodes connected, policy \(.policy_revision), epoch \(.epoch)"'
    ask orchestrator "$orchestrator_url" "$facts" "$(wanted orchestrator)"
fi
[ $running = 1 ] || echo "health-check: nothing runs on this machine" >&2
[ $running = 1 ] && [ $unwell = 0 ]
