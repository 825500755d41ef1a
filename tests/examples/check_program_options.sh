#!/bin/bash
# check_program_options.sh GATEWAY DEMO_SERVER PROTOC_GEN_EVENER: help and behaviour of the programs beside evener(1) have
# the same options, and so has what is written about them: docs/gateway.md, protoc-gen-evener(1).
set -uo pipefail
export LC_ALL=C
gateway=$1 demo_server=$2 plugin=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
failed=0
wrong() { printf '%s\n' "$*"; failed=1; }

# help_options PROGRAM: sorted, a line each: `--listen ADDRESS:PORT`, `-h --help`.
help_options()
{
    "$1" --help | sed -nE 's/^  (-., )?(--[a-z-]+)( [A-Z:=]+)?  +.*/\1\2\3/p' | tr -d , | sort
}

# behaves PROGRAM: every option of the help is known, and has an argument exactly if the help shows one; others are refused.
behaves()
{
    local option word said options
    options=$(help_options "$1")
    [ "$(wc -l <<<"$options")" -ge 3 ] || wrong "$1: no options in its help"
    "$1" -h | diff - <("$1" --help) || wrong "$1: -h and --help differ"
    while read -r option; do
        for word in $(grep -oE -e '(^| )--?[a-z-]+' <<<"$option"); do
            said=$(timeout 20 "$1" "$word" 2>&1 </dev/null)
            ! grep -qE "unrecognized option|invalid option" <<<"$said" || wrong "$1 does not know $word of its help: $said"
            [ "$(grep -cE ' [A-Z:=]+$' <<<"$option")" -eq "$(grep -c 'requires an argument' <<<"$said")" ] ||
                wrong "the help of $1 has \"$option\", but: $said"
        done
    done <<<"$options"
    for word in --no-such-option -x; do
        said=$(timeout 20 "$1" "$word" 0 2>&1)
        [ $? -eq 2 ] && grep -qE "unrecognized option|invalid option" <<<"$said" || wrong "$1 $word: $said"
    done
    timeout 20 "$1" >/dev/null 2>&1
    [ $? -eq 2 ] || wrong "$1 without arguments: no exit status 2"
}

behaves "$gateway"
behaves "$demo_server"
differences=$(diff <(help_options "$gateway") \
    <(sed -nE '/^\| option \|/,/^$/s/^\| (`-.*`) \|.*/\1/p' "$root/docs/gateway.md" | tr -d '`,' | sort)) ||
    wrong "docs/gateway.md differs from the help of gateway:
$differences"
usage=$("$gateway" --help | sed -n 's/^usage: //p')
grep -qxF "    $usage" "$root/docs/gateway.md" || wrong "docs/gateway.md has another usage than the help: $usage"
for value in --delay-ms=x --fail=17 --threads=257; do
    "$demo_server" $value 0 >/dev/null 2>&1
    [ $? -eq 2 ] || wrong "demo_server takes $value"
done
# An option is for the ports after it: the second certificate is read, too.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$scratch/key.pem" \
    -out "$scratch/cert.pem" -subj /CN=localhost -days 2 2>/dev/null || wrong "openssl"
said=$(timeout 60 "$demo_server" --tls-certificate "$scratch/cert.pem" --tls-key "$scratch/key.pem" 0 \
    --tls-certificate "$scratch/none" 0 2>&1)
[ $? -eq 1 ] && grep -q 'none cannot be read' <<<"$said" || wrong "demo_server with two certificates: $said"

# protoc's plugin has no options but for its help, and takes no parameters.
"$plugin" --help | diff - <("$plugin" -h) || wrong "protoc-gen-evener: -h and --help differ"
"$plugin" --help | grep -q '^usage: protoc --evener_out=FOLDER FILE.proto' || wrong "protoc-gen-evener: no usage"
"$plugin" --version >/dev/null 2>&1
[ $? -eq 2 ] || wrong "protoc-gen-evener takes --version"
grep -qF -- '\-\-evener_out=' "$root/docs/protoc-gen-evener.1" || wrong "protoc-gen-evener(1) has no --evener_out"
[ $failed -ne 0 ] || echo "the programs' help, documentation and behaviour agree"
exit $failed
