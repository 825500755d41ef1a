#!/bin/bash
# check_cli_options.sh EVENER: help, man page, completions of bash and zsh, and behaviour of the program have the same
# options for each command.
set -uo pipefail
export LC_ALL=C
evener=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
completion=$root/examples/evener/completion
failed=0

# same WHAT COMMAND OPTIONS: compare sorted options, one per line, with those of the help ($help).
same()
{
    local differences
    differences=$(diff <(echo "$help") <(echo "$3")) ||
        { printf '%s of %s differs from the help:\n%s\n' "$1" "$2" "$differences"; failed=1; }
}

options_in() { grep -oE -e '(^|[^-A-Za-z0-9=])(--[a-z][a-z-]*|-[a-zA-Z])\b' | grep -oE -e '--?[a-zA-Z][a-z-]*$' | sort -u; }

# man_options COMMAND: the options of the sections whose title names the command; options are the first line of a .TP item.
man_options()
{
    awk -v command="$(tr a-z A-Z <<<"$1")" '
        /^\.SH / { here = ($0 ~ "OPTIONS OF .*" command) || $0 == ".SH OPTIONS OF ALL COMMANDS" }
        here && item { print; item = 0 }
        here && /^\.TP/ { item = 1 }' "$root/docs/evener.1" | sed 's/\\-/-/g; s/\\f.//g; s/[",]/ /g' | options_in
}

zsh_options() # COMMAND
{
    awk -v list="_evener_$1=(" '
        index($0, list) == 1 { here = 1 }
        index($0, "_evener_service=(") == 1 { service = 1 }
        /^\)/ { here = 0; service = 0 }
        here && /\$_evener_service/ { whole = 1 }
        here { own = own $0 "\n" }
        service { shared = shared $0 "\n" }
        END { printf "%s%s", own, whole ? shared : "" }' "$completion/_evener" |
        sed 's/\[[^]]*\].*//; s/[{},()]/ /g' | sed "s/'/ /g; s/\*/ /g" | options_in
}

for command in resolve check call load list describe; do
    help=$("$evener" help $command | grep '^  *-' | cut -c1-36 | sed 's/,/ /' | options_in)
    [ "$(wc -l <<<"$help")" -ge 4 ] || { echo "no options in the help of $command"; failed=1; }
    same "the man page" $command "$(man_options $command)"
    same "bash completion" $command "$(bash -c '. "$1"; complete() { :; }; name=_evener_options_$2; tr " " "\n" <<<"${!name}"' \
        bash "$completion/evener.bash" $command | grep . | sort -u)"
    same "zsh completion" $command "$(zsh_options $command)"
    # Behaviour: getopt_long() names an option that it does not know. Every option in the help is known, with an argument
    # exactly if the help shows one; the options of the other commands are not.
    for option in $(for c in resolve check call load list describe; do "$evener" help $c; done | grep '^  *-' | cut -c1-36 |
        sed 's/,/ /' | options_in); do
        said=$("$evener" $command $option 2>&1 </dev/null)
        if grep -qxF -e "$option" <<<"$help"; then
            ! grep -qE "unrecognized option|invalid option" <<<"$said" ||
                { echo "$command does not know $option of its help: $said"; failed=1; }
        elif ! grep -qE "unrecognized option|invalid option" <<<"$said"; then
            echo "$command takes $option, which is not in its help: $said"
            failed=1
        fi
    done
done
bash -n "$completion/evener.bash" || failed=1
# The completion itself: what it proposes for a word.
proposed=$(bash -c '. "$1"; COMP_WORDS=(evener load --max); COMP_CWORD=2; _evener; echo "${COMPREPLY[@]}"' \
    bash "$completion/evener.bash")
[ "$proposed" = "--max-failures" ] || { echo "bash proposes \"$proposed\" for load --max"; failed=1; }
if command -v zsh >/dev/null; then
    zsh -n "$completion/_evener" || failed=1
fi
for command in resolve check call load list describe; do
    grep -q "^\.B $command\$" "$root/docs/evener.1" || { echo "the man page has no command $command"; failed=1; }
done
grep -q "^\.TH EVENER 1 .*\"$("$evener" -V)\"" "$root/docs/evener.1" || { echo "the man page is not of $("$evener" -V)"; failed=1; }
[ $failed -ne 0 ] || echo "help, man page, completions and behaviour agree"
exit $failed
