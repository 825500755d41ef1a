# Prints the places of a C file at which a small fault can be made, one a line, separated by tabs:
#   file, line number, column, length, kind, the text there, what replaces it
# Only the bodies of functions are looked at, without comments, strings, preprocessor lines and assertions.
# usage: awk -f tests/mutate.awk FILE...

function put(column, length_, kind, new)
{
    printf "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", FILENAME, FNR, column, length_, kind, substr($0, column, length_), new
}

# Returns the line with comments, strings and characters replaced by spaces, so that columns stay.
function code_of(line,    i, c, d, out, quote)
{
    out = ""
    quote = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        d = substr(line, i, 2)
        if (in_comment) {
            if (d == "*/") {
                in_comment = 0
                out = out " "
                i++
            }
            out = out " "
        } else if (quote != "") {
            if (c == "\\") {
                out = out " "
                i++
            } else if (c == quote)
                quote = ""
            out = out " "
        } else if (d == "/*") {
            in_comment = 1
            out = out "  "
            i++
        } else if (d == "//") {
            while (length(out) < length(line))
                out = out " "
            break
        } else if (c == "\"" || c == "'") {
            quote = c
            out = out " "
        } else
            out = out c
    }
    return out
}

function tokens(code,    i, c, d, before, number, start, word)
{
    for (i = 1; i <= length(code); i++) {
        c = substr(code, i, 1)
        d = substr(code, i, 2)
        before = i > 1 ? substr(code, i - 1, 1) : ""
        if (d == "<<" || d == ">>" || d == "->" || d == "++" || d == "--" || d == "+=" || d == "-=") {
            i++
        } else if (d == "==") {
            put(i, 2, "comparison", "!="); i++
        } else if (d == "!=") {
            put(i, 2, "comparison", "=="); i++
        } else if (d == "<=") {
            put(i, 2, "comparison", ">"); put(i, 2, "boundary", "<"); i++
        } else if (d == ">=") {
            put(i, 2, "comparison", "<"); put(i, 2, "boundary", ">"); i++
        } else if (d == "&&") {
            put(i, 2, "logic", "||"); i++
        } else if (d == "||") {
            put(i, 2, "logic", "&&"); i++
        } else if (c == "!") {
            put(i, 1, "negation", "")
        } else if (c == "<" && before == " ") {
            put(i, 1, "comparison", ">="); put(i, 1, "boundary", "<=")
        } else if (c == ">" && before == " ") {
            put(i, 1, "comparison", "<="); put(i, 1, "boundary", ">=")
        } else if (c == "+" && before == " " && substr(code, i + 1, 1) == " ") {
            put(i, 1, "arithmetic", "-")
        } else if (c == "-" && before == " " && substr(code, i + 1, 1) == " ") {
            put(i, 1, "arithmetic", "+")
        } else if (c ~ /[0-9]/ && before !~ /[A-Za-z0-9_.]/) {
            start = i
            while (substr(code, i + 1, 1) ~ /[A-Za-z0-9_.']/)
                i++
            number = substr(code, start, i - start + 1)
            if (number ~ /^[0-9]+$/ && length(number) < 9)
                put(start, length(number), "constant", number + 1)
        } else if (c ~ /[A-Za-z_]/) { # a word as a whole, so that its digits are not taken for numbers
            start = i
            while (substr(code, i + 1, 1) ~ /[A-Za-z0-9_]/)
                i++
            word = substr(code, start, i - start + 1)
            if (word == "true")
                put(start, 4, "constant", "false")
            else if (word == "false")
                put(start, 5, "constant", "true")
        }
    }
}

# A statement that is one line: a call, an assignment, a step, a jump. Declarations stay.
function statement(code,    text, start)
{
    if (code !~ /;[ ]*$/ || last !~ /[;{})][ ]*$/ && last !~ /(else|do)[ ]*$/)
        return
    text = code
    sub(/^ +/, "", text)
    sub(/ +$/, "", text)
    start = index(code, text)
    if (text ~ /^(return|case|default|struct|const|static|enum|union|typedef)/ && text !~ /^return;/)
        return
    if (text ~ /^[A-Za-z_][A-Za-z0-9_]*[ ]+[*]*[A-Za-z_][A-Za-z0-9_]*(\[[^]]*\])*( =.*|, .*|;)/ && text !~ /^goto /)
        return # a declaration
    if (text ~ /^[A-Za-z_*(].*(=|\+\+|--|\)|break|continue|return|goto [a-z_]+)/ || text ~ /^(break|continue|return);/)
        put(start, length(text), "statement", ";")
}

FNR == 1 { in_comment = 0; inside = 0; last = ";"; continued = 0; asserting = 0 }
{
    code = code_of($0)
    if (code ~ /^#/ || continued) {
        continued = code ~ /\\[ ]*$/
        next
    }
    if (code ~ /^\{/)
        inside = opened
    if (code ~ /^\}/)
        inside = 0
    if (code ~ /^[A-Za-z_].*\)[ ]*$/ || code ~ /^ .*\)[ ]*$/ && !inside)
        opened = 1 # the head of a function ends
    else if (code ~ /=[ ]*\{?[ ]*$/ || code ~ /^(struct|enum|union|typedef)/)
        opened = 0
    if (code ~ /(^|[^a-z_])(assert|static_assert|_Static_assert)\(/)
        asserting = 1
    if (inside && !asserting) {
        tokens(code)
        statement(code)
    }
    if (asserting && code ~ /;[ ]*$/)
        asserting = 0
    if (code ~ /[^ ]/)
        last = code
}
