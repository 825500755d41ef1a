#!/bin/bash
# Checks that every public header can be included alone, in C11 and in C++.
set -euo pipefail
include=$(cd "$(dirname "${BASH_SOURCE[0]}")/../include" && pwd)
status=0
count=0
for header in "$include"/evener/*.h; do
    line=$(printf '#include <evener/%s>\ntypedef int not_empty;' "$(basename "$header")")
    echo "$line" | gcc -x c -std=c11 -pedantic -Wall -Wextra -Werror -I "$include" -fsyntax-only - || status=1
    echo "$line" | g++ -x c++ -std=c++17 -pedantic -Wall -Wextra -Werror -I "$include" -fsyntax-only - || status=1
    count=$((count + 1))
done
[ $status -ne 0 ] || echo "$count headers, C and C++"
exit $status
