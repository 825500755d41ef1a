#!/bin/bash
# check_hardening.sh [--library=FILE]... [--program=FILE]...: check what the linker and the compiler have hardened: full
# RELRO, immediate binding, no executable stack, no text relocations, stack protector, FORTIFY, and PIE for programs.
set -euo pipefail
export LC_ALL=C

failed=0 checked=0
complain()
{
    echo "$1: $2"
    failed=$((failed + 1))
}

# check FILE KIND: look at one ELF file. Full output of readelf goes through variables: grep -q would close the pipe.
check()
{
    local file=$1 kind=$2 headers dynamic symbols stack
    headers=$(readelf -lW "$file") dynamic=$(readelf -dW "$file") symbols=$(readelf --dyn-syms -W "$file")
    stack=$(grep GNU_STACK <<<"$headers" || true)
    checked=$((checked + 1))
    grep -q GNU_RELRO <<<"$headers" || complain "$file" "no RELRO (-z relro)"
    grep -qE 'BIND_NOW|FLAGS_1.*NOW' <<<"$dynamic" || complain "$file" "binds lazily, so RELRO is partial (-z now)"
    [[ $stack == *"RW "* ]] || complain "$file" "the stack is executable: $stack"
    ! grep -q TEXTREL <<<"$dynamic" || complain "$file" "text relocations"
    grep -q '__stack_chk_fail' <<<"$symbols" || complain "$file" "no stack protector (-fstack-protector-strong)"
    grep -qE ' __[a-z]+_chk(@|$)' <<<"$symbols" || complain "$file" "no fortified function (_FORTIFY_SOURCE)"
    if [ "$kind" = program ]; then
        grep -qE 'FLAGS_1.*PIE' <<<"$dynamic" || complain "$file" "no position-independent executable (-pie)"
    fi
}

for argument in "$@"; do
    case $argument in
    --library=*) check "${argument#*=}" library ;;
    --program=*) check "${argument#*=}" program ;;
    *) echo "check_hardening.sh: unknown argument $argument" >&2; exit 2 ;;
    esac
done
echo "$checked files checked, $failed faults"
[ "$checked" -gt 0 ] && [ "$failed" -eq 0 ]
