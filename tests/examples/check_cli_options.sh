#!/bin/bash
# check_cli_options.sh EVENER DEMO_SERVER: help, man page, completions of bash and zsh, and behaviour of the program
# have the same commands, and for each command the same options with the same letters and arguments. What the man page
# says of the JSON output has the names that are printed.
set -uo pipefail
export LC_ALL=C
evener=$1 demo_server=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
completion=$root/examples/evener/completion
failed=0

wrong() { printf '%s\n' "$*"; failed=1; }

# same WHAT EXPECTED FOUND: compare lines.
same()
{
    local differences
    differences=$(diff <(echo "$2") <(echo "$3")) || wrong "$1 differs from the program's:
$differences"
}

# What follows prints the options of a command, sorted, a line each: `-n --calls N`, `--json`.

help_options() # COMMAND
{
    "$evener" help "$1" | awk '/^  (-[A-Za-z], |    )--/ {
        line = substr($0, 1, 36); sub(/,/, "", line); sub(/^ */, "", line); sub(/ *$/, "", line); print line }' | sort
}

man_options() # COMMAND: those of the sections whose title names the command; an option is the first line of a .TP item
{
    awk -v command="$(tr a-z A-Z <<<"$1")" '
        /^\.SH / { here = ($0 ~ "OPTIONS OF .*" command) || $0 == ".SH OPTIONS OF ALL COMMANDS" }
        here && item { print; item = 0 }
        here && /^\.TP/ { item = 1 }' "$root/docs/evener.1" | sed 's/\\-/-/g; s/\\f.//g; s/[",]/ /g; s/^\.[A-Z]* *//' |
        awk '{
            letter = long = argument = ""
            for (i = 1; i <= NF; i++) {
                if ($i ~ /^-[A-Za-z]$/) letter = $i " "
                else if ($i ~ /^--/) { long = $i; argument = "" }
                else argument = argument " " $i
            }
            print letter long argument
        }' | sort
}

# Only whether there is an argument: `-n --calls =`.
bare() { sed -E 's/^(-. )?(--[a-z-]+) .*/\1\2 =/'; }

zsh_options() # COMMAND: bare
{
    awk -v list="_evener_$1=(" '
        index($0, list) == 1 { here = 1 }
        index($0, "_evener_service=(") == 1 { service = 1 }
        /^\)/ { here = 0; service = 0 }
        here && /\$_evener_service/ { whole = 1 }
        here { own = own $0 "\n" }
        service { shared = shared $0 "\n" }
        END { printf "%s%s", own, whole ? shared : "" }' "$completion/_evener" | grep -E '^ .*\[.*\]' |
        sed -E "s/^ *('\([^)]*\)'|'\*')?//; s/\[[^]]*\]:.*/ =/; s/\[[^]]*\].*//; s/[{}'*]//g; s/,/ /" | sort
}

# bash_proposes WORD...: what the completion proposes for the last word.
bash_proposes()
{
    (
        COMP_WORDS=(evener "$@") COMP_CWORD=$#
        _evener
        printf "%s\n" "${COMPREPLY[@]}"
    ) | grep . | sort
}
. "$completion/evener.bash"
compopt() { :; }

# ---- commands ----

commands=$("$evener" help | sed -nE 's/^  ([a-z]+) .*/\1/p' | sort)
[ "$(wc -l <<<"$commands")" -ge 7 ] || wrong "no commands in the help"
own=$(grep -vx help <<<"$commands")
general=$("$evener" help | sed -nE 's/^  (-., --[a-z]+) .*/\1/p' | tr -d , | tr ' ' '\n' | sort)
same "the man page's list of commands" "$commands" \
    "$(awk '/^\.SH / { here = $2 == "COMMANDS" } here && item { print $2; item = 0 } /^\.TP/ { item = 1 }' "$root/docs/evener.1" | sort)"
same "the man page's synopsis" "$commands" \
    "$(sed -nE '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/s/^\.B evener ([a-z]+)$/\1/p' "$root/docs/evener.1" | sort)"
same "bash's first word" "$(printf '%s\n' "$commands" "$general" | sort)" "$(bash_proposes "")"
same "bash's word after help" "$own" "$(bash_proposes help "")"
same "zsh's list of commands" "$commands" "$(sed -nE "/local -a commands/,/^    \)/s/^ *'([a-z]+):.*/\1/p" "$completion/_evener" | sort)"
same "zsh's commands with options" "$own" "$(sed -nE 's/^    ([a-z]+)\) _arguments.*/\1/p' "$completion/_evener" | sort)"
for option in $general; do
    "$evener" "$option" >/dev/null || wrong "evener $option fails"
    grep -q -e "'$option'\|[{,]$option[,}]" <(grep -- '--version' "$completion/_evener") || wrong "zsh does not know $option"
    grep -qF -e "${option//-/\\-}" "$root/docs/evener.1" || wrong "the man page has no $option"
