#!/bin/sh
# The node with a rule set beside nginx with libmodsecurity and the same rule set: processor time per request.
#
#   bench/waf/compare.sh [4 | 3 | empty | none]...   rule sets; without: those that are found (tests/waf/rule_sets.sh)
#
# Each server has one worker on core 0, wrk and the origin are on core 1; HTTP/1.1 without TLS over loopback, the node
# on sockets. Same rules file, first paranoia level, blocking, no access log. `empty`: engines with their settings and
# no rule set. `none`: no engine. No privilege, but an idle machine.
#   WAF_ROUNDS=5 WAF_SECONDS=2    how often and how long      WAF_ENGINES="nginx node"    which servers
#   WAF_JSON=FILE                 where results are added; without: bench/results/waf.json
set -eu
cd "$(dirname "$0")/../.."
. tests/waf/place.sh
engines=${WAF_ENGINES:-nginx node}
inputs=bench/waf/inputs

[ $# != 0 ] || { crs_folder 4 >/dev/null && set -- 4; crs_folder 3 >/dev/null && set -- "$@" 3; }
[ $# != 0 ] || { echo "waf: no rule set is installed"; exit 1; }

origin_config() {
    nginx_head origin
    cat <<END
error_log $scratch/origin/error.log error;
events { worker_connections 1024; }
http {
$(nginx_http origin)
    keepalive_requests 100000000;
    default_type text/html;
    server {
        listen 127.0.0.1:$1 backlog=1024;
        location / { return 200 "$(page)"; }
    }
}
END
}

# 999 bytes of HTML, as the origin answers everything.
page() {
    printf '<!doctype html><html><head><title>Catalogue</title></head><body>'
    for line in $(seq 1 18); do
        printf '<p>Walking boots, model %02d, dark blue, waterproof.</p>' "$line"
    done | head -c 921
    printf '</body></html>'
}

# measure <rule set>: both servers with it, in turns.
measure() {
    case $1 in
        none) rules=off label=none attack=--no-attack ;;
        empty)
            rules=$scratch/rules-empty.conf label=empty attack=--no-attack
            write_rules none >"$rules" ;;
        *)
            folder=$(crs_folder "$1") || { echo "waf: rule set $1 is not installed"; return 1; }
            rules=$scratch/rules-$1.conf label=$(rules_name "$folder") attack=''
            write_rules "$folder" >"$rules" ;;
    esac
    list=''
    for engine in $engines; do
        # shellcheck disable=SC2046  # two ports
        set -- "$1" $(free_ports 2)
        case $engine in
            nginx) start_modsecurity "nginx-$1" "$2" "$origin_port" "$rules" quiet ;;
            node) start_node "node-$1" "$2" "$origin_port" "$3" "$rules" 1 true ;;
            *) echo "waf: $engine is none of the servers"; return 1 ;;
        esac
        list="$list --engine $engine=$2:$started_pid"
    done
    # shellcheck disable=SC2086  # options
    "$python" bench/waf/measure.py $list $attack --rules "$label" \
        --input $inputs/small_get.txt --input $inputs/query_get.txt --input $inputs/form_post.txt \
        --rounds "${WAF_ROUNDS:-5}" --seconds "${WAF_SECONDS:-2}" --json "${WAF_JSON:-bench/results/waf.json}"
    stop "nginx-$1"
    stop "node-$1"
}

# The rule set's version, as its rules say it.
rules_name() {
    sed -n "s/.*ver:'\(OWASP_CRS\/[0-9.]*\)'.*/\1/p" "$1"/rules/REQUEST-901-INITIALIZATION.conf | head -n 1
}

python=$(yaml_python)
origin_port=$(free_ports 1)
mkdir -p "$scratch/origin"
origin_config "$origin_port" >"$scratch/origin.conf"
core=1
start origin "$origin_port" nginx -c "$scratch/origin.conf" -e "$scratch/origin/error.log"
core=0
for rule_set_number in "$@"; do
    measure "$rule_set_number"
done
