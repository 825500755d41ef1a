#!/bin/bash
# check_doxygen.sh FOLDER: generate the API reference in FOLDER/html. Any warning is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$1"
if ! command -v doxygen >/dev/null; then
    echo "no doxygen here: nothing to check"
    exit 0
fi
status=0
warnings=$({ cat docs/Doxyfile; echo "OUTPUT_DIRECTORY = $1"; } | doxygen - 2>&1) || status=$?
if [ $status -ne 0 ] || [ -n "$warnings" ]; then
    echo "$warnings"
    exit 1
fi
echo "$(find "$1/html" -name '*.html' | wc -l) pages, no warning"
