#!/bin/sh
# The Core Rule Set's regression tests against nginx with libmodsecurity: shows that the runner judges rightly.
#
#   tests/waf/peer.sh [log | records | none] [options of tests/waf/runner.py]
#
# log: ids from nginx's log between marker requests; records: from libmodsecurity's audit records in JSON; none: the
# negative control, an engine without rules. Needs no privilege. See place.sh for where the rule set is looked for.
set -eu
cd "$(dirname "$0")/../.."
way=${1:-log}
[ $# = 0 ] || shift
. tests/waf/place.sh

module=/usr/lib/nginx/modules/ngx_http_modsecurity_module.so
[ -e "$module" ] || { echo "peer: skipped: libnginx-mod-http-modsecurity is not installed"; exit 0; }
crs=$(crs_folder 4) || { echo "peer: skipped: no rule set 4 (set CRS_DIR to a checkout)"; exit 0; }
tests=$(crs_tests "$crs") || { echo "peer: skipped: $crs has no tests"; exit 0; }
python=$(yaml_python)

# shellcheck disable=SC2046  # two ports
set -- $(free_ports 2) "$@"
origin_port=$1
port=$2
shift 2
start origin "$origin_port" "$python" tests/waf/origin.py "$origin_port"

{
    case $way in
        none) write_rules none "$waf_files/rules/marker-request.conf" ;;
        records) write_rules "$crs" "$waf_files/rules/crs-setup-tests.conf" "$waf_files/rules/marker-record.conf" ;;
        *) write_rules "$crs" "$waf_files/rules/crs-setup-tests.conf" "$waf_files/rules/marker-request.conf" ;;
    esac
    if [ "$way" = records ]; then
        cat <<END
SecAuditEngine On
SecAuditLogType Serial
SecAuditLogFormat JSON
SecAuditLogParts ABHZ
SecAuditLog $scratch/audit.json
END
    fi
} >"$scratch/rules.conf"
start_modsecurity peer "$port" "$origin_port" "$scratch/rules.conf"
[ "$way" = records ] && source="--records $scratch/audit.json" || source="--log $scratch/peer/error.log"
# shellcheck disable=SC2086  # an option and its value
"$python" tests/waf/runner.py --tests "$tests" --server "127.0.0.1:$port" $source "$@"
