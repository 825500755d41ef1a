#!/bin/bash
# check_cli.sh EVENER DEMO_SERVER: checks output and exit status of the command-line program against three demo servers.
set -uo pipefail
export LC_ALL=C
evener=$1
demo_server=$2
scratch=$(mktemp -d)
servers=()
stop() { [ ${#servers[@]} -eq 0 ] || kill -9 "${servers[@]}" 2>/dev/null; rm -rf "$scratch"; }
trap stop EXIT
failed=0
bad() { echo "FAILED: $*"; failed=1; }

# run STATUS COMMAND...: run the command; stdout goes to $out, stderr to $err.
run()
{
    local wanted=$1 status
    shift
    out=$("$@" 2>"$scratch/err")
    status=$?
    err=$(cat "$scratch/err")
    [ $status -eq "$wanted" ] || bad "$* ended with $status, not $wanted: $out $err"
}
has() { grep -q -E -e "$2" <<<"$1" || bad "/$2/ is not in: $1"; }

start_server() # sets $port
{
    rm -f "$scratch/server"; : >"$scratch/server" # drop the previous server's output
    "$demo_server" "$@" 0 >"$scratch/server" 2>&1 &
    servers+=($!)
    for _ in $(seq 200); do
        port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$scratch/server")
        [ -z "$port" ] || return 0
        sleep 0.05
    done
    bad "no server: $(cat "$scratch/server")"
    exit 1
}
start_server; one=$port
start_server; two=$port
start_server; three=$port
target=static:127.0.0.1:$one,127.0.0.1:$two,127.0.0.1:$three
demo=grpcdemo.GrpcDemo
method=/$demo/DemoImport

# ---- the program ----
run 0 "$evener" --version; has "$out" '^evener [0-9]+\.[0-9]+\.[0-9]+$'
run 0 "$evener" -V; has "$out" '^evener [0-9]+\.'
run 0 "$evener" --help; has "$out" 'load'
run 0 "$evener" help; has "$out" 'load'; run 0 "$evener" help help; has "$out" 'load'; run 2 "$evener" help dance; has "$err" 'unknown command "dance"'
run 2 "$evener"; run 2 "$evener" dance
for command in call check load list describe; do
    run 0 "$evener" $command --help; has "$out" "^usage: evener $command"
    [ "$out" = "$("$evener" help $command)" ] || bad "help $command is not $command --help"
    run 2 "$evener" $command
    run 2 "$evener" $command --no-such-option
done

# ---- check ----
cat >"$scratch/good.cfg" <<END
defaults = { credentials = "insecure"; policy = "round_robin"; };
channels = { demo = { target = "$target"; authority = "demo.test"; }; };
END
run 0 "$evener" check "$scratch/good.cfg"
has "$out" 'good.cfg: ok, 1 channel'; has "$out" 'demo +static:127'; has "$out" 'authority demo.test, insecure'
run 0 "$evener" check --quiet "$scratch/good.cfg"; [ -z "$out" ] || bad "quiet, but: $out"
printf 'channels = {\n demo = { target = "static:x"; polici = 1; };\n};\n' >"$scratch/bad.cfg"
run 1 "$evener" check "$scratch/bad.cfg"; has "$err" 'bad.cfg:2: channels.demo.polici: no such setting'
run 1 "$evener" check "$scratch/missing.cfg"; has "$err" 'missing.cfg: cannot be read: No such file'
for name in one two; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$name" \
        -keyout "$scratch/$name.key" -out "$scratch/$name.pem" 2>"$scratch/openssl" || bad "$(cat "$scratch/openssl")"
done
for key in one two; do
    echo "channels = { demo = { target = \"$target\"; credentials = { certificate = \"one.pem\"; key = \"$key.key\"; }; }; };" \
        >"$scratch/$key.cfg"
done
run 0 "$evener" check "$scratch/one.cfg"; has "$out" 'authority of each backend, mtls'
run 1 "$evener" check "$scratch/two.cfg"
has "$err" 'two.cfg:1: channels.demo.credentials: the private key in "two.key" does not belong to .*/CN=one.* in "one.pem"'
echo 'channels = { demo = { target = "unix:/tmp/x"; }; };' >"$scratch/socket.cfg"
run 1 "$evener" check "$scratch/socket.cfg"; has "$err" 'socket.cfg:1: channels.demo: .*no name to verify.*authority'

run 0 "$evener" check --json "$scratch/good.cfg"
has "$out" '^\{"file":"[^"]*good.cfg","ok":true,"channels":\[\{"name":"demo","target":"static:.*"authority":"demo.test"'
run 1 "$evener" check --json -q "$scratch/good.cfg" "$scratch/bad.cfg"
[[ $out == '{"file":"'*'bad.cfg","ok":false,'* && $out != *$'\n'* ]] || bad "quiet with JSON, but: $out"
run 1 "$evener" check --json "$scratch/bad.cfg"; has "$out" '"ok":false,"error":"[^"]*bad.cfg:2: channels.demo.polici: '

# Control characters in a file are escaped, so that they do not drive the terminal; UTF-8 text is not.
printf 'channels = { demo = { target = "static:127.0.0.1:1"; authority = "gr\xc3\xbcn\\x1b[2J\\n"; }; };\n' >"$scratch/esc.cfg"
run 1 "$evener" check "$scratch/esc.cfg"; has "$err" 'authority is no host name'
printf 'channels = { demo = { target = "static:127.0.0.1:1"; policy = "no\\x1b[2J"; }; };\n' >"$scratch/esc.cfg"
run 1 "$evener" check "$scratch/esc.cfg"; has "$err" 'no\\x1b\[2J'
cp "$scratch/good.cfg" "$scratch/"$'go\x1b[2Jod.cfg'
run 0 "$evener" check "$scratch/"$'go\x1b[2Jod.cfg'; has "$out" 'go\\x1b\[2Jod\.cfg: ok, 1 channel$'
printf '127.0.0.1:1 note=%%1b%%5b2Jgr%%c3%%bcn%%c2%%9b%%0aforged\n' >"$scratch/esc.endpoints"
run 0 "$evener" resolve "file:$scratch/esc.endpoints"; has "$out" 'note=\\x1b\[2Jgrün\\xc2\\x9b\\nforged$'
# An include that cannot be read ends with a message, not with the process.
mkfifo "$scratch/fifo"
for name in '' "$scratch" "$scratch/fifo" "$scratch/missing"; do
    printf '\n@include "%s"\nchannels = { };\n' "$name" >"$scratch/include.cfg"
    run 1 "$evener" check "$scratch/include.cfg"; has "$err" 'include.cfg:2: @include: '
done
run 1 "$evener" check "$scratch/fifo"; has "$err" 'fifo: it is a FIFO'

# ---- call ----
run 0 "$evener" call "$target" $method --plaintext; has "$out" '^0a[0-9a-f]+$'
run 0 "$evener" call "$target" /evener.demo.Echo/Unary --plaintext --data-hex '68 69'
[ "$out" = 6869 ] || bad "echo: $out"
printf hello >"$scratch/data"
run 0 "$evener" call "$target" /evener.demo.Echo/Unary --plaintext --raw --data-file "$scratch/data"
[ "$out" = hello ] || bad "echo: $out"
run 0 "$evener" call "$target" $method --plaintext -v --header 'echo-me: yes'
has "$err" "backend ipv4:127.0.0.1:$one"; has "$err" 'header echo-me: yes'
run 0 "$evener" call "$target" /evener.demo.Echo/Unary --plaintext --raw -d "@$scratch/data" -H 'ECHO-Me: Yes' -v
[ "$out" = hello ] || bad "echo: $out"; has "$err" 'header echo-me: Yes'
run 0 "$evener" call "$target" /evener.demo.Echo/Unary --plaintext --raw -d text; [ "$out" = text ] || bad "echo: $out"
run 0 "$evener" call "$target" /evener.demo.Echo/Unary --plaintext --json -d hi -H 'echo-me: yes'
has "$out" "^\{\"status\":\"OK\",\"code\":0,.*\"backend\":\"ipv4:127.0.0.1:$one\",.*\[\"echo-me\",\"yes\"\].*\"response_hex\":\"6869\"\}$"
run 0 "$evener" call "$target" /evener.demo.Echo/Unary --plaintext -H 'Echo-A-Bin: aGVsbG8=' -H 'echo-b-bin: _-8' -v
has "$err" '^header echo-a-bin: 68656c6c6f$'; has "$err" '^header echo-b-bin: ffef$'
for value in a 'aGVsbG8==' 'aGVsbG8=x' '****'; do
    run 2 "$evener" call "$target" $method -H "a-bin: $value"; has "$err" 'in base64'
done
run 0 "$evener" call "$target" /evener.demo.Echo/Unary --plaintext -H $'echo-me:\t in the middle \t' -v
has "$err" '^header echo-me: in the middle$'
for command in "call $target $method" "load $target $method -n 1" "list $target" "describe $target evener.demo.Echo"; do
    for header in 'x y: 1' $'x: \001' 'x: ä' 'host: a' 'grpc-timeout: 1S'; do
        # shellcheck disable=SC2086 # words
        run 2 "$evener" $command --plaintext -H "$header"; has "$err" "^evener: --header: metadata (key|value of) \"${header%%:*}"
    done
done
run 76 "$evener" call "$target" /no.Such/Method --plaintext --json; has "$out" '^\{"status":"UNIMPLEMENTED","code":12,'
run 78 "$evener" call "$target" $method; has "$err" 'Did you mean --plaintext\?$'
[ "$(wc -l <<<"$err")" -eq 2 ] || bad "lines of the core's log: $err"
run 78 env EVENER_TRANSPORT=http2 "$evener" call "$target" $method; has "$err" 'Did you mean --plaintext\?$'
run 68 "$evener" call "static:127.0.0.1:1" $method --plaintext --wait-for-ready --timeout 50ms
for duration in 500ms 1.5 2s 1m 1h 1m30s 900000us .5m; do
    run 0 "$evener" call "$target" $method --plaintext --timeout $duration
done
for duration in 5x 1m30 -1s 1e3 0x10 inf '' 's' '1 s' 99999999h; do
    run 2 "$evener" call "$target" $method --timeout "$duration"; has "$err" "$duration: a duration is needed"
done
run 0 "$evener" call demo $method --factory "$scratch/good.cfg" -v --header 'echo-a: b'
has "$err" 'header host-seen: demo.test'
run 76 "$evener" call "$target" /no.Such/Method --plaintext; has "$err" 'UNIMPLEMENTED'
run 78 "$evener" call static:127.0.0.1:1 $method --plaintext; has "$err" 'UNAVAILABLE.*127.0.0.1:1'
run 1 "$evener" call demo $method --factory "$scratch/bad.cfg"; has "$err" 'bad.cfg:2:'
run 1 "$evener" call other $method --factory "$scratch/good.cfg"; has "$err" 'no channel "other"'
run 2 "$evener" call "$target" $method --data-hex 123; has "$err" 'whole bytes'
run 2 "$evener" call "$target" nothing; has "$err" '/package.Service/Method'
run 1 "$evener" call "$target" $method --plaintext --policy no_such; has "$err" 'no_such'
# A wrong command line is 2, a wrong file 1; the command line comes first.
for wrong in "--plaintext --cacert x" "--plaintext --cert x" "--plaintext --key x" "--cert x" "--key x" \
    "--policy a --service-config {}" "--factory x --plaintext" "--factory x --policy a" "--factory x --default-port 1"; do
    for command in call load list describe; do
        # shellcheck disable=SC2086 # words
        case $command in
        call | load) run 2 "$evener" $command "$target" $method $wrong -d @/nonexistent ;;
        *) run 2 "$evener" $command "$target" $demo $wrong ;;
        esac
        has "$err" 'does not go with|needs --key|remove the other options'
    done
done
for name in $method $demo/UnaryCall; do
    run 1 "$evener" call "$target" $name --plaintext -d @/nonexistent; has "$err" '^evener: /nonexistent: No such file'
    run 1 "$evener" call "$target" $name --plaintext --data-file /nonexistent; has "$err" '^evener: /nonexistent: No such file'
    run 1 "$evener" load "$target" $name --plaintext -d "@$scratch"; has "$err" 'Is a directory$'
done
run 2 "$evener" call "$target" -d @/nonexistent; has "$err" 'no method'
run 1 "$evener" call "$target" $method --cacert /nonexistent; has "$err" '^evener: /nonexistent: No such file'

# ---- messages as JSON: types by reflection ----
run 0 "$evener" list "$target" --plaintext; has "$out" '^grpcdemo.GrpcDemo$'; has "$out" '^grpcdemo.GrpcGatewayDemo$'
run 0 "$evener" list "$target" $demo --plaintext; has "$out" '^grpcdemo.GrpcDemo/CallGrpcGateway$'
[ "$(wc -l <<<"$out")" -eq 6 ] || bad "methods: $out"
run 0 "$evener" list "$target" --plaintext --json; has "$out" '^\{"service":"grpcdemo.GrpcDemo"\}$'
run 1 "$evener" list "$target" no.Such --plaintext; has "$err" 'no.Such'
run 0 "$evener" describe "$target" $demo --plaintext; has "$out" '^    // Answers all that was pushed, in one text\.$'
has "$out" '^    rpc Exchange\(stream \.grpcdemo\.ExchangeReq\) returns \(stream \.grpcdemo\.ExchangeResp\);$'
run 0 "$evener" describe "$target" grpcdemo.FetchDataReq --plaintext; has "$out" '^    oneof notice_way \{$'
run 0 "$evener" describe "$target" grpcdemo.CallGrpcGatewayReq --plaintext; has "$out" 'map<string, string> config = 1;$'
run 0 "$evener" describe "$target" grpcdemo.Gender --plaintext; has "$out" '^    Female = 2;$'
run 0 "$evener" describe "$target" $demo.UnaryCall --plaintext --json; has "$out" '^\{"kind":"method",'
# Names as declarations and `evener list` print them.
run 0 "$evener" describe "$target" .grpcdemo.FetchDataReq --plaintext; has "$out" '^message FetchDataReq \{$'
run 0 "$evener" describe "$target" $demo/UnaryCall --plaintext; has "$out" '^rpc UnaryCall'
run 0 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{"config":{"name":"x"}}'
[ "$(tr -d ' \n' <<<"$out")" = '{"config":{"name":"x"}}' ] || bad "JSON call: $out"
run 0 "$evener" call "$target" $demo.UnaryCall --plaintext; has "$out" '"username": "demo"'
run 69 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{"config":{"name":"zhangsan"}}'; has "$err" 'not found'
run 66 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{"config":{"name":"lisi"}}'
run 1 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{"config":{"name":1}}'
has "$err" 'config.name: a string is needed'; [ -z "$out" ] || bad "an answer to a wrong request: $out"
run 1 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{"config":{"name":"x"'; has "$err" 'malformed JSON at line 1'
run 1 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{"typo":1}'; has "$err" 'typo: .* has no such field'
run 0 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{"typo":1}' --allow-unknown-fields --emit-defaults
has "$out" '"config": \{\}'
run 1 "$evener" call "$target" $demo/CallGrpcGateway --plaintext -d '{} {}'; has "$err" 'takes one message'
run 1 "$evener" call "$target" $demo/NoSuch --plaintext; has "$err" 'no such method'
run 1 "$evener" call "$target" no.Such/Method --plaintext; has "$err" 'no.Such'
# Streams: one value per message.
run 0 "$evener" call "$target" $demo/FetchData --plaintext --json -d '{"email":"a@b"}'
[ "$(grep -c '^{"response":{"favBook":' <<<"$out")" -eq 3 ] || bad "server stream: $out"
has "$out" '^\{"status":"OK",'
run 0 sh -c 'printf "{\"foo\":\"a\"}\n{\"foo\":\"b\"}" | "$@"' sh "$evener" call "$target" $demo/PushData --plaintext -d @
has "$out" '"foo": "ab"'
run 0 "$evener" call "$target" $demo/PushData --plaintext --json; has "$out" '^\{"response":\{\}\}$'
seq 1000 | sed 's/.*/{"firstName":"&","age":&}/' >"$scratch/thousand"
run 0 "$evener" call "$target" $demo/Exchange --plaintext --json -d "@$scratch/thousand"
[ "$(grep -c '"lastName"' <<<"$out")" -eq 1000 ] || bad "1,000 messages each way: $(wc -l <<<"$out") lines"
has "$out" "^\{\"response\":\{\"lastName\":\"1000's family\",\"gender\":\"Female\"\}\}$"
# Standard input as it comes: the answer to the first message is there before the second one is sent.
coproc talk { exec "$evener" call "$target" $demo/Exchange --plaintext --timeout 0 --json -d @ 2>"$scratch/err"; }
talk_pid=$talk_PID
for message in '{"firstName":"Ada"}' $'{"firstName":\n"}{[\\"\\\\"}' ' {"age":7}'; do
    printf '%s' "$message" >&"${talk[1]}"
    IFS= read -r -t 60 line <&"${talk[0]}" || bad "no answer to $message: $(cat "$scratch/err")"
    has "$line" "^..response.:..lastName.:.*family"
done
eval "exec ${talk[1]}>&-"
IFS= read -r -t 60 line <&"${talk[0]}"; has "$line" '^\{"status":"OK",'
wait "$talk_pid" || bad "the talk ended with $?"
exec {fifo}<>"$scratch/fifo" # never at its end
run 68 timeout 60 "$evener" call "$target" $demo/Exchange --plaintext --timeout 300ms -d @ <&$fifo; has "$err" 'DEADLINE_EXCEEDED'
# A full disk ends a stream with the first answer, however long the input goes on, and is the only error.
echo '{"firstName":"Ada"}' >&$fifo
run 1 timeout 60 sh -c 'exec "$@" >/dev/full' sh "$evener" call "$target" $demo/Exchange --plaintext --timeout 0 -d @ <&$fifo
[ "$err" = 'evener: standard output: No space left on device' ] || bad "a stream to a full disk: $err"
run 1 sh -c 'exec "$@" >/dev/full' sh "$evener" call "$target" $demo/FetchData --plaintext -d '{"email":"a@b"}'
[ "$err" = 'evener: standard output: No space left on device' ] || bad "three answers to a full disk: $err"
exec {fifo}>&-
run 1 sh -c 'printf "{\"foo\":1} 7" | "$@"' sh "$evener" call "$target" $demo/PushData --plaintext -d @; has "$err" 'foo: a string'
run 1 sh -c 'printf "{} {\"foo\":" | "$@"' sh "$evener" call "$target" $demo/PushData --plaintext -d @; has "$err" 'after the messages before: malformed'
# Types of a file; bytes need no types; load.
protoc -I "$(dirname "$0")/../../examples/proto" --include_imports --descriptor_set_out="$scratch/demo.protoset" \
    grpcdemo/grpcdemo.proto || bad "protoc"
# A call that fails without a free descriptor says why.
for files in 8 9 10 11 12 13 14; do
    said=$(ulimit -n $files
        EVENER_TRANSPORT=http2 timeout 60 "$evener" call "$target" $demo/Exchange --protoset "$scratch/demo.protoset" \
            --plaintext --timeout 300ms -d '{"firstName":"x"}' 2>&1) || [ -n "$said" ] || bad "$files descriptors: no word of it"
done
run 0 "$evener" call "$target" $demo/UnaryCall --plaintext --protoset "$scratch/demo.protoset"; has "$out" 'demo'
run 0 "$evener" list --protoset "$scratch/demo.protoset"; has "$out" '^grpcdemo.GrpcDemo$'
run 0 "$evener" describe --protoset "$scratch/demo.protoset" grpcdemo.ExchangeReq; has "$out" 'optional int32 age = 2;$'
run 1 "$evener" call "$target" $demo/UnaryCall --plaintext --protoset "$scratch/missing"; has "$err" 'missing'
run 1 "$evener" describe --protoset "$scratch/demo.protoset" no.Such; has "$err" 'no such service'
run 0 "$evener" load "$target" $demo/CallGrpcGateway --plaintext -n 100 -d '{"config":{"a":"b"}}' --json
has "$out" '^\{"calls":100,"failed":0,'
run 1 "$evener" load "$target" $demo/FetchData --plaintext -n 1; has "$err" 'unary'
run 1 "$evener" load "$target" $demo/CallGrpcGateway --plaintext -n 1 -d '{} {}'; has "$err" 'takes one message'
run 1 "$evener" load "$target" $demo/CallGrpcGateway --plaintext -n 1 -d '{} garbage'; has "$err" 'after the messages before: malformed'
# A server that cannot be asked for its types: the call ends as one with bytes does.
run 78 "$evener" call 127.0.0.1:1 $demo/UnaryCall --plaintext; has "$err" '^evener: UNAVAILABLE: .*127.0.0.1:1'
run 78 "$evener" call "$target" $demo/UnaryCall; has "$err" 'Did you mean --plaintext\?$'
run 68 "$evener" call static:127.0.0.1:1 $demo/UnaryCall --plaintext --wait-for-ready --timeout 50ms --json
has "$out" '^\{"status":"DEADLINE_EXCEEDED","code":4,'
for transport in grpc http2; do
    run 78 env EVENER_TRANSPORT=$transport "$evener" call static:127.0.0.1:1 $demo/UnaryCall --plaintext --json -v
    has "$out" '^\{"status":"UNAVAILABLE","code":14,"message":".*127.0.0.1:1.*","backend":null,"attempts":0,'
    has "$err" '^backend \(none\)'
done
run 1 "$evener" call "$target" no.Such/Method --plaintext --json; [ -z "$out" ] || bad "a call that was not made: $out"
for command in list describe; do
    run 1 "$evener" $command static:127.0.0.1:1 $demo --plaintext; has "$err" '127.0.0.1:1'
done

# The other way round: a server that expects TLS.
openssl s_server -accept 127.0.0.1:0 -cert "$scratch/one.pem" -key "$scratch/one.key" -alpn h2 -www \
    </dev/null >"$scratch/tls" 2>&1 &
servers+=($!)
for _ in $(seq 200); do
    tls=$(sed -n 's/^ACCEPT \(127.*\)$/\1/p' "$scratch/tls")
    [ -z "$tls" ] || break
    sleep 0.05
done
for transport in grpc http2; do
    run 78 env EVENER_TRANSPORT=$transport "$evener" call "static:$tls" $method --plaintext --timeout 60s
    has "$err" 'If it expects TLS, leave out --plaintext\.$'
done

# ---- load ----
number='[0-9]+(\.[0-9]+)?'
run 0 "$evener" load "$target" $method --plaintext --policy round_robin --concurrency 8 --calls 3000 --json
times_of() { for name in p50 p99 p999 max mean; do printf '"%s%s_us":%s,' "$1" $name "$2"; done; }
backend="\{\"address\":\"[^\"]+\",\"calls\":[0-9]+,\"failed\":0,$(times_of '' "$number")$(times_of ok_ "$number")\"state\":\"READY\"\}"
nowhere="\{\"address\":\"\",\"calls\":0,\"failed\":0,$(times_of '' null)$(times_of ok_ null)\"state\":null\}"
rest="\"duration_s\":$number,\"policy\":\"round_robin\",\"histogram\":\[.*\],\"elapsed_s\":$number"
has "$out" "^\{\"calls\":3000,\"failed\":0,\"calls_per_s\":$number,$(times_of '' "$number")\"failures\":\{\},"
has "$out" "\"backends\":\[$nowhere,$backend,$backend,$backend\],$(times_of ok_ "$number")$rest"
has "$out" ',"asked_rate":null,"achieved_rate":null,"not_started":0\}$'
sum() { grep -o "\"$1\":[0-9]*[,}]" | grep -o '[0-9]*' | awk '{ sum += $1 } END { print sum + 0 }'; }
[ "$(grep -o '"histogram":.*' <<<"$out" | sum count)" = 3000 ] || bad "the histogram does not sum up: $out"
[ "$(grep -o '"backends":.*' <<<"$out" | sum calls)" = 3000 ] || bad "the backends do not sum up: $out"
for calls in $(grep -o '"address":"[^"]\+","calls":[0-9]*' <<<"$out" | grep -o '[0-9]*$'); do
    if [ "$calls" -lt 900 ] || [ "$calls" -gt 1100 ]; then bad "round_robin is not even: $out"; fi
done
run 0 "$evener" load "$target" $method --plaintext --policy '{"round_robin":{}}' --rate 500 --calls 500
has "$out" "127.0.0.1:$two .*READY"; has "$out" '500 calls in '; has "$out" 'policy round_robin; 0 failed'
run 0 "$evener" load "$target" /no.Such/Method --plaintext --calls 10 --json
has "$out" '"failures":\{"UNIMPLEMENTED":10\}'; has "$out" '"ok_p50_us":null'; has "$out" '"failed":10,[^n]*"p50_us":[0-9]'
run 1 "$evener" load "$target" /no.Such/Method --plaintext -n 10 -c 2 --max-failures 9
has "$err" '10 calls failed, more than --max-failures 9'; has "$out" "127.0.0.1:$one +[0-9]+ +[0-9.]+% +- +- +- "
run 0 "$evener" load "$target" /no.Such/Method --plaintext -n 10 --max-failures 10; has "$out" 'successful calls only: p50 - ms'
has "$out" '^10 calls in .*; p50 [0-9.]+ ms'
run 0 "$evener" load "$target" $method --plaintext -z 200ms -q
for rate in 0 -1 1e-11 0.0000009 10000001 nan inf 1x; do
    run 2 "$evener" load "$target" $method --plaintext --rate $rate -n 1
    has "$err" "--rate $rate: 0.000001 to 10,000,000 calls per second are needed"
done
run 0 "$evener" load "$target" $method --plaintext --rate 0.000001 -n 1; has "$out" '^1 calls in'
# The run ends with its last call, not when the next one would be due.
run 0 timeout 200 "$evener" load "$target" $method --plaintext --rate 0.001 -n 1; has "$out" '^1 calls in'
has "$out" 'asked for 0.001/s, achieved 0.001/s; 0 calls that were due were not started'

# field NAME: the first number of this name in $out.
field() { sed -n "s/^[^[]*\"$1\":\([0-9.]*\)[,}].*/\1/p; s/.*\],\(.*\)\"$1\":\([0-9.]*\)[,}].*/\2/p" <<<"$out" | head -n 1; }

start_server --delay-ms=3600000; silent_for_long=$port
# More calls than can start: the duration ends the run, and says what was left. At most two calls of 100 ms at a time.
start_server --delay-ms=100; late=$port
run 0 timeout 60 "$evener" load "static:127.0.0.1:$late" $method --plaintext --rate 1000 --duration 0.5 -c 2 --json
has "$err" 'warning: 1000 calls per second were asked for, [0-9.]+ were achieved; [0-9]+ calls that were due were not started'
calls=$(field calls) left=$(field not_started)
[ $((calls + left)) -eq 500 ] || bad "of 500 calls $calls were started and $left were not: $out"
[ "$calls" -le 12 ] || bad "$calls calls in 500 ms, two of 100 ms at a time: $out"
has "$out" '"duration_s":0.5,'; has "$out" '"asked_rate":1000.0,'
awk -v per_s="$(field calls_per_s)" -v calls="$calls" 'BEGIN { exit per_s != calls / 0.5 }' ||
    bad "calls per second are not over the duration: $out"

# One of two servers answers after the deadline: its share of the calls fails, and the percentiles of all calls say so.
# load begins with the first connection: again, if the second one came after all calls had begun. The shares differ
# from a half by the calls that began in between.
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    run 0 "$evener" load "static:127.0.0.1:$one,127.0.0.1:$silent_for_long" $method --plaintext --policy round_robin -n 40 \
        -c 40 --timeout 2s --json
    grep -qE "\"address\":\"127.0.0.1:($one|$silent_for_long)\",\"calls\":(40|0)," <<<"$out" || break
done
[ "$attempt" -lt 10 ] || bad "ten times one of two servers was not connected: $out"
awk -v p99="$(field p99_us)" -v ok="$(field ok_p99_us)" 'BEGIN { exit !(p99 >= 1990000 && ok < 1990000) }' ||
    bad "the deadline is missing in the percentiles: $out"
has "$out" "\"address\":\"127.0.0.1:$silent_for_long\",\"calls\":([1-9][0-9]*),\"failed\":\\1,\"p50_us\":(199|[2-9][0-9][0-9])[0-9]{4}"
run 1 "$evener" load static:127.0.0.1:1 $method --plaintext --calls 10 --connect-timeout 2; has "$err" 'last error'
for command in "resolve static:1.2.3.4:5" "check $scratch/good.cfg" "call $target $method --plaintext"; do
    # shellcheck disable=SC2086 # words
    run 1 sh -c 'exec "$@" >/dev/full' sh "$evener" $command; has "$err" 'standard output: No space left on device'
done
run 1 timeout 200 sh -c 'exec "$@" >/dev/full' sh "$evener" resolve --watch static:1.2.3.4:5
has "$err" 'standard output: No space left on device'
run 1 sh -c 'exec "$@" >&-' sh "$evener" resolve static:1.2.3.4:5; has "$err" 'standard output: Bad file descriptor'
run 0 sh -c 'exec "$@" <&- 2>&-' sh "$evener" resolve static:1.2.3.4:5; has "$out" '1\.2\.3\.4:5'
# A closed standard input is an error, and not what a library has opened under its number.
for call in "$demo/UnaryCall --plaintext -d @" "$demo/Exchange --plaintext -d @-" "$method --plaintext -d @" "$method --cacert -"; do
    # shellcheck disable=SC2086 # words
    run 1 timeout 60 sh -c 'exec "$@" <&-' sh "$evener" call "$target" $call --timeout 0
    has "$err" '^evener: standard input: Bad file descriptor$'
done

# Interrupted between two calls: the figures are of the call that was sent, and none is sent too early.
# --max-failures judges whole runs.
for signal in INT TERM; do
    for limit in "" "--max-failures 5"; do
        : >"$scratch/out"
        # shellcheck disable=SC2086 # words
        "$evener" load "$target" $method --plaintext --rate 0.001 --duration 3000 $limit --json >"$scratch/out" 2>"$scratch/err" &
        load=$!
        for _ in $(seq 300); do # until it catches SIGTERM
            (($((16#$(sed -n 's/^SigCgt:\t*//p' /proc/$load/status 2>/dev/null || echo 0))) & 0x4000)) && break
            sleep 0.1
        done
        sleep 0.5 # the first call is sent at once, the second would be after 1,000 s
        kill -$signal $load
        wait $load
        status=$?
        [ $status -eq $((${#limit} > 0)) ] || bad "load $limit ended with $status: $(cat "$scratch/err")"
        has "$(cat "$scratch/out")" "^\{\"calls\":[01],\"failed\":0,\"calls_per_s\":$number,\"p50_us\":([0-9]{1,9}\\.|null)"
        [ -z "$limit" ] || has "$(cat "$scratch/err")" 'interrupted after [01] calls: --max-failures needs a whole run'
    done
done

# A call without a deadline at a server that does not answer: an interrupt ends it.
start_server --delay-ms=3600000; silent=$port
for transport in grpc http2; do
    for pause in 0.5 1 2 4 8; do # until the three calls had begun when the signal came
        timeout 60 "$evener" load "static:127.0.0.1:$silent" $method --plaintext --transport $transport --timeout 0 -c 3 \
            --json >"$scratch/out" 2>"$scratch/err" &
        load=$!
        for _ in $(seq 300); do # until it catches SIGTERM
            pid=$(pgrep -P $load || true)
            (($((16#$(sed -n 's/^SigCgt:\t*//p' "/proc/${pid:-0}/status" 2>/dev/null || echo 0))) & 0x4000)) && break
            sleep 0.1
        done
        sleep $pause
        kill -TERM "$pid"
        wait $load || bad "load at a silent server over $transport ended with $?: $(cat "$scratch/err")"
        ! grep -q '^{"calls":3,' "$scratch/out" || break
    done
    has "$(cat "$scratch/out")" '^\{"calls":3,"failed":3,.*"CANCELLED":3'
done
run 1 "$evener" call "static:127.0.0.1:$one" $method --plaintext --transport carrier-pigeon
has "$err" 'no transport "carrier-pigeon" is registered'

# A slowed backend loses its share under p2c.
start_server --delay-ms=300; slow=$port
run 0 "$evener" load "static:127.0.0.1:$one,127.0.0.1:$two,127.0.0.1:$slow" $method --plaintext --policy p2c_ewma \
    --concurrency 8 --calls 2000 --json
share=$(grep -o "\"address\":\"127.0.0.1:$slow\",\"calls\":[0-9]*" <<<"$out" | grep -o '[0-9]*$')
all=$(sed -n 's/^{"calls":\([0-9]*\),.*/\1/p' <<<"$out")
if [ $((${share:-0} * 6)) -ge "${all:-0}" ]; then bad "the slow backend got $share of $all: $out"; fi

# One of three backends is killed: at most the calls on the wire to it fail.
"$evener" load "$target" $method --plaintext --policy round_robin --concurrency 16 --duration 2 --json \
    >"$scratch/killed" 2>"$scratch/err" &
load=$!
sleep 1
kill -9 "${servers[1]}"
wait $load || bad "load: $(cat "$scratch/err")"
wait "${servers[1]}" 2>/dev/null
lost=$(sed -n 's/^{"calls":[0-9]*,"failed":\([0-9]*\),.*/\1/p' "$scratch/killed")
if [ -z "$lost" ] || [ "$lost" -gt 16 ]; then bad "one of three was killed: $(cat "$scratch/killed")"; fi

[ $failed -eq 0 ] && echo "ok; ${lost} calls were lost with a killed backend"
exit $failed
