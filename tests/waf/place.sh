# What the tests and measurements of the WAF share: processes, ports, nginx with libmodsecurity, the node.
#
# Sourced from the top of the repository; makes $scratch, and at the end removes it and ends what was started.
# shellcheck shell=sh
. tests/waf/rule_sets.sh
node=${SECBEAT_NODE:-$PWD/target/release/secbeat-node}
started=''

cleanup() {
    for pid in $started; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in $started; do
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "${WAF_KEEP:-}" ]; then echo "kept: $scratch"; else rm -rf "$scratch"; fi
}
scratch=$(mktemp -d)
# The workers of nginx read rules and write logs below it.
chmod 755 "$scratch"
trap cleanup EXIT
trap 'exit 130' INT TERM

# A Python that can read YAML: the system's, where scripts/setup.sh installed it.
yaml_python() {
    for python in /usr/bin/python3 python3; do
        "$python" -c 'import yaml' 2>/dev/null && { echo "$python"; return 0; }
    done
    echo "python3-yaml is missing: run scripts/setup.sh" >&2
    return 1
}

# free_ports <count>: so many ports of loopback that nothing listens on.
free_ports() {
    python3 - "$1" <<'END'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for holder in held:
    holder.bind(("127.0.0.1", 0))
print(*(holder.getsockname()[1] for holder in held))
END
}

# Whether a process still runs; one that has ended and that nobody waited for does not.
runs() { grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null; }

# wait_for <port> <process> <log>: until something accepts there; the log is shown when nothing does.
wait_for() {
    for _ in $(seq 150); do
        runs "$2" || break
        if python3 -c "import socket; socket.create_connection(('127.0.0.1', $1), 1)" 2>/dev/null; then
            # Not another process on the same port.
            runs "$2" && return 0
        fi
        sleep 0.1
    done
    echo "nothing listens on port $1"
    tail -n 15 "$3"
    return 1
}

# start <name> <port> <command...>: a process that ends with the script, its output in $scratch/<name>.out, its id in
# $scratch/<name>.pid and $started_pid; on core $core alone when that is set.
start() {
    started_name=$1
    started_port=$2
    shift 2
    [ -z "${core:-}" ] || set -- taskset -c "$core" "$@"
    "$@" >"$scratch/$started_name.out" 2>&1 &
    started_pid=$!
    echo "$started_pid" >"$scratch/$started_name.pid"
    started="$started $started_pid"
    wait_for "$started_port" "$started_pid" "$scratch/$started_name.out"
}

# stop <name>: ends what was started under that name, if anything was.
stop() {
    [ -e "$scratch/$1.pid" ] || return 0
    stopped_pid=$(cat "$scratch/$1.pid")
    rm -f "$scratch/$1.pid"
    kill "$stopped_pid" 2>/dev/null || true
    wait "$stopped_pid" 2>/dev/null || true
    # Its number may soon be another's.
    started=$(echo " $started " | sed "s/ $stopped_pid / /")
}

# nginx_head <name>: one worker in the foreground, everything it writes below $scratch. The user is who runs this.
nginx_head() {
    mkdir -p "$scratch/$1/body" "$scratch/$1/proxy"
    cat <<END
daemon off;
master_process on;
worker_processes 1;
worker_rlimit_nofile 4096;
user $(id -un) $(id -gn);
pid $scratch/$1/pid;
END
}

nginx_http() {
    cat <<END
    access_log off;
    server_tokens off;
    client_body_temp_path $scratch/$1/body;
    proxy_temp_path $scratch/$1/proxy;
    fastcgi_temp_path $scratch/$1/proxy;
    uwsgi_temp_path $scratch/$1/proxy;
    scgi_temp_path $scratch/$1/proxy;
    client_max_body_size 64m;
END
}

# modsecurity_config <name> <port> <origin's port> <rules file>, or `off` for no engine: nginx with libmodsecurity.
modsecurity_config() {
    [ "$4" = off ] || echo "load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;"
    nginx_head "$1"
    cat <<END
error_log $scratch/$1/error.log $([ "${5:-}" = quiet ] && echo error || echo info);
events { worker_connections 1024; }
http {
$(nginx_http "$1")
    keepalive_requests 100000000;
    # Fields with unusual names reach the engine.
    underscores_in_headers on;
    ignore_invalid_headers off;
    $([ "$4" = off ] || echo "modsecurity on; modsecurity_rules_file $4;")
    upstream origin { server 127.0.0.1:$3; keepalive 64; }
    server {
        listen 127.0.0.1:$2 backlog=1024;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host \$http_host;
        }
    }
}
END
}

# start_modsecurity <name> <port> <origin's port> <rules file|off> [quiet]: without a log of what is found.
start_modsecurity() {
    mkdir -p "$scratch/$1"
    modsecurity_config "$@" >"$scratch/$1.conf"
    start "$1" "$2" nginx -c "$scratch/$1.conf" -e "$scratch/$1/error.log"
}

# node_config <name> <port> <origin's port> <metrics port> <rules file or folder|JSON rules|off> <paranoia level>
# <block> NODE_BEFORE and NODE_AFTER: files around the rule set. The one place that knows how the node is told about
# rule sets and records.
node_config() {
    cat <<END
[server]
mode = "l7"
worker_threads = 1
state_dir = "$scratch/$1/state"
max_connections = 20000
[io]
driver = "socket"
[[listeners]]
name = "http"
bind_address = "127.0.0.1:$2"
tls = false
[[backends]]
name = "origin"
address = "127.0.0.1:$3"
[health]
enable = false
passive_failures = 0
[tls]
source_handshake_rate = 0
worker_handshake_rate = 0
[limits]
source_rate = 0
source_connections = 0
[lists]
auto_ban = false
[http]
max_requests = 0
[http.upstream]
breaker_percent = 0
[metrics]
bind_address = "127.0.0.1:$4"
[access_log]
path = "off"
[logging]
level = "warn"
[waf]
rate_limit_rps = 0
END
    if [ "$5" != off ]; then
        cat <<END
enable = true
block_suspicious = $7
END
        case $5 in
            *.json) echo "rules_path = \"$5\"" ;;
            *) printf 'crs_path = "%s"\nparanoia_level = %s\n' "$5" "$6" ;;
        esac
        [ -z "${NODE_BEFORE:-}" ] || printf 'before_path = "%s"\nafter_path = "%s"\n' "$NODE_BEFORE" "$NODE_AFTER"
        [ -z "${NODE_RECORDS:-}" ] || echo "audit_log = \"$NODE_RECORDS\""
    fi
}

# start_node as node_config.
start_node() {
    mkdir -p "$scratch/$1/state"
    node_config "$@" >"$scratch/$1.toml"
    start "$1" "$2" "$node" --config "$scratch/$1.toml"
}
