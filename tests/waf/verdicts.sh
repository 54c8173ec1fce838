#!/bin/sh
# The node and nginx with libmodsecurity, both blocking with the same rules: every request of the regression tests.
#
#   tests/waf/verdicts.sh [4 | 3 [paranoia level [options of tests/waf/verdicts.py]]]
#
# 4 is a checkout of the rule set, 3 Debian's modsecurity-crs; the requests are of the checkout in both cases.
#   WAF_ENGINES="nginx node"   which two servers: nginx, node, or bare (nginx without an engine)
set -eu
cd "$(dirname "$0")/../.."
. tests/waf/place.sh
generation=${1:-4}
level=${2:-1}
if [ $# -gt 2 ]; then shift 2; else set --; fi
python=$(yaml_python)
checkout=$(crs_folder 4) || { echo "waf: skipped: no rule set 4 (set CRS_DIR to a checkout)"; exit 0; }
tests=$(crs_tests "$checkout") || { echo "waf: skipped: $checkout has no tests"; exit 0; }
crs=$(crs_folder "$generation") || { echo "waf: skipped: rule set $generation is not installed"; exit 0; }
[ -e /usr/lib/nginx/modules/ngx_http_modsecurity_module.so ] \
    || { echo "waf: skipped: libnginx-mod-http-modsecurity is not installed"; exit 0; }

cat >"$scratch/level.conf" <<END
SecAction "id:900001,phase:1,pass,nolog,t:none,setvar:tx.blocking_paranoia_level=$level,setvar:tx.paranoia_level=$level"
END
write_rules "$crs" "$scratch/level.conf" >"$scratch/rules.conf"
origin_port=$(free_ports 1)
start origin "$origin_port" "$python" tests/waf/origin.py "$origin_port"
number=0
for engine in ${WAF_ENGINES:-nginx node}; do
    number=$((number + 1))
    port=$(free_ports 1)
    case $engine in
        nginx) start_modsecurity "$engine$number" "$port" "$origin_port" "$scratch/rules.conf" quiet ;;
        bare) start_modsecurity "$engine$number" "$port" "$origin_port" off ;;
        node)
            metrics_port=$(free_ports 1)
            start_node "$engine$number" "$port" "$origin_port" "$metrics_port" "$scratch/rules.conf" "$level" true ;;
        *) echo "waf: $engine is none of the servers"; exit 1 ;;
    esac
    set -- "$@" --server "$engine=127.0.0.1:$port"
done
"$python" tests/waf/verdicts.py --tests "$tests" "$@"