done
"$evener" no-such-command >/dev/null 2>&1
[ $? -eq 2 ] || wrong "an unknown command is not a wrong command line"

# ---- options ----

for command in $own; do
    help=$(help_options "$command")
    [ "$(wc -l <<<"$help")" -ge 3 ] || wrong "no options in the help of $command"
    same "the man page of $command" "$help" "$(man_options "$command")"
    bare_help=$(bare <<<"$help" | sort)
    same "zsh completion of $command" "$bare_help" "$(zsh_options "$command")"
    same "bash completion of $command" "$(tr ' ' '\n' <<<"$bare_help" | grep -e - | sort)" "$(bash_proposes "$command" -)"
    "$evener" "$command" --help | diff - <("$evener" help "$command") || wrong "$command --help and help $command differ"
    # Behaviour, by what getopt_long() says of the last word: an option in the help is known, and needs an argument exactly
    # if the help shows one.
    while read -r option; do
        with=0
        [[ ! $option =~ --[a-z-]+' ' ]] || with=1
        for word in $option; do
            [[ $word == -* ]] || continue
            said=$("$evener" "$command" "$word" 2>&1 </dev/null)
            needs=0
            [[ $said != *"requires an argument"* ]] || needs=1
            if [[ $said =~ "unrecognized option"|"invalid option" ]]; then
                wrong "$command does not know $word of its help: $said"
            elif [ $with -ne $needs ]; then
                wrong "the help of $command has \"$option\", but: $said"
            elif [ $with -eq 1 ]; then
                for equals in "" =; do # bash makes a word of its own of the "=" in --option=value
                    ! grep -q '^dns:' < <(bash_proposes "$command" "$word" $equals "") ||
                        wrong "bash proposes a target as the argument of $command $word$equals"
                done
                ! grep -q '^dns:' < <(bash_proposes "$command" "$word" =) ||
                    wrong "bash proposes a target as the argument of $command $word="
            elif [[ $word == --* ]]; then
                [[ $("$evener" "$command" "$word=x" 2>&1 </dev/null) == *"doesn't allow an argument"* ]] ||
                    wrong "$command takes an argument of the flag $word"
            fi
        done
    done <<<"$help"
    # And there are no others. The beginning of a long option stands for it; of several, getopt_long() lists them.
    mapfile -t longs < <(grep -oE -e "--[a-z-]+" <<<"$help" | sort)
    for letter in {a..z}; do
        said=$("$evener" "$command" "--$letter" 2>&1 </dev/null)
        case $said in
        *"unrecognized option"*) found=() ;;
        *"is ambiguous"*) mapfile -t found < <(head -n 1 <<<"${said#*possibilities:}" | grep -oE -e "--[a-z-]+" | sort) ;;
        *) found=("the only one") ;;
        esac
        expected=()
        for option in "${longs[@]}"; do
            [[ $option != --$letter* ]] || expected+=("$option")
        done
        [ "${found[*]}" = "${expected[*]}" ] || [ "${#expected[@]} ${found[*]}" = "1 the only one" ] ||
            wrong "options --$letter... of $command: ${found[*]:-none}; of its help: ${expected[*]:-none}"
    done
    for letter in {a..z} {A..Z}; do
        [[ $'\n'$help != *$'\n'"-$letter "* ]] || continue
        said=$("$evener" "$command" "-$letter" 2>&1 </dev/null)
        [[ $said == *"invalid option"* ]] || wrong "$command takes -$letter, not in its help: $said"
    done
done

# ---- values ----

for option in policy transport; do
    proposed=$(bash_proposes load --$option "")
    [ "$(wc -l <<<"$proposed")" -ge 2 ] || wrong "bash proposes nothing for --$option"
    for value in $proposed; do
        said=$("$evener" call static:127.0.0.1:1 /a.B/C --plaintext --timeout 5s --$option "$value" 2>&1)
        [ $? -eq 78 ] || wrong "--$option $value, which bash proposes: $said" # UNAVAILABLE: nothing listens there
    done
    "$evener" call static:127.0.0.1:1 /a.B/C --plaintext --$option no_such_$option >/dev/null 2>&1
    [ $? -ne 78 ] || wrong "an unknown $option is accepted"
