#!/bin/bash
# analyze.sh BUILD: run gcc's static analyser (-fanalyzer) over lb/ and resolver/ with the flags of a configured build
# folder (compile_commands.json, made with gcc). Findings are compared with tests/analyze.accepted by file, function and
# option, as lines move; a finding that is not listed there fails, and so does an entry without a finding. gcc 12 takes
# five minutes of one processor. Ends with `N files, N findings, N new, N gone`.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:?usage: analyze.sh BUILD}
accepted=tests/analyze.accepted
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One line per file: its command without the output and without what makes warnings errors.
grep '^ *"command": ".*"' "$build/compile_commands.json" |
    grep -E -- " -c $PWD/(lb|resolver)/[^ \"]*\.c\"" | grep -E '(_objects|evener_plugin)\.dir/' |
    sed -E 's/^ *"command": "//; s/",?$//; s/\\"/"/g; s/ -o [^ ]+ / -o \/dev\/null /; s/ -Werror / /g' | awk '!seen[$NF]++' >"$work/commands"
[ -s "$work/commands" ] || { echo "analyze.sh: no command for lb/ or resolver/ in $build/compile_commands.json"; exit 2; }
if grep -qvE '^([^ ]*ccache +)?[^ ]*gcc[^ ]* |^([^ ]*ccache +)?[^ ]*/cc ' "$work/commands"; then
    echo "analyze.sh: configure $build with gcc"; exit 2
fi

# Output in one piece per file, as two run at a time.
xargs -r -P "$(nproc)" -d '\n' -I '{}' sh -c \
    'messages=$({} -fanalyzer -fdiagnostics-plain-output -fdiagnostics-path-format=none 2>&1) || echo "gcc failed: {}"
    printf "%s\n" "$messages"' <"$work/commands" >"$work/log"
if grep -E 'gcc failed|error:' "$work/log"; then
    echo "analyze.sh: not all files could be analysed"; exit 1
fi

# file, function, option, number of findings. gcc names the function in a line of its own before its first message.
awk -v top="$PWD/" -v OFS='\t' '
    { line = $0; sub(top, "", line); file = line; sub(/:.*/, "", file) }
    line ~ /(^|: )In function / { # "FILE: In function NAME:", or "In function NAME," of an inlined one
        name = line
        sub(/.*In function ./, "", name)
        sub(/.[,:]$/, "", name)
        sub(/\.(part|constprop|isra)\..*/, "", name)
    }
    match(line, /\[-Wanalyzer-[a-z-]+\]$/) {
        option = substr(line, RSTART + 2, RLENGTH - 3)
        count[file OFS name OFS option]++
        print line >"/dev/stderr"
    }
    END { for (key in count) print key, count[key] }' "$work/log" 2>"$work/messages" | sort >"$work/found"
grep -v '^#' "$accepted" | cut -f 1-4 | sort >"$work/accepted"
comm -23 "$work/found" "$work/accepted" >"$work/new"
comm -13 "$work/found" "$work/accepted" >"$work/gone"
while IFS=$'\t' read -r file function option count; do
    echo "NEW  $file, $function(): $count of $option"
    grep -F "$file:" "$work/messages" | grep -F "[-$option]" || true
done <"$work/new"
sed 's/^/GONE /' "$work/gone"
printf '%d files, %d findings, %d new, %d gone\n' "$(wc -l <"$work/commands")" "$(wc -l <"$work/messages")" \
    "$(wc -l <"$work/new")" "$(wc -l <"$work/gone")"
[ ! -s "$work/new" ] && [ ! -s "$work/gone" ]
