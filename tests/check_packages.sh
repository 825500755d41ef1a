#!/bin/bash
# check_packages.sh BUILD_FOLDER: make the Debian packages and unpack them to a temporary folder. The program there
# runs, its man page is well-formed, and a program outside the tree builds against the libraries.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! command -v dpkg-deb >/dev/null || ! command -v dpkg-shlibdeps >/dev/null; then
    echo "no dpkg here: nothing to check"
    exit 0
fi
(cd "$1" && cpack -G DEB -B "$scratch/packages") >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
# lintian reads the packages while they are checked here: the tags that hold for packages that cpack makes are listed, with
# reasons, in tests/lintian.allowed. It would start man for each page, which takes minutes: the pages are checked below.
lintian=""
if command -v lintian >/dev/null; then
    lintian -X documentation/manual --tag-display-limit 0 --allow-root "$scratch"/packages/*.deb >"$scratch/lintian" 2>&1 &
    lintian=$!
    trap 'kill $lintian 2>/dev/null || true; wait $lintian || true; rm -rf "$scratch"' EXIT
fi
root=$scratch/root
for name in libevener1 libevener-dev libevener-grpc1 libevener-grpc-dev libevener-protobuf-c1 libevener-protobuf-c-dev \
    libevener-etcd1 libevener-etcd-dev evener-tools; do
    package=$(echo "$scratch"/packages/"$name"_*.deb)
    [ "$(dpkg-deb -f "$package" Package)" = $name ]
    dpkg-deb -x "$package" "$root"
done
# depends PACKAGE: what it depends on. Only the packages of libevener-grpc need those of the gRPC C core, only those of
# libevener-protobuf-c protobuf-c.
depends() { dpkg-deb -f "$scratch"/packages/"$1"_*.deb Depends; }
depends libevener-grpc1 | grep -q libgrpc
depends libevener-grpc-dev | grep -q libgrpc-dev
depends libevener-protobuf-c1 | grep -q libevener1
depends libevener-etcd1 | grep -q libevener1
depends libevener-protobuf-c-dev | grep -q libprotobuf-c-dev
for name in libevener1 libevener-dev; do
    ! depends $name | grep -E 'grpc|absl|upb|protobuf' || { echo "$name depends on the gRPC C core or protobuf-c"; exit 1; }
done
depends evener-tools | grep -q libevener-grpc1
depends evener-tools | grep -q libevener-protobuf-c1
dpkg-deb -f "$scratch"/packages/evener-tools_*.deb Depends | grep -q libevener1
echo "packages: ok"
# The symbols files list what the libraries export.
for name in libevener libevener-grpc libevener-protobuf-c libevener-etcd; do
    library=$(find "$root" -name "$name.so.1.*")
    dpkg-deb -I "$scratch"/packages/${name}1_*.deb symbols | sed -n 's/^ \(.*\)@Base .*/\1/p' | sort >"$scratch/symbols"
    diff "$scratch/symbols" <(nm -D --defined-only "$library" | awk '$2 ~ /[TDBRVW]/ { print $3 }' |
        grep -v -E '^(__bss_start|_edata|_end)$' | sort)
done
pc=$(find "$root" -name evener.pc)
export LD_LIBRARY_PATH=${pc%/pkgconfig/evener.pc}
"$root/usr/bin/evener" --version
[ -f "$root/usr/share/zsh/vendor-completions/_evener" ] ||
    { echo "zsh's completion is not in share/zsh/vendor-completions"; exit 1; }
# What `man --warnings` runs for a page, here once for all of them.
if command -v groff >/dev/null && command -v tbl >/dev/null && command -v preconv >/dev/null; then
    mkdir "$scratch/pages"
    for page in "$root"/usr/share/man/man[13]/*.gz; do
        zcat "$page" >"$scratch/pages/$(basename "$page" .gz)"
    done
    problems=$(groff -k -t -mandoc -Tutf8 -wmac -z "$scratch"/pages/* 2>&1)
    [ -z "$problems" ] || { echo "$problems"; exit 1; }
fi
# Each function of the headers has a page, whose first line says what it does.
diff <(grep -hv '^#' "$root"/usr/include/evener/*.h | tr '\n' ' ' |
    grep -oE '(EVENER_API|static inline) [^;{]*[ *]evener_[a-z0-9_]+\(' |
    sed 's/($//' | grep -oE 'evener_[a-z0-9_]+$' | sort -u) <(cd "$root/usr/share/man/man3" && printf '%s\n' *.3.gz |
    sed 's/\.3\.gz$//' | sort -u)
vague=$(zgrep -h -A 1 '^\.SH NAME' "$root"/usr/share/man/man3/*.gz | grep '^evener_' |
    grep -v -E ' \\- [A-Z][a-z]+[ ,;]' || true)
[ -z "$vague" ] || { printf 'man pages that do not begin with a verb:\n%s\n' "$vague"; exit 1; }
echo "man pages: ok"
printf '#include <stdio.h>\n#include <evener/evener.h>\nint main(void) { return puts(evener_version_string()) < 0; }\n' \
    >"$scratch/program.c"
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR=""
for module in evener evener-grpc evener-protobuf-c evener-etcd; do
    # shellcheck disable=SC2046 # flags are words
    cc "$scratch/program.c" -o "$scratch/program" $(pkg-config --cflags --libs $module)
    [ "evener $("$scratch/program")" = "$("$root/usr/bin/evener" --version)" ]
done
echo "built against them: ok"
if [ -n "$lintian" ]; then
    wait $lintian || true # its status is 1 for any tag
    trap 'rm -rf "$scratch"' EXIT
    grep -q . "$scratch/lintian" || { echo "lintian said nothing, not even of the tags that are allowed"; exit 1; }
    found=$(grep -E '^[EW]:' "$scratch/lintian" |
        grep -v -F -f <(grep -v '^#' "$(dirname "${BASH_SOURCE[0]}")/lintian.allowed") || true)
    [ -z "$found" ] || { echo "$found"; exit 1; }
    echo "lintian: ok"
fi
