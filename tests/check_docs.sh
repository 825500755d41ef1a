#!/bin/bash
# check_docs.sh LIBEVENER LIBEVENER_GRPC: compile every C block of the documentation; link those with a main(). Text that is not
# to be compiled is not marked as C.
set -uo pipefail
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
library=$1 grpc_library=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
blocks=0 failed=0
for page in "$root"/docs/*.md "$root"/README.md "$root"/CONTRIBUTING.md "$root"/SECURITY.md; do
    [ -e "$page" ] || continue
    awk -v prefix="$scratch/$(basename "$page" .md)" '
        /^```c$/ { file = sprintf("%s-%04d.c", prefix, NR); printf "#line %d \"%s\"\n", NR + 1, FILENAME > file; next }
        /^```/ { file = ""; next }
        file != "" { print > file }' "$page"
done
for block in "$scratch"/*.c; do
    [ -e "$block" ] || break
    blocks=$((blocks + 1))
    if grep -q '^int main(' "$block"; then
        target=(-o "$scratch/program" "$grpc_library" "$library" -lgrpc -lgpr "-Wl,-rpath,$(dirname "$library")")
    else
        target=(-c -o "$scratch/object.o")
    fi
    cc -std=c11 -Wall -Wextra -Wno-unused-function -Wno-unused-const-variable -Wno-unused-variable -Werror \
        -I "$root/include" -isystem "$(dirname "$library")/examples/proto/generated" "$block" "${target[@]}" ||
        { echo "FAILED: $block" >&2; failed=$((failed + 1)); }
done
echo "$blocks blocks of C in the documentation, $failed of them do not compile"
[ $failed -eq 0 ] && [ $blocks -gt 0 ]