done
for option in policy transport; do
    same "bash's completion of --$option=" "$(bash_proposes load --$option "")" "$(bash_proposes load --$option =)"
done
same "bash's completion of --policy=p2" p2c_ewma "$(bash_proposes load --policy = p2)"
same "bash's completion of --transport=h" http2 "$(bash_proposes load --transport = h)"
same "bash's completion of --resolver-option a=" "" "$(bash_proposes load --resolver-option a =)"
same "bash's completion of --resolver-option a=b" "" "$(bash_proposes load --resolver-option a = b)"
same "zsh's policies" "$(bash_proposes load --policy "")" \
    "$(sed -n '/^_evener_policies=(/,/)/p' "$completion/_evener" | sed 's/.*(//; s/)//' | tr ' ' '\n' | grep . | sort)"
same "zsh's transports" "$(bash_proposes load --transport "")" \
    "$(sed -nE "s/.*:transport:\((.*)\)'/\1/p" "$completion/_evener" | tr ' ' '\n' | sort)"
same "zsh's targets" "$(bash_proposes resolve "")" \
    "$(sed -nE "s/.*':target:\((.*)\)' ;;/\1/p" "$completion/_evener" | tr -d '\\' | tr ' ' '\n' | sort)"

# ---- JSON ----

man_names() # COMMAND: the names that the man page has for its JSON output, sorted, a line each
{
    sed -n '/^\.SH JSON OUTPUT/,/^\.SH EXIT/p' "$root/docs/evener.1" | awk -v command="$1" '
        /^\.B / { here = $2 == command }
        /^\.nf/ { block = 1 }
        /^\.fi/ { block = 0 }
        here && block' | grep -oE '"[a-z0-9_]+"' | tr -d '"' | sort -u
}
names() { grep -oE '"[a-z0-9_]+":' | tr -d '":' | sort -u; }

scratch=$(mktemp -d)
: >"$scratch/server"
"$demo_server" 0 >"$scratch/server" 2>&1 &
server=$!
trap 'kill $server; rm -rf "$scratch"' EXIT
port=
for _ in $(seq 200); do
    port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$scratch/server")
    [ -z "$port" ] || break
    sleep 0.05
done
protoc -I "$root/examples/proto" --include_imports --descriptor_set_out="$scratch/protoset" grpcdemo/grpcdemo.proto ||
    wrong "protoc"
echo 'channels = { demo = { target = "static:127.0.0.1:1"; credentials = "insecure"; }; };' >"$scratch/good.cfg"
echo 127.0.0.1:1 >"$scratch/endpoints"
exec {answers}< <(exec "$evener" resolve --watch --json "file:$scratch/endpoints")
watching=$!
IFS= read -r -t 60 first <&$answers
echo 127.0.0.1:2 >"$scratch/new"
mv "$scratch/new" "$scratch/endpoints"
IFS= read -r -t 60 second <&$answers
kill $watching
exec {answers}<&-
# No name server is here for a service config.
same "the man page's JSON of resolve" "$(names <<<"$first $second")" "$(man_names resolve | grep -vx service_config)"
[[ $first != *'"added"'* ]] || wrong "the first answer of resolve has differences, other than in the man page: $first"
same "the man page's JSON of check" \
    "$("$evener" check --json "$scratch/good.cfg" "$scratch/none.cfg" | names)" "$(man_names check)"
same "the man page's JSON of call" "$("$evener" call "static:127.0.0.1:$port" /grpcdemo.GrpcDemo/DemoImport --plaintext \
    --json | names)" "$(man_names call)"
same "the man page's JSON of load" "$("$evener" load "static:127.0.0.1:$port" /grpcdemo.GrpcDemo/DemoImport --plaintext \
    --json -n 1 | names)" "$(man_names load)"
same "the man page's JSON of list" "$({ "$evener" list --json --protoset "$scratch/protoset" &&
    "$evener" list --json --protoset "$scratch/protoset" grpcdemo.GrpcDemo; } | names)" "$(man_names list)"
same "the man page's JSON of describe" \
    "$("$evener" describe --json --protoset "$scratch/protoset" grpcdemo.Gender | names)" "$(man_names describe)"

bash -n "$completion/evener.bash" || failed=1
if command -v zsh >/dev/null; then
    zsh -n "$completion/_evener" || failed=1
fi
grep -q "^\.TH EVENER 1 .*\"$("$evener" -V)\"" "$root/docs/evener.1" || wrong "the man page is not of $("$evener" -V)"
[ $failed -ne 0 ] || echo "help, man page, completions and behaviour agree"
exit $failed
