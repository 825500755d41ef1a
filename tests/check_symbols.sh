#!/bin/bash
# check_symbols.sh SHARED_LIBRARY: check that libevener.so, libevener-grpc.so, libevener-etcd.so or libevener-protobuf-c.so
# exports exactly the symbols that its headers declare: evener/grpc.h those of the second, evener/etcd.h those of the
# third, the headers of the list below those of the fourth, all others those of the first, which also exports the inner functions that its siblings use (lb/base/sibling.h).
set -euo pipefail
export LC_ALL=C
top=$(dirname "${BASH_SOURCE[0]}")/..
# lb/packaging/debian.cmake has the same list.
protobuf_c='descriptors|http_routes|json|protobuf_c|reflection'
case $(basename "$1") in
libevener-grpc.so*) headers=("$top"/include/evener/grpc.h) ;;
libevener-etcd.so*) headers=("$top"/include/evener/etcd.h) ;;
libevener-protobuf-c.so*) mapfile -t headers < <(ls "$top"/include/evener/*.h | grep -E "/evener/($protobuf_c)\.h$") ;;
*) mapfile -t headers < <(ls "$top"/include/evener/*.h "$top"/lb/*/*.h | grep -vE "/evener/(grpc|etcd|$protobuf_c)\.h$") ;;
esac

exported=$(nm -D --defined-only "$1" | awk '$2 ~ /[TDBRVW]/ { print $3 }' |
    grep -v -E '^(__bss_start|_edata|_end)$' | sort -u) # the linker's own marks
# A declaration may span several lines: join them, then take the name before the first parenthesis, or the last word of
# an object's declaration.
declared=$(cat "${headers[@]}" | grep -v '^#' | tr '\n' ' ' | grep -oE 'EVENER_(API|SIBLING) [^;{]*' |
    sed -E 's/\(.*//; s/\[.*//; s/ *$//; s/.*[ *]//' | grep -E '^[a-z]' | sort -u)

status=0
more=$(comm -23 <(echo "$exported") <(echo "$declared"))
less=$(comm -13 <(echo "$exported") <(echo "$declared"))
if [ -n "$more" ]; then
    echo "exported, but declared in no header of this library:" $more
    status=1
fi
if [ -n "$less" ]; then
    echo "declared with EVENER_API or EVENER_SIBLING, but not in the library:" $less
    status=1
fi
[ $status -ne 0 ] || echo "$(echo "$exported" | wc -l) symbols, all declared"
exit $status
