#!/bin/bash
# check_abi.sh BUILD_FOLDER [COMMIT]: compare the ABI of the libraries in the build folder with that of the last release
# (the last tag v*), or of a commit, by abidiff. Fails if a program built against that one would break and the soname is
# the same. New functions are no change for it, and structs that begin with `size_t size` may grow at their end. Says so,
# and passes, if there is no abidiff or no release.
set -euo pipefail
export LC_ALL=C
build=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=${2:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
command -v abidiff >/dev/null || { echo "no abidiff here (package abigail-tools): the ABI is not compared"; exit 0; }
[ -n "$base" ] || { echo "nothing is released yet: there is no ABI to compare with"; exit 0; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/source"
git archive "$base" | tar -x -C "$scratch/source"
cmake -S "$scratch/source" -B "$scratch/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DEVENER_BUILD_CLI=OFF \
    >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
cmake --build "$scratch/build" --parallel "$(nproc)" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
# The structs of the release that may grow.
awk '/^(typedef )?struct evener_[a-z0-9_]+ \{/ { name = $1 == "typedef" ? $3 : $2; next }
    name != "" && /^ *size_t size;/ {
        printf "[suppress_type]\nname = %s\ntype_kind = struct\nhas_data_member_inserted_at = end\n\n", name
    }
    name != "" && !/^ *\/?\*/ { name = "" }' $(find "$scratch/source/include" -name '*.h') >"$scratch/may_grow"
failed=0
soname() { objdump -p "$1" | awk '/SONAME/ { print $2 }'; }
for old in "$scratch"/build/libevener*.so; do
    new=$build/${old##*/}
    [ -e "$new" ] || { echo "${old##*/} is gone since $base"; failed=1; continue; }
    status=0
    abidiff --no-added-syms --suppressions "$scratch/may_grow" --headers-dir1 "$scratch/source/include" --headers-dir2 include \
        "$old" "$new" >"$scratch/changes" || status=$?
    if [ $((status & 3)) -ne 0 ]; then
        cat "$scratch/changes"
        failed=1
    elif [ $status -ne 0 ] && [ "$(soname "$old")" = "$(soname "$new")" ]; then
        cat "$scratch/changes"
        echo "${old##*/}: incompatible with $base, but the soname is still $(soname "$new")"
        failed=1
    elif [ $status -ne 0 ]; then
        echo "${old##*/}: incompatible with $base, with a new soname"
    else
        echo "${old##*/}: compatible with $base"
    fi
done
exit $failed
