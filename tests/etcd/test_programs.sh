#!/bin/bash
# test_programs.sh FOLDER_OF_PROGRAMS: what docs/etcd.md shows: demo_server registers itself in Debian's etcd, `evener
# resolve --watch` follows, `etcdctl` sees the keys, and the end of the server removes them.
set -uo pipefail
programs=$1
if ! command -v etcd >/dev/null || ! command -v etcdctl >/dev/null; then
    echo "etcd-server and etcd-client are not installed: skipped"
    exit 77
fi
folder=$(mktemp -d)
started=()
trap '[ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT

fail() { echo "FAILED: $*" >&2; tail -n 20 "$folder"/*.log >&2; exit 1; }

# wait_for PATTERN FILE: wait up to 30 s for a matching line.
wait_for() {
    for _ in $(seq 600); do
        grep -qE -- "$1" "$folder/$2" 2>/dev/null && return
        sleep 0.05
    done
    fail "no line like \"$1\" appeared in $2"
}

# A port that etcd finds taken makes it end: then others are tried.
for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000)) peer=$((31000 + RANDOM % 1000))
    rm -rf "$folder/data"
    etcd --data-dir="$folder/data" --listen-client-urls="http://127.0.0.1:$port" \
        --advertise-client-urls="http://127.0.0.1:$port" --listen-peer-urls="http://127.0.0.1:$peer" \
        --initial-advertise-peer-urls="http://127.0.0.1:$peer" \
        --initial-cluster="default=http://127.0.0.1:$peer" >"$folder/etcd.log" 2>&1 &
    etcd=$!
    for _ in $(seq 300); do
        ETCDCTL_API=3 etcdctl --endpoints="127.0.0.1:$port" endpoint health >/dev/null 2>&1 && break 2
        kill -0 $etcd 2>/dev/null || break
        sleep 0.1
    done
done
started+=("$etcd")
ctl() { ETCDCTL_API=3 etcdctl --endpoints="127.0.0.1:$port" "$@"; }

"$programs/evener" resolve --watch "etcd://127.0.0.1:$port/orders" >"$folder/resolve.log" 2>&1 &
started+=($!)
wait_for "0 addresses from etcd 127.0.0.1:$port revision 1\$" resolve.log
"$programs/demo_server" --register="etcd://127.0.0.1:$port" --service=orders 0 0 >"$folder/server.log" 2>&1 &
server=$!
started+=("$server")
wait_for 'registered 127.0.0.1' server.log
mapfile -t addresses < <(sed -n 's/^listening on //p' "$folder/server.log")
for address in "${addresses[@]}"; do
    wait_for "^\+ $address\$" resolve.log
    wait_for "^registered $address\$" server.log
    [ "$(ctl get --print-value-only "orders/$address")" = '{"Op":0,"Addr":"'"$address"'","Metadata":null}' ] ||
        fail "orders/$address"
done
[ ${#addresses[@]} -eq 2 ] || fail "${#addresses[@]} addresses"
ctl put orders/mine '{"Op":0,"Addr":"10.0.0.9:80","Metadata":{"weight":3}}' >/dev/null
wait_for '^\+ 10\.0\.0\.9:80  weight=3$' resolve.log
wait_for 'revision [0-9]+, after [0-9.]+ s$' resolve.log
ctl del orders/mine >/dev/null
wait_for '^- 10\.0\.0\.9:80' resolve.log
kill -TERM $server
wait $server || fail "demo_server ended with $?"
for address in "${addresses[@]}"; do
    wait_for "^- $address\$" resolve.log
done
[ -z "$(ctl get --prefix --keys-only orders/)" ] || fail "keys are left"
echo ok
