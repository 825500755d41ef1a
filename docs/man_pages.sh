#!/bin/sh
# man_pages.sh FOLDER VERSION HEADER...: write a manual page per public function, FOLDER/FUNCTION.3, from the comments of
# the headers. Functions that follow each other without a blank line, or with an inline body between them, share the
# comment above them.
set -eu
folder=$1 version=$2
shift 2
mkdir -p "$folder"
exec awk -v folder="$folder" -v version="$version" '
function escape(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    sub(/^[.\047]/, "\\\\\\&&", text)
    return text
}
# The first sentence of the comment behind the declaration or above it, in one line and without its period: what apropos
# shows.
function summary(    text, i) {
    text = remark
    for (i = 1; remark == "" && i <= count && comment[i] != ""; i++) text = text (i > 1 ? " " : "") comment[i]
    if (match(text, /[.:;] [A-Z`]|[.] evener/)) text = substr(text, 1, RSTART - 1)
    sub(/[.:;]$/, "", text)
    return text
}
function page(declaration,    name, file, i, is_code, is_open, line) {
    name = declaration
    sub(/ *\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    file = folder "/" name ".3"
    sub(/^(EVENER_API|static inline) /, "", declaration)
    sub(/ EVENER_PRINTF.*;/, ";", declaration)
    print ".TH " name " 3 \"\" \"evener " version "\" \"evener C API\"" >file
    print ".SH NAME\n" name " \\- " escape(summary()) >file
    print ".SH SYNOPSIS\n.nf\n#include <evener/" header ">\n.PP" >file
    gsub(/, */, ",\n    ", declaration)
    print escape(declaration) "\n.fi\n.SH DESCRIPTION" >file
    if (remark != "") print escape(remark) "\n.PP" >file
    for (i = 1; i <= count; i++) {
        line = comment[i]
        is_code = line ~ /^    /
        if (is_code && !is_open) print ".PP\n.nf" >file
        if (!is_code && is_open) print ".fi" >file
        if (line == "" && i < count) print (is_code || is_open ? "" : ".PP") >file
        else if (line != "") print escape(line) >file
        is_open = is_code
    }
    if (is_open) print ".fi" >file
    print ".SH SEE ALSO\n/usr/include/evener/" header ", evener(1)" >file
    close(file)
}
FNR == 1 { header = FILENAME; sub(/.*\//, "", header); count = 0; inside = 0; declaration = "" }
declaration != "" || /^(EVENER_API|static inline) / {
    text = $0
    if (declaration == "") remark = ""
    if (match(text, / *\/\*.*\*\/$/)) {
        remark = substr(text, RSTART)
        gsub(/^ *\/\* *| *\*\/$/, "", remark)
        text = substr(text, 1, RSTART - 1)
    }
    sub(/^ +/, "", text)
    if (text == "{") declaration = declaration ";" # the body of an inline function
    else declaration = declaration (declaration != "" ? " " : "") text
    if (declaration ~ /;$/) {
        if (declaration ~ /\(/) page(declaration)
        declaration = ""
    }
    next
}
inside || /^\/\*/ {
    text = $0
    if (!inside) { count = 0; sub(/^\/\* ?/, "", text) } else sub(/^ \* ?/, "", text)
    inside = $0 !~ /\*\/$/
    sub(/ *\*\/$/, "", text)
    comment[++count] = text
    next
}
' "$@"
