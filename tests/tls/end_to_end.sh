#!/bin/sh
# TLS of a real node, by the programs that clients and auditors use: openssl, curl, sslscan, and testssl.sh where it is
# installed and TLS_AUDIT=1 asks for it (it takes minutes).
#
#   tests/tls/end_to_end.sh [path of secbeat-node]
#
# Needs no privilege: kernel sockets on loopback, ports that are free. About half a minute.
set -eu
cd "$(dirname "$0")/../.."
node=${1:-target/release/secbeat-node}
scratch=$(mktemp -d)
nodes=''
origin=''
node_pid=''

cleanup() {
    for pid in $nodes $origin; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

. tests/check.sh
fails() { ! "$@"; }

ports() {
    python3 -c "
import socket
held = [socket.socket() for _ in range($1)]
for s in held: s.bind(('127.0.0.1', 0))
print(*[s.getsockname()[1] for s in held])"
}

# Certificates: an authority; two kinds of key for one name; a wildcard; one for a visitor; an OCSP response.
authority() {
    cd "$scratch"
    ec="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    openssl req -x509 $ec -nodes -days 2 -subj "/CN=authority" -keyout ca.key -out ca.pem
    issue() {
        name=$1 kind=$2 names=$3
        openssl req $kind -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
        printf 'subjectAltName=%s\n' "$names" >"$name.ext"
        openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "$name.ext" -out "$name.pem"
    }
    issue ecdsa "$ec" "DNS:site.test,DNS:www.site.test"
    issue rsa "-newkey rsa:2048" "DNS:site.test,DNS:www.site.test"
    issue wild "$ec" "DNS:*.wild.test"
    issue visitor "$ec" "DNS:visitor.test"
    issue renewed "$ec" "DNS:site.test,DNS:www.site.test"
    serial=$(openssl x509 -in wild.pem -noout -serial | cut -d= -f2)
    printf 'V\t400101000000Z\t\t%s\tunknown\t/CN=wild\n' "$serial" >index
    openssl ocsp -issuer ca.pem -cert wild.pem -no_nonce -reqout request.der
    openssl ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -reqin request.der -respout wild.ocsp -ndays 2
    cd - >/dev/null
}

# config <port> <port of the API> <lines of [tls]>
config() {
    cat <<END
[server]
mode = "l7"
state_dir = "$scratch/state"
worker_threads = 1
[io]
driver = "socket"
[[listeners]]
name = "https"
bind_address = "127.0.0.1:$1"
[[backends]]
name = "origin"
address = "127.0.0.1:$origin_port"
[health]
enable = false
[syn_proxy]
syn_cookie_secret = "6c0f2f4b8f0a4d7aa3a2a1b95e7d1c44"
[limits]
source_rate = 0
source_connections = 0
[waf]
rate_limit_rps = 0
[lists]
auto_ban = false
[metrics]
bind_address = "127.0.0.1:$2"
[logging]
format = "pretty"
[tls]
handshake_timeout = 2
$3
END
}

certificates() {
    for name in "$@"; do
        echo "[[tls.certificates]]"
        echo "cert_path = \"$scratch/$name.pem\""
        echo "key_path = \"$scratch/$name.key\""
        [ "$name" != wild ] || echo "ocsp_path = \"$scratch/wild.ocsp\""
    done
}

# start <name> <port of the API>: a node with $scratch/<name>.toml; its id in node_pid.
start() {
    "$node" --config "$scratch/$1.toml" >>"$scratch/$1.log" 2>&1 &
    node_pid=$!
    nodes="$nodes $node_pid"
    for _ in $(seq 100); do
        curl -sf -m 2 -o /dev/null "http://127.0.0.1:$2/health" && return 0
        sleep 0.1
    done
    tail -n 10 "$scratch/$1.log"
    return 1
}
stop() { kill "$1" && wait "$1" 2>/dev/null || true; }

# client <port> <options...>: an openssl client that sends nothing; its words.
client() {
    at=$1
    shift
    echo | timeout 10 openssl s_client -connect "127.0.0.1:$at" -CAfile "$scratch/ca.pem" "$@" 2>&1
}
says() {
    pattern=$1
    shift
    client "$@" >"$scratch/said" || true
    cat "$scratch/said"
    grep -qE "$pattern" "$scratch/said"
}
speaks() {
    wanted=$1
    shift
    says "Cipher (is|    :) $wanted" "$port" -servername site.test "$@"
}
refused() { fails says 'Cipher (is|    :) [A-Z]+[-_][-_A-Z0-9]+' "$port" -servername site.test "$@"; }
shows() {
    subject=$1
    shift
    says "subject=CN ?= ?$subject\$" "$port" "$@"
}
resumes() {
    at=$1
    other=$2
    shift 2
    rm -f "$scratch/session"
    # A TLS 1.3 ticket comes after the handshake: wait for the answer that follows it.
    printf 'GET /echo HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n' |
        timeout 10 openssl s_client -connect "127.0.0.1:$at" -servername site.test -ign_eof -sess_out "$scratch/session" "$@" >/dev/null 2>&1 || true
    says '^Reused, TLS' "$other" -servername site.test -sess_in "$scratch/session" "$@"
}
page() {
    curl -s -m 20 --cacert "$scratch/ca.pem" --resolve "site.test:$port:127.0.0.1" "$@"
}
megabyte_is_the_same() {
    sum=$(page "$@" "https://site.test:$port/bytes?n=1000000" | sha256sum)
    direct=$(curl -s -m 20 "http://127.0.0.1:$origin_port/bytes?n=1000000" | sha256sum)
    echo "$sum, $direct"
    [ "$sum" = "$direct" ]
}
http_version() {
    want=$1
    shift
    got=$(page -o /dev/null -w '%{http_version} %{http_code}' "$@" "https://site.test:$port/echo")
    echo "$got"
    [ "$got" = "$want 200" ]
}
# The node ends a connection that sends these bytes, within so many seconds.
ends() {
    python3 - "$1" "$2" "$port" <<'END'
import socket, sys, time
sent, limit, port = bytes.fromhex(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
connection = socket.create_connection(("127.0.0.1", port), 5)
begin = time.monotonic()
connection.sendall(sent)
connection.settimeout(limit)
try:
    while connection.recv(4096):
        pass
except ConnectionResetError:
    pass
print(f"ended after {time.monotonic() - begin:.2f} s")
END
}

versions() {
    check "TLS 1.3 is spoken" says 'Protocol *: TLSv1.3|New, TLSv1.3' "$port" -tls1_3
    check "TLS 1.2 is spoken" says 'Protocol *: TLSv1.2|New, TLSv1.2' "$port" -tls1_2
    for version in tls1 tls1_1; do
        check "$version is refused" refused "-$version" -cipher ALL:@SECLEVEL=0
    done
    for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
        check "$suite is spoken" speaks $suite -tls1_3 -ciphersuites $suite
    done
    for mode in AES128-GCM-SHA256 AES256-GCM-SHA384 CHACHA20-POLY1305; do
        check "ECDHE-ECDSA-$mode is spoken" speaks "ECDHE-ECDSA-$mode" -tls1_2 -cipher "ECDHE-ECDSA-$mode"
        check "ECDHE-RSA-$mode is spoken" speaks "ECDHE-RSA-$mode" -tls1_2 -cipher "ECDHE-RSA-$mode" -sigalgs RSA-PSS+SHA256
    done
    for cipher in AES128-SHA AES128-GCM-SHA256 ECDHE-ECDSA-AES128-SHA ECDHE-RSA-AES256-SHA384 NULL-SHA256 \
        ADH-AES128-SHA256; do
        check "$cipher is refused" refused -tls1_2 -cipher "$cipher:@SECLEVEL=0"
    done
    for group in X25519 P-256 P-384; do
        check "group $group is spoken" speaks '[A-Z]' -groups $group
    done
    check "no compression" says 'Compression: NONE' "$port" -tls1_2
    check "renegotiation is secure where it is spoken of" says 'Secure Renegotiation IS supported' "$port" -tls1_2
    renegotiates() {
        { sleep 0.5; echo R; sleep 1; } | timeout 10 openssl s_client -connect "127.0.0.1:$port" -tls1_2 >"$scratch/said" 2>&1
        cat "$scratch/said"
        grep -q 'RENEGOTIATING' "$scratch/said" && ! grep -qi 'no renegotiation\|error\|alert' "$scratch/said"
    }
    check "a client cannot make it renegotiate" fails renegotiates
    updates_keys() {
        { sleep 0.3; echo K; sleep 0.3; printf 'GET /echo HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n'
          sleep 1; } |
            timeout 10 openssl s_client -connect "127.0.0.1:$port" -tls1_3 >"$scratch/said" 2>&1
        cat "$scratch/said"
        grep -q KEYUPDATE "$scratch/said" && grep -q 'HTTP/1.1 200' "$scratch/said"
    }
    check "keys are updated when the client asks" updates_keys
}

names() {
    check "the first certificate serves a client that names nobody" shows ecdsa -noservername
    check "its own name" shows ecdsa -servername www.site.test
    check "in any case" shows ecdsa -servername WWW.Site.Test
    check "a client that verifies RSA only gets the RSA one" shows rsa -servername site.test -sigalgs RSA-PSS+SHA256
    check "a wildcard covers a label" shows wild -servername any.wild.test
    check "and no more than one" shows ecdsa -servername a.b.wild.test
    check "an unknown name gets the first" shows ecdsa -servername elsewhere.test
    check "the chain verifies" says 'Verify return code: 0' "$port" -servername site.test -verify_hostname site.test
    check "an OCSP response is stapled where there is one" says 'OCSP Response Status: successful' "$port" -servername any.wild.test -status
    check "and none where there is none" says 'OCSP response: no response sent' "$port" -servername site.test -status
    check "h2 is agreed" says 'ALPN protocol: h2' "$port" -alpn h2,http/1.1
    check "http/1.1 is agreed" says 'ALPN protocol: http/1.1' "$port" -alpn http/1.1
    check "a client of another protocol is told so" says 'no application protocol' "$port" -alpn smtp
}

resumption() {
    check "TLS 1.3 sessions are resumed" resumes "$port" "$port" -tls1_3
    check "TLS 1.2 sessions are resumed" resumes "$port" "$port" -tls1_2
    check "on another node of the fleet" resumes "$port" "$strict_port_open" -tls1_3
    check "and in TLS 1.2" resumes "$port" "$strict_port_open" -tls1_2
    early_data() {
        resumes "$port" "$port" -tls1_3 >/dev/null || return 1
        echo early >"$scratch/early"
        ! says 'Early data was accepted' "$port" -servername site.test -tls1_3 -sess_in "$scratch/session" -early_data "$scratch/early"
    }
    check "early data is never accepted" early_data
}

client_certificates() {
    with() { says "$1" "$strict_port" -servername site.test $2 -cert "$scratch/$3.pem" -key "$scratch/$3.key"; }
    answer() {
        printf 'GET /echo HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n' |
            timeout 10 openssl s_client -connect "127.0.0.1:$strict_port" -ign_eof -servername site.test "$@" >"$scratch/said" 2>&1 || true
        cat "$scratch/said"
        grep -q 'HTTP/1.1 200' "$scratch/said"
    }
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=stranger" \
        -keyout "$scratch/stranger.key" -out "$scratch/stranger.pem" 2>/dev/null
    for version in tls1_2 tls1_3; do
        check "$version: a client with a certificate is let in" answer -$version -cert "$scratch/visitor.pem" -key "$scratch/visitor.key"
        check "$version: one without is not" fails answer -$version
        check "$version: one with a stranger's is not" fails answer -$version -cert "$scratch/stranger.pem" -key "$scratch/stranger.key"
    done
}

with_curl() {
    check "a megabyte over TLS 1.3 and HTTP/2" megabyte_is_the_same --tlsv1.3
    check "a megabyte over TLS 1.2 and HTTP/1.1" megabyte_is_the_same --tls-max 1.2 --http1.1
    for cipher in ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305; do
        check "a megabyte over $cipher" megabyte_is_the_same --tls-max 1.2 --ciphers $cipher
    done
    for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
        check "a megabyte over $suite" megabyte_is_the_same --tls13-ciphers $suite
    done
    check "curl speaks HTTP/2" http_version 2
    check "curl speaks HTTP/1.1 when it wants" http_version 1.1 --http1.1
    upload() {
        head -c 3000000 /dev/urandom >"$scratch/upload"
        got=$(page --data-binary @"$scratch/upload" "https://site.test:$port/echo" | python3 -c 'import json,sys; print(json.load(sys.stdin)["sha256"])')
        [ "$got" = "$(sha256sum <"$scratch/upload" | cut -d' ' -f1)" ]
    }
    check "an upload arrives unchanged" upload
}

hostile() {
    check "plain HTTP on this port is ended at once" ends 474554202f20485454502f312e310d0a0d0a 1
    check "garbage is ended at once" ends 00112233445566778899aabbccddeeff 1
    check "garbage in a record is ended at once" ends 16030100050100000100 1
    check "a client that says nothing is ended by the handshake's time limit" ends '' 6
    check "a hello that stops in the middle as well" ends 16030100ff010000fb0303 6
    check "and the node still serves" http_version 2
}

results() {
    counted() { curl -s -m 5 "http://127.0.0.1:$1/metrics" | grep -E "^secbeat_tls_handshakes_total\{result=\"$2\"\} [1-9]"; }
    for result in full resumed not_tls malformed incompatible timeout; do
        check "handshakes are counted as $result" counted "$api" $result
    done
    check "handshakes are counted as client_certificate" counted "$strict_api" client_certificate
    check "no handshake failed by our fault" fails counted "$api" internal
}

reload() {
    cp "$scratch/renewed.pem" "$scratch/ecdsa.pem"
    cp "$scratch/renewed.key" "$scratch/ecdsa.key"
    kill -HUP "$first_pid"
    sleep 0.5
    check "a renewed certificate is shown after SIGHUP" shows renewed -servername site.test
    echo broken >"$scratch/ecdsa.pem"
    kill -HUP "$first_pid"
    sleep 0.5
    check "one that is broken leaves it in force" shows renewed -servername site.test
    check "and the log names the file" grep -q ecdsa.pem "$scratch/first.log"
    cp "$scratch/renewed.pem" "$scratch/ecdsa.pem"
}

self_signed() {
    { config "$own_port" "$own_api" ""; } | sed "s|$scratch/state|$scratch/own|" >"$scratch/own.toml"
    check "a node without certificate starts" start own "$own_api"
    check "and shows one of its own" says 'subject=CN ?= ?SecBeat self-signed' "$own_port"
    check "which it says in the log" grep -q 'self-signed' "$scratch/own.log"
    first=$(openssl x509 -in "$scratch/own/tls/self-signed.pem" -noout -fingerprint)
    stop "$node_pid"
    check "it starts again" start own "$own_api"
    same() { [ "$(openssl x509 -in "$scratch/own/tls/self-signed.pem" -noout -fingerprint)" = "$first" ]; }
    check "with the same one" same
}

audits() {
    if ! command -v sslscan >/dev/null; then
        echo "  passed over: sslscan is not installed"
    else
        sslscan --no-colour "127.0.0.1:$port" >"$scratch/sslscan" 2>&1 || true
        has() { grep -E "$1" "$scratch/sslscan"; }
        for version in SSLv2 SSLv3 TLSv1.0 TLSv1.1; do
            check "sslscan: $version is disabled" has "^$version +disabled"
        done
        for version in TLSv1.2 TLSv1.3; do
            check "sslscan: $version is enabled" has "^$version +enabled"
            check "sslscan: $version is not vulnerable to heartbleed" fails has "^$version vulnerable to heartbleed"
        done
        check "sslscan: no compression" fails has 'Compression enabled'
        check "sslscan: fallback is noticed, or there is nothing to fall back to" has 'TLS_FALLBACK_SCSV|Server (supports|does not support) TLS Fallback'
        check "sslscan: no cipher below 128 bits" fails has ' (0|40|56|112) bits '
        check "sslscan: no CBC" fails has 'AES(128|256)-SHA'
    fi
    [ -n "${TLS_AUDIT:-}" ] || return 0
    audit=$(command -v testssl testssl.sh | head -n 1)
    [ -n "$audit" ] || { echo "  passed over: testssl.sh is not installed"; return 0; }
    nice "$audit" --quiet --color 0 --warnings batch --severity MEDIUM --jsonfile "$scratch/audit.json" "127.0.0.1:$port" >"$scratch/audit" 2>&1 || true
    # True of every test certificate: an authority of our own, no revocation. Meant: all ciphers offered are good, so
    # the client's order decides (a phone knows whether it has AES in hardware). Not ours: the origin's fields.
    clean() {
        python3 - "$scratch/audit.json" <<'END'
import json, sys
expected = ("cert_chain_of_trust", "cert_trust", "cert_notBefore", "cert_expirationStatus", "cert_notAfter",
            "cert_extlifeSpan", "cert_crlDistributionPoints", "cert_ocspURL", "cert_revocation", "OCSP_stapling",
            "DNS_CAArecord", "certificate_transparency", "HSTS", "overall_grade", "cert_validityPeriod",
            "cert_commonName_wo_SNI", "cert_caIssuers", "cipher_order", "security_headers", "engine_problem", "scanProblem")
found = [f for f in json.load(open(sys.argv[1]))
         if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL") and not f["id"].startswith(expected)]
for f in found:
    print(f["severity"], f["id"], f["finding"])
sys.exit(bool(found))
END
    }
    check "testssl.sh finds nothing of weight" clean
}

echo "TLS end to end: $("$node" version | head -n 1)"
authority >"$scratch/openssl.log" 2>&1 || { cat "$scratch/openssl.log"; exit 1; }
set -- $(ports 9)
port=$1 api=$2 strict_port=$3 strict_api=$4 strict_port_open=$5 open_api=$6 own_port=$7 own_api=$8 origin_port=$9
python3 tests/origin.py "$origin_port" --bind 127.0.0.1 >"$scratch/origin.log" 2>&1 &
origin=$!
fast='source_handshake_rate = 0'
{ config "$port" "$api" "$fast"; certificates ecdsa rsa wild; } >"$scratch/first.toml"
{ config "$strict_port_open" "$open_api" "$fast"; certificates ecdsa rsa; } | sed "s|$scratch/state|$scratch/other|" >"$scratch/other.toml"
{
    config "$strict_port" "$strict_api" "$fast
client_auth = \"require\"
client_ca_path = \"$scratch/ca.pem\""
    certificates ecdsa
} | sed "s|$scratch/state|$scratch/strict|" >"$scratch/strict.toml"
check "a node starts" start first "$api"
first_pid=$node_pid
check "another of the same fleet" start other "$open_api"
check "one that wants certificates of its clients" start strict "$strict_api"
versions
names
resumption
client_certificates
with_curl
hostile
results
audits
reload
self_signed
[ "$failures" = 0 ] || { echo "TLS end to end: $failures checks failed"; exit 1; }
echo "TLS end to end: all checks passed"
