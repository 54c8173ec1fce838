# A lab with a node in l7 mode in front of nginx and tests/origin.py: what the tests of that mode share.
#
# Sourced as lab.sh is, with $driver (xdp or socket) set as well. Gives, beside what that gives: fetch, start_node,
# start_echo.
. tests/lab.sh
folder=/run/secbeat-bench/$lab/files

fetch() { on client curl -sk -m 20 "$@"; }

config() {
    cat <<END
[server]
mode = "l7"
worker_threads = 1
max_connections = 50000
keepalive_timeout = 20
drain_timeout = 20
state_dir = "$folder/state"
[io]
driver = "$driver"
interfaces = ["att0", "cli0"]
attach = "native"
pin_dir = "/run/secbeat-bench/$lab/bpf/secbeat"
[tls]
cert_path = "$folder/cert.pem"
key_path = "$folder/key.pem"
source_handshake_rate = 0
worker_handshake_rate = 0
[limits]
source_rate = 0
source_connections = 0
[waf]
rate_limit_rps = 0
[http]
head_timeout = 4
rate_grace = 4
[lists]
auto_ban = false
[logging]
format = "pretty"
[access_log]
path = "$folder/access.log"
END
    for family in 4 6; do
        if [ $family = 4 ]; then vip=$v4 origin=10.10.3.2; else vip=$v6 origin='[fd00:10:3::2]'; fi
        cat <<END
[[listeners]]
name = "https$family"
bind_address = "$vip:443"
tls = true
backends = ["nginx$family"]
[[listeners]]
name = "http$family"
bind_address = "$vip:80"
tls = false
backends = ["nginx$family"]
[[listeners]]
name = "redirect$family"
bind_address = "$vip:81"
tls = false
redirect_https = true
backends = ["nginx$family"]
[[backends]]
name = "nginx$family"
address = "$origin:80"
[[backends]]
name = "echo$family"
address = "$origin:8000"
END
        for path in echo bytes wait trickle cut ws; do
            cat <<END
[[routes]]
name = "$path$family"
listeners = ["https$family", "http$family"]
path_prefix = "/$path"
backends = ["echo$family"]
END
        done
    done
}

start_node() {
    config >"$folder/l7.toml"
    mkdir -p "$folder/state"
    ip netns exec "$lab-edge" $node --config "$folder/l7.toml" >>"$folder/l7.log" 2>&1 &
    node_pid=$!
    for _ in $(seq 100); do
        api -f -o /dev/null http://127.0.0.1:9191/health && return 0
        sleep 0.1
    done
    tail -n 15 "$folder/l7.log"
    return 1
}

start_echo() {
    ip netns exec "$lab-origin" python3 tests/origin.py 8000 --bind 10.10.3.2 --bind fd00:10:3::2 >"$scratch/echo" 2>&1 &
    echo_pid=$!
    started="$started $echo_pid"
    for _ in $(seq 50); do
        on origin curl -sf -m 2 -o /dev/null http://10.10.3.2:8000/echo && return 0
        sleep 0.1
    done
}
