#!/bin/sh
# Turns the headers' comments into Doxygen's: the first describes the file, one that begins a line what follows,
# one behind a declaration what is before it. Sections (---- name ----) and the indented examples stay as they are
# written; characters that Doxygen would read as commands or tags are escaped.
exec awk '
{ line = $0 }
line ~ /\/\* ---- / { print line; next }
{
    comment = inside || line ~ /\/\*/
    if (comment) {
        at = inside ? 1 : index(line, "/*")
        code = substr(line, 1, at - 1)
        text = substr(line, at)
        gsub(/\\/, "\\\\", text)
        gsub(/@/, "\\@", text)
        gsub(/</, "\\<", text)
        gsub(/>/, "\\>", text)
        gsub(/#/, "\\#", text)
        gsub(/%/, "\\%", text)
        gsub(/::/, "\\::", text)
        gsub(/"/, "\\\"", text)
        if (!inside) {
            mark = code ~ /[^ ]/ ? "/**<" : "/**"
            if (NR == 1) mark = "/** \\file\n *"
            sub(/^\/\*/, "", text)
            text = mark text
        }
        line = code text
        inside = index($0, "*/") == 0 || (inside && $0 !~ /\*\//)
        if ($0 ~ /\*\//) inside = 0
    }
    print line
}' "$1"
