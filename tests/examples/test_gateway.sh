#!/bin/bash
# test_gateway.sh GATEWAY DEMO_SERVER GATEWAY_LOAD PROTOSET: the gateway in front of three demo servers: answers,
# statuses, headers, streams, deadlines, many requests at once, a backend that dies, the end, and its page in a browser.
set -uo pipefail
export LC_ALL=C
gateway=$1 demo_server=$2 gateway_load=$3 protoset=$4
scratch=$(mktemp -d)
processes=()
stop() { [ ${#processes[@]} -eq 0 ] || kill -9 "${processes[@]}" 2>/dev/null; rm -rf "$scratch"; }
trap stop EXIT
failed=0
bad() { echo "FAILED: $*"; failed=1; }

# start_server OPTION...: sets $port and $pid.
start_server()
{
    rm -f "$scratch/server"; : >"$scratch/server"
    "$demo_server" "$@" 0 >"$scratch/server" 2>&1 &
    pid=$!
    processes+=("$pid")
    for _ in $(seq 400); do
        port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$scratch/server")
        [ -z "$port" ] || return 0
        sleep 0.05
    done
    bad "no server: $(cat "$scratch/server")"
    exit 1
}
# start_gateway ARGUMENT...: sets $at and $pid.
start_gateway()
{
    rm -f "$scratch/gateway"; : >"$scratch/gateway"
    "$gateway" --listen 127.0.0.1:0 --plaintext "$@" >"$scratch/gateway" 2>&1 &
    pid=$!
    processes+=("$pid")
    for _ in $(seq 400); do
        at=$(sed -n 's/.*listening on port \([0-9]*\)$/http:\/\/127.0.0.1:\1/p' "$scratch/gateway")
        [ -z "$at" ] || return 0
        sleep 0.05
    done
    bad "no gateway: $(cat "$scratch/gateway")"
    exit 1
}
# call STATUS BODY ARGUMENT...: curl gets this HTTP status, and a body that contains the text.
call()
{
    local wanted=$1 text=$2 status
    shift 2
    status=$(curl -sS --max-time 60 -o "$scratch/body" -D "$scratch/head" -w '%{http_code}' "$@" 2>"$scratch/error")
    [ "$status" = "$wanted" ] || bad "$*: $status, not $wanted: $(cat "$scratch/body" "$scratch/error")"
    grep -qF -e "$text" "$scratch/body" || bad "$*: \"$text\" is not in: $(head -c 500 "$scratch/body")"
}
is() { [ "$(cat "$scratch/body")" = "$1" ] || bad "\"$1\" is not: $(cat "$scratch/body")"; }
has_header() { grep -qiE "^$1"$'\r?$' "$scratch/head" || bad "no header $1: $(cat "$scratch/head")"; }

start_server; one=$port
start_server; two=$port
start_server; three=$port; third=$pid
start_gateway --protoset "$protoset" "static:127.0.0.1:$one,127.0.0.1:$two,127.0.0.1:$three"
first_gateway=$pid

# ---- bindings and statuses ----
call 200 '' "$at/v1/call" -d '{"config":{"name":"wangwu"}}'; is '{"config":{"name":"wangwu"}}'
has_header 'Content-Type: application/json'
call 404 '"message":"not found"' "$at/v1/call" -d '{"config":{"name":"zhangsan"}}'
is '{"code":5,"message":"not found","details":[]}'
call 500 '"message":"this is custom error"' "$at/v1/call" -d '{"config":{"name":"lisi"}}'
data='{"@type":"type.googleapis.com/grpcdemo.CustomMessage","customMessage":"x"}'
call 200 '' "$at/v1/gateway" -d "{\"username\":\"u\",\"password\":\"p\",\"data\":$data}"
is "{\"username\":\"u\",\"data\":$data}"
call 404 'no method has this path' "$at/v1/nothing" -d '{}'
call 404 'no method has this path' "$at/grpcdemo.GrpcDemo/CallGrpcGateway" -d '{}'
call 405 'GET is not possible here' "$at/v1/call"; has_header 'Allow: POST'
call 400 'malformed JSON at line 2, column' "$at/v1/call" -d $'{"config":{"name":"x"\n}}}'
call 400 'config.name: a string is needed' "$at/v1/call" -d '{"config":{"name":1}}'
call 400 'config: ' "$at/v1/call" -d '{"config":[]}'
call 400 'malformed JSON at line 1, column 11: a value is needed' "$at/v1/call" -d '{"config":'
call 400 'conf' "$at/v1/call" -d '{"conf":{}}'
head -c 5000000 /dev/zero >"$scratch/large"
call 413 'more than 4194304 bytes' "$at/v1/call" --data-binary "@$scratch/large"

# ---- methods without a binding, streams ----
call 200 '' "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}'; is '{"username":"demo"}'
call 200 '"customMessage":"' "$at/grpcdemo.GrpcDemo/DemoImport" -d '{"importedMessage":"who"}'
call 200 '' "$at/grpcdemo.GrpcDemo/FetchData" -d '{"msg":"books"}'
is '{"result":{"favBook":"Structure and Interpretation of Computer Programs"}}
{"result":{"favBook":"The Practice of Programming"}}
{"result":{"favBook":"TCP/IP Illustrated"}}'
has_header 'Content-Type: application/x-ndjson'
call 501 'takes a stream of requests' "$at/grpcdemo.GrpcDemo/PushData" -d '{}'
call 501 'takes a stream of requests' "$at/grpcdemo.GrpcDemo/Exchange" -d '{}'

# ---- headers ----
call 200 demo "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' -H 'Grpc-Metadata-Echo-Text: hello' \
    -H 'Grpc-Metadata-Echo-X-Bin: AAH/'
has_header 'Grpc-Metadata-echo-text: hello'; has_header 'Grpc-Metadata-echo-x-bin: AAH/'
has_header 'Grpc-Trailer-echo-text: hello'
call 200 '"favBook"' "$at/grpcdemo.GrpcDemo/FetchData" -d '{}' -H 'Grpc-Metadata-Echo-Text: hello'
has_header 'Grpc-Metadata-echo-text: hello'
call 400 'base64' "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' -H 'Grpc-Metadata-X-Bin: ?'
call 400 'Grpc-Timeout' "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' -H 'Grpc-Timeout: 1'
call 400 'Grpc-Timeout' "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' -H 'Grpc-Timeout: 123456789S'
call 200 demo "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' -H 'Grpc-Timeout: 1M'

# ---- without a descriptor set: by the server's reflection ----
protoset_gateway=$at
start_gateway "static:127.0.0.1:$one,127.0.0.1:$two"
call 200 '' "$at/v1/call" -d '{"config":{"name":"wangwu"}}'; is '{"config":{"name":"wangwu"}}'
call 404 '"message":"not found"' "$at/v1/call" -d '{"config":{"name":"zhangsan"}}'
call 200 '' "$at/v1/gateway" -d "{\"username\":\"u\",\"data\":$data}"; is "{\"username\":\"u\",\"data\":$data}"
call 200 '"favBook":"TCP/IP Illustrated"' "$at/grpcdemo.GrpcDemo/FetchData" -d '{}'
call 200 '  "/v1/call":' "$at/openapi.yaml"
kill -TERM "$pid"
wait "$pid" || bad "the gateway by reflection ended with $?"
at=$protoset_gateway

# ---- documents ----
call 200 '  "/v1/call":' "$at/openapi.yaml"
call 200 '<title>gRPC gateway</title>' "$at/"
has_header 'Content-Type: text/html; charset=utf-8'

# ---- the page, in a browser ----
if command -v chromium >/dev/null; then
    "$(dirname "${BASH_SOURCE[0]}")/test_gateway_page.sh" "$at" || failed=1
else
    echo "no chromium here: the page was not tried"
fi

# ---- a backend dies under load ----
"$gateway_load" "${at##*:}" 64 10000 "$third" >"$scratch/load" || bad "load: $(cat "$scratch/load")"
cat "$scratch/load"

# ---- a backend that hangs: deadlines, and requests that do not wait for others ----
start_server; hung=$pid
start_gateway --protoset "$protoset" "static:127.0.0.1:$port"
slow_gateway=$pid
call 200 demo "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}'
kill -STOP "$hung"
call 504 '"code":4' "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' -H 'Grpc-Timeout: 50m'
call 504 '"code":4' "$at/grpcdemo.GrpcDemo/FetchData" -d '{}' -H 'Grpc-Timeout: 50m'
for i in $(seq 50); do
    [ "$i" -eq 1 ] || echo next
    printf 'url = "%s/grpcdemo.GrpcDemo/UnaryCall"\ndata = "{}"\noutput = "%s/many.%d"\n' "$at" "$scratch" "$i"
done >"$scratch/many"
curl -sS --parallel --parallel-immediate --parallel-max 50 --max-time 120 -K "$scratch/many" 2>"$scratch/error" &
many=$!
sleep 0.2 # until most of them wait
call 504 '"code":4' "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' -H 'Grpc-Timeout: 50m'
call 200 'swagger' "$at/openapi.yaml"
kill -CONT "$hung"
wait $many || bad "50 slow calls: $(cat "$scratch/error")"
cat "$scratch"/many.* >"$scratch/all"
[ "$(grep -o '{"username":"demo"}' "$scratch/all" | wc -l)" -eq 50 ] || bad "slow calls: $(head -c 500 "$scratch/all")"

# ---- the end: calls under way are answered, new connections are not taken ----
kill -STOP "$hung"
: >"$scratch/last.trace"
# The gateway answers "100 Continue" when it has taken the request.
curl -sSv --max-time 60 -H 'Expect: 100-continue' -o "$scratch/last" -w '%{http_code}' \
    "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}' >"$scratch/last.status" 2>"$scratch/last.trace" &
last=$!
for _ in $(seq 500); do
    grep -q '100 Continue' "$scratch/last.trace" && break
    sleep 0.02
done
kill -TERM "$slow_gateway"
sleep 0.2
kill -CONT "$hung"
wait $last
[ "$(cat "$scratch/last.status")" = 200 ] || bad "the last call: $(cat "$scratch/last.status" "$scratch/last")"
wait "$slow_gateway" || bad "the gateway ended with $?"
grep -q 'gateway: stopped' "$scratch/gateway" || bad "the gateway did not stop: $(cat "$scratch/gateway")"
! curl -s --max-time 5 -o /dev/null "$at/" || bad "the gateway still answers"

# ---- the end, after the time that calls get: a request that is complete only then starts no call ----
start_server; hung=$pid
start_gateway --protoset "$protoset" "static:127.0.0.1:$port"
late_gateway=$pid
call 200 demo "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}'
kill -STOP "$hung"
exec {late}<>"/dev/tcp/127.0.0.1/${at##*:}"
printf 'POST /grpcdemo.GrpcDemo/UnaryCall HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{' >&"$late"
sleep 0.3 # until it has come
kill -TERM "$late_gateway"
sleep 10.7
printf '}' >&"$late"
timeout 20 cat <&"$late" >"$scratch/late"
exec {late}>&-
grep -q '^HTTP/1.1 503' "$scratch/late" || bad "a late request: $(cat "$scratch/late")"
grep -qi '^Connection: close' "$scratch/late" || bad "a late request keeps its connection: $(cat "$scratch/late")"
wait "$late_gateway" || bad "the gateway with a late request ended with $?"
kill -CONT "$hung"

# ---- all backends are gone ----
start_server; gone=$port; gone_pid=$pid
start_gateway --protoset "$protoset" "static:127.0.0.1:$gone"
call 200 demo "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}'
kill -9 "$gone_pid"; wait "$gone_pid" 2>/dev/null
call 503 '"code":14' "$at/grpcdemo.GrpcDemo/UnaryCall" -d '{}'
call 503 '"code":14' "$at/grpcdemo.GrpcDemo/FetchData" -d '{}'

# ---- TLS towards clients ----
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$scratch/key.pem" \
    -out "$scratch/cert.pem" -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1' -days 2 2>/dev/null ||
    bad "openssl"
start_server; of_tls=$pid
start_gateway --protoset "$protoset" --tls-cert "$scratch/cert.pem" --tls-key "$scratch/key.pem" \
    "static:127.0.0.1:$port"
secure=https${at#http}
call 200 '' --cacert "$scratch/cert.pem" "$secure/v1/call" -d '{"config":{"name":"wangwu"}}'
is '{"config":{"name":"wangwu"}}'
call 200 'TCP/IP Illustrated' --cacert "$scratch/cert.pem" "$secure/grpcdemo.GrpcDemo/FetchData" -d '{}'
! curl -s --max-time 5 -o /dev/null "$at/" || bad "TLS is served without TLS"
! curl -s --max-time 5 -o /dev/null "$secure/" || bad "curl trusts a certificate that nobody has signed"
kill -TERM "$pid"; wait "$pid" || bad "the gateway with TLS ended with $?"
kill -9 "$of_tls"; wait "$of_tls" 2>/dev/null
! "$gateway" --plaintext --protoset "$protoset" --tls-cert "$scratch/cert.pem" --tls-key "$scratch/cert.pem" \
    --listen 127.0.0.1:0 static:127.0.0.1:1 2>"$scratch/error" || bad "a certificate as key"
grep -q 'a pair in PEM' "$scratch/error" || bad "$(cat "$scratch/error")"
! "$gateway" --plaintext --protoset "$protoset" --tls-cert "$scratch/none" --tls-key "$scratch/none" \
    static:127.0.0.1:1 2>"$scratch/error" || bad "a missing certificate"
grep -q 'none: No such file' "$scratch/error" || bad "$(cat "$scratch/error")"
! "$gateway" --plaintext --tls-cert "$scratch/cert.pem" static:127.0.0.1:1 2>/dev/null || bad "--tls-cert alone"

# ---- the command line ----
! "$gateway" 2>/dev/null || bad "no target"
! "$gateway" --plaintext --protoset "$scratch/none" static:127.0.0.1:1 2>"$scratch/error" || bad "a missing protoset"
grep -q "none" "$scratch/error" || bad "$(cat "$scratch/error")"
! "$gateway" --plaintext --listen nonsense --protoset "$protoset" static:127.0.0.1:1 2>"$scratch/error" ||
    bad "--listen nonsense"
grep -q 'ADDRESS:PORT is needed' "$scratch/error" || bad "$(cat "$scratch/error")"
for port in 65536 99999 -1 80x; do
    ! timeout 60 "$gateway" --plaintext --listen "127.0.0.1:$port" --protoset "$protoset" static:127.0.0.1:1 \
        2>"$scratch/error" || bad "--listen with port $port"
    grep -q 'a number from 0 to 65535' "$scratch/error" || bad "port $port: $(cat "$scratch/error")"
done
kill -TERM "$first_gateway"
wait "$first_gateway" || bad "the first gateway ended with $?"
[ $failed -ne 0 ] || echo "test_gateway: ok"
exit $failed
