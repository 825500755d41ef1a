#!/bin/bash
# check_docs_shell.sh PAGE: run every ```sh block of a page, in order and in one shell, in the current folder. The first
# C block with a main() after a mention of `program.c` is saved under that name. Stops at the first command that fails.
# It installs packages and evener itself: run it in a chroot, as .ci/long does.
set -euo pipefail
page=$1
script=$(mktemp)
trap 'rm -f "$script"; kill $(jobs -p) 2>/dev/null || true' EXIT
awk '
    /^```sh$/ { shell = 1; next }
    /^```c$/ { c = 1; block = ""; next }
    /^```/ { if (c && wanted && block ~ /int main\(/) { print block > "program.c"; wanted = 0 } shell = c = 0; next }
    shell { print }
    c { block = block $0 "\n" }
    /`program\.c`/ { wanted = 1 }' "$page" >"$script"
[ -s "$script" ] || { echo "$page has no shell block"; exit 1; }
set -x
# shellcheck disable=SC1090 # the page is the script
. "$script"
