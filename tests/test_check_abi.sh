#!/bin/bash
# test_check_abi.sh: check_abi.sh accepts what keeps the ABI of a release, and refuses what breaks it, in small projects
# with a library of the same name. 77: abidiff is missing.
set -euo pipefail
command -v abidiff >/dev/null && command -v git >/dev/null || { echo "no abidiff or no git here"; exit 77; }
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
export GIT_CONFIG_NOSYSTEM=1 HOME=$top GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@localhost GIT_COMMITTER_NAME=test \
    GIT_COMMITTER_EMAIL=test@localhost
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
project=$top/project
mkdir -p "$project/tests" "$project/include"
cp "$folder/check_abi.sh" "$project/tests"
cat >"$project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
set(CMAKE_C_COMPILER_FORCED TRUE) # no tests of the compiler: this is configured twice per case
project(small VERSION 1.0 LANGUAGES C)
add_library(evener SHARED evener.c)
target_include_directories(evener PRIVATE include)
set_target_properties(evener PROPERTIES SOVERSION 1)
CMAKE
cat >"$project/include/evener.h" <<'C'
#include <stddef.h>
typedef struct evener_options {
    size_t size;
    int timeout_ms;
} evener_options;
typedef struct evener_text {
    const char *data;
    int length;
} evener_text;
int evener_print(evener_text *text);
int evener_open(const evener_options *options, const char *target);
int evener_close(int handle);
C
cat >"$project/evener.c" <<'C'
#include "evener.h"
int evener_open(const evener_options *options, const char *target) { return options->timeout_ms + (target != 0); }
int evener_close(int handle) { return handle; }
int evener_print(evener_text *text) { return text->length; }
C

git -C "$project" init -q
# check: build what is there and compare it with the release; the output is in $top/output.
check()
{
    cmake -S "$project" -B "$top/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$top/log" 2>&1 &&
        cmake --build "$top/build" >>"$top/log" 2>&1 || { cat "$top/log"; exit 1; }
    "$project/tests/check_abi.sh" "$top/build" >"$top/output" 2>&1
}
# expect STATUS TEXT WHAT: check() ends with that status (0 or 1), and says TEXT.
expect()
{
    local status=0
    check || status=$?
    [ $status -eq "$1" ] && grep -q "$2" "$top/output" || { echo "$3: status $status"; cat "$top/output"; exit 1; }
    [ -z "$(git -C "$project" tag)" ] || git -C "$project" checkout -q .
}
edit() { sed -i "$2" "$project/$1"; }

expect 0 "nothing is released" "before the first release"
git -C "$project" add -A
git -C "$project" commit -q -m release
git -C "$project" tag v1.0.0
expect 0 ": compatible with v1.0.0" "no change"
edit include/evener.h '$a int evener_more(void);'
edit evener.c '$a int evener_more(void) { return 1; }'
expect 0 ": compatible with v1.0.0" "a new function"
edit include/evener.h 's/    int timeout_ms;/    int timeout_ms;\n    long priority;/'
expect 0 ": compatible with v1.0.0" "a field at the end of a struct with a size"
edit include/evener.h 's/    int length;/    int length;\n    long more;/'
expect 1 "incompatible with v1.0.0" "a field at the end of a struct without"
edit include/evener.h '/evener_close/d'
edit evener.c '/evener_close/d'
expect 1 "incompatible with v1.0.0, but the soname is still" "a function is gone"
edit include/evener.h 's/    int timeout_ms;/    long priority;\n    int timeout_ms;/'
expect 1 "incompatible with v1.0.0" "a field in front of another"
edit include/evener.h 's/int evener_close(int/int evener_close(long/'
edit evener.c 's/int evener_close(int/int evener_close(long/'
expect 1 "incompatible with v1.0.0" "a parameter of another size"
edit include/evener.h '/evener_close/d'
edit evener.c '/evener_close/d'
edit CMakeLists.txt 's/SOVERSION 1/SOVERSION 2/'
expect 0 "incompatible with v1.0.0, with a new soname" "a function is gone, with a new soname"
echo "check_abi.sh: what keeps the ABI passes, what breaks it fails"
