#!/bin/bash
# Measures the tests by small deliberate faults: takes places of the sources at random (tests/mutate.awk), makes one fault
# at a time, and runs the tests that execute the changed line until one fails. A fault that no test notices has survived.
# The same seed and sources give the same faults. Prints a line per fault, then the score per folder; exits non-zero if
# it could not run.
#
# The sources stay as they are: the file with the fault is compiled aside. The test programs use shared libraries instead
# of static ones here, so that a fault takes one compilation and one link. Which tests execute a line is found once, from
# libraries that record the basic blocks they execute (tests/mutate.c), and again for what has changed.
set -euo pipefail
export LC_ALL=C

usage()
{
    cat <<'TEXT'
usage: tests/mutate.sh [OPTION...] [FILE...]
  --count N        how many faults (default: 20)
  --seed S         which faults (default: 1)
  --resume         go on with a run of this seed that was stopped
  --again          judge the survivors of the run of this seed again
  --limit SECONDS  stop the tests of one fault after this time; it has survived then (default: 600)
  --build FOLDER   where the builds are (default: build/mutate; 3 GB)
  --jobs N         faults at a time (default: the processors)
  --list           print the faults, run nothing
FILE: sources to make faults in (default: all of lb/ and resolver/)
Do not change sources while it runs. Survivors that tests/mutate.accepted lists with a reason are counted apart.
TEXT
}

count=20 seed=1 resume="" limit=600 build=build/mutate jobs=$(nproc) list="" files=()
while [ $# -gt 0 ]; do
    case $1 in
    --count) count=${2:?} && shift ;;
    --seed) seed=${2:?} && shift ;;
    --resume) resume=yes ;;
    --again) resume=again ;;
    --limit) limit=${2:?} && shift ;;
    --build) build=${2:?} && shift ;;
    --jobs) jobs=${2:?} && shift ;;
    --list) list=yes ;;
    -h | --help) usage && exit 0 ;;
    -*) echo "mutate.sh: unknown option $1" >&2 && usage >&2 && exit 2 ;;
    *) files+=("$1") ;;
    esac
    shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$PWD
accepted=$top/tests/mutate.accepted
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(git ls-files 'lb/*.c' 'lb/*.h' 'resolver/*.c' 'resolver/*.h')

# drawn: print all places in an order that depends on the seed only.
drawn()
{
    awk -f "$top/tests/mutate.awk" "${files[@]}" | awk -v seed="$seed" '
        # A generator of its own: rand() differs between the awks. Products stay below 2^53, so they are exact.
        function next_random() { state = (state * 48271) % 2147483647; return state }
        BEGIN { state = (seed * 7919 + 12345) % 2147483646 + 1; for (i = 0; i < 10; i++) next_random() }
        { line[NR] = $0 }
        END {
            for (i = NR; i > 1; i--) {
                j = next_random() % i + 1
                kept = line[i]; line[i] = line[j]; line[j] = kept
            }
            for (i = 1; i <= NR; i++)
                print line[i]
        }'
}

if [ -n "$list" ]; then
    drawn | awk -v count="$count" 'NR <= count'
    exit 0
fi

mkdir -p "$build"
build=$(cd "$build" && pwd)
out=$build/out traced=$build/traced map=$build/map

# ---- the builds ----

# The project's runs with AddressSanitizer fail on leaks: a fault that loses memory is noticed.
leak_sanitizer=$(gcc -print-file-name=liblsan.so)
[[ $leak_sanitizer == /* ]] || leak_sanitizer=""

linker=() # with mold, where it is there, a link takes a tenth of the time
[ -z "$(command -v mold)" ] || linker=(-fuse-ld=mold)
wraps=-Wl$(printf -- ',--wrap=%s' malloc calloc realloc aligned_alloc posix_memalign mmap strdup strndup)

# link_library NAME TARGET OBJECT...: link a library, libevener.a or another.
link_library()
{
    local name=$1 target=$2
    shift 2
    # shellcheck disable=SC2046 # words without spaces
    gcc -shared "${linker[@]}" "-Wl,-soname,$name" "$wraps" -o "$target" "$@" \
        $([ "$name" = libevener.a ] || echo "-Wl,--no-as-needed $build/needed/libevener.a") -Wl,--as-needed \
        $(awk -v name="$name" '$1 == name { print $2 }' "$build/needs")
}

# build_programs: build all programs, linked with shared libraries that are called libevener.a and so on.
build_programs()
{
    gcc -O2 -fPIC -c tests/mutate.c -o "$build/parts.o"
    # All others need libevener.a, which may be built later: this is what its users see of it.
    mkdir -p "$build/needed"
    gcc -shared -Wl,-soname,libevener.a -o "$build/needed/libevener.a" -x c /dev/null
    gcc -O2 -DQUERY tests/mutate.c -o "$build/query"
    # archive TARGET OBJECT...: what is called instead of ar.
    { echo '#!/bin/bash' && declare -p build linker wraps && declare -f link_library; } >"$build/archive.new"
    cat >>"$build/archive.new" <<TEXT
target=\$1
shift
case \$target in
libevener.a | libevener-*.a) link_library "\$target" "\$target" "\$@" "$build/parts.o" ;;
*) rm -f "\$target" && ar qcs "\$target" "\$@" ;;
esac
TEXT
    chmod +x "$build/archive.new"
    cmp -s "$build/archive.new" "$build/archive" || cp -p "$build/archive.new" "$build/archive"
    local rule="<CMAKE_C_COMPILER> <DEFINES> <INCLUDES> <FLAGS> -fvisibility=default -o <OBJECT> -c <SOURCE>"
    CC=${CC:-gcc} cmake -S "$top" -B "$out" -G Ninja -DEVENER_BUILD_TESTS=ON -DEVENER_BUILD_EXAMPLES=ON \
        -DEVENER_BUILD_BENCH=ON -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DCMAKE_C_FLAGS_DEBUG= \
        "-DCMAKE_EXE_LINKER_FLAGS=${linker[*]}" "-DCMAKE_SHARED_LINKER_FLAGS=${linker[*]}" \
        "-DCMAKE_C_ARCHIVE_CREATE=$build/archive <TARGET> <OBJECTS>" -DCMAKE_C_ARCHIVE_FINISH=true \
        "-DCMAKE_C_COMPILE_OBJECT=$rule" >"$build/configure.log" 2>&1 || { cat "$build/configure.log" && exit 1; }
    # library, what it is linked with
    awk '
        / C_SHARED_LIBRARY_LINKER__/ { library = $2; sub(/\.so.*/, ".a", library) }
        /^ *$/ { library = "" }
        /^  LINK_LIBRARIES/ && library ~ /^libevener/ {
            for (i = 3; i <= NF; i++) if ($i ~ /^-l/ || $i ~ /\.so$/) print library "\t" $i
        }' "$out/build.ninja" >"$build/needs"
    ninja -C "$out" -j "$jobs" >"$build/build.log" 2>&1 || { tail -n 40 "$build/build.log" && exit 1; }
    # The compilations: object, source, command without them.
    awk -v top="$top/" '/"command":/ {
        sub(/^ *"command": "/, ""); sub(/",$/, ""); gsub(/\\\\/, "\001"); gsub(/\\"/, "\""); gsub(/\001/, "\\")
        at = index($0, " -o "); command = substr($0, 1, at); split(substr($0, at + 4), part, " -c ")
        sub(top, "", part[2]); print part[1] "\t" part[2] "\t" command
    }' "$out/compile_commands.json" >"$build/commands"
    awk -F '\t' '$1 ~ /^CMakeFiles\/evener(_grpc|_protobuf_c|_etcd)?_objects\.dir\// {
        library = $1; sub(/_objects\.dir.*/, "", library); sub(/.*\//, "", library); gsub(/_/, "-", library)
        print "lib" library ".a\t" $1 }' "$build/commands" >"$build/members"
    # object, header of lb/ or resolver/ or of their kind that it includes
    ninja -C "$out" -t deps 2>/dev/null | awk -v top="$top/" '
        /^[^ ].*: #deps/ { sub(/: #deps.*/, ""); object = $0 }
        /^ / { sub(/^ +/, ""); sub(/^(\.\.\/)+/, ""); if (index($0, top) == 1) $0 = substr($0, length(top) + 1) }
        /^(lb|resolver)\/.*\.h$/ { print object "\t" $0 }
        ' >"$build/includes"
}

# find_units: write the tests to be run: name, kind ("suite" of Criterion or "program"), folder, environment, command.
find_units()
{
    (cd "$out" && ctest --show-only=json-v1) | awk '
        function text() { sub(/^ *"/, ""); sub(/",?$/, ""); gsub(/\\"/, "\""); return $0 }
        /^ *"command" : *$/ { within = "command"; command = ""; environment = ""; label = ""; folder = "."; next }
        /^      "name" : / { name = $3; gsub(/[",]/, "", name) }
        /^          "name" : / { within = $3; gsub(/[",]/, "", within); next }
        /^ *"value" : "/ && within == "WORKING_DIRECTORY" { sub(/"value" : /, ""); folder = text() }
        /^ *"[^"]*.*",?$/ && within == "command" && !/" : / { command = command "\037" text() }
        /^            "/ && within == "ENVIRONMENT" { environment = environment "\037" text() }
        /^            "/ && within == "LABELS" { label = text() }
        /^      \],?$/ && within == "command" { within = "" }
        /^    },?$/ && name != "" {
            if (label != "check" && label != "bench" && name !~ /^(check_|brief_)/)
                print name "\t" folder "\t" (environment == "" ? "\037" : environment) "\t" command
            name = ""
        }' | while IFS=$'\t' read -r name folder environment command; do
        program=${command#$'\037'}
        kind=program
        [[ $program == *$'\037'* ]] || ! grep -qs libcriterion "$program" || kind=suite
        printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$kind" "$folder" "$environment" "$command"
    done >"$build/units"
}

# run_unit LIBRARIES PROGRAMS NAME FILTER SECONDS LOG: run a test, or the tests of a suite that a filter of Criterion
# selects, with these libraries, and those of its programs that are in PROGRAMS. With $preloaded, LeakSanitizer watches.
run_unit()
{
    local libraries=$1 programs=$2 name=$3 filter=$4 seconds=$5 log=$6 kind folder environment command status=0
    IFS=$'\t' read -r _ kind folder environment command < <(grep "^$name"$'\t' "$build/units")
    local IFS=$'\037'
    # shellcheck disable=SC2206 # split on purpose
    environment=($environment) command=($command)
    environment=("${environment[@]:1}") command=("${command[@]:1}")
    local i
    for i in "${!command[@]}"; do
        [ ! -x "$programs/${command[i]##*/}" ] || command[i]=$programs/${command[i]##*/}
    done
    [ "$kind" != suite ] || command+=(--fail-fast --filter "$filter")
    for i in "${!environment[@]}"; do # a folder of the test's own comes first
        [[ ${environment[i]} != LD_LIBRARY_PATH=* ]] || environment[i]=${environment[i]}:$libraries
    done
    # Freed memory is overwritten at once, so that a use of it is noticed, as AddressSanitizer would.
    environment+=(GLIBC_TUNABLES=glibc.malloc.perturb=165:glibc.malloc.tcache_count=0)
    # LeakSanitizer's report is read from the output: Criterion does not look at how a test's process ends.
    [ -z "${preloaded:-}" ] || environment+=("LD_PRELOAD=$preloaded"
        "LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0:exitcode=0:fast_unwind_on_malloc=0")
    (
        [ -n "${preloaded:-}" ] || ulimit -v 16000000 # LeakSanitizer reserves far more
        ulimit -f 2000000 -c 0 -t $((seconds + 10)) # of processor time: also of what `timeout` does not end
        cd "$folder" && exec timeout -k 2 "$seconds" env LD_LIBRARY_PATH="$libraries" "${environment[@]}" "${command[@]}"
    ) >"$log" 2>&1 </dev/null || status=$?
    [ "$status" -ne 77 ] || status=0 # skipped
    return "$status"
}

# ---- which tests execute which lines ----

# trace_libraries: build the libraries that record what they execute, and the table of the addresses of each line.
trace_libraries()
{
    rm -rf "$traced" && mkdir -p "$traced"
    local library
    cut -f 2 "$build/members" | grep -F -f - "$build/commands" | while IFS=$'\t' read -r object source command; do
        mkdir -p "$traced/${object%/*}"
        command="$command -O0 -gdwarf-4 -fsanitize-coverage=trace-pc -o $traced/$object -c $top/$source"
        echo "cd $out && CCACHE_DISABLE=1 $command"
    done | tr '\n' '\0' | xargs -0 -P "$jobs" -n 1 bash -c
    for library in $(cut -f 1 "$build/members" | sort -u); do
        gcc -O2 -fPIC "-DTRACED=\"$library\"" -c tests/mutate.c -o "$traced/parts.o"
        # shellcheck disable=SC2046 # words without spaces
        (cd "$traced" && link_library "$library" "$library" "$traced/parts.o" \
            $(awk -v library="$library" '$1 == library { print $2 }' "$build/members"))
        {
            objdump -d --no-show-raw-insn "$traced/$library" |
                awk '/call +[0-9a-f]+ <__sanitizer_cov_trace_pc/ { sub(/:/, "", $1); printf "%8s 1\n", $1 }'
            # A unit begins with the bare name of its source: the sources are known in the order of the link.
            awk -F '\t' -v library="$library" 'FNR == NR { source[$1] = $2; next } $1 == library { print source[$2] }' \
                "$build/commands" "$build/members" >"$traced/sources"
            objdump --dwarf=decodedline "$traced/$library" | awk -v top="$top/" -v sources="$traced/sources" '
                function last_part(path) { sub(/.*\//, "", path); return path }
                /^File name / {
                    while ((getline file < sources) > 0 && last_part(file) != heading) ;
                    next
                }
                /^[^ ].*:$/ {
                    heading = $0; sub(/^CU: /, "", heading); sub(/:$/, "", heading)
                    file = index(heading, top) == 1 ? substr(heading, length(top) + 1) : ""
                    heading = last_part(heading)
                    next
                }
                file ~ /^(lb|resolver)\// && $3 ~ /^0x/ && $2 ~ /^[0-9]+$/ {
                    printf "%8s 0 %s\t%s\n", substr($3, 3), file, $2
                }'
        } | sort | awk -v library="$library" '
            # Of a call and lines at the same address, the call comes first.
            { address = $1 }
            address != at { flush(); at = address }
            $2 == 1 { block = address }
            $2 == 0 { sub(/^ *[0-9a-f]+ 0 /, ""); waiting[++n] = $0 }
            function flush(    i) { for (i = 1; i <= n; i++) print waiting[i] "\t" library "\t" block; n = 0 }
            END { flush() }' | sort -u
    done >"$build/lines"
    ln -s libevener.a "$traced/libevener.so.1" # for programs that use the shared library
}

# map_unit NAME: find out what each test of a suite, or a test, executes.
map_unit()
{
    local name=$1 program cases=() each id began status
    program=$(grep "^$name"$'\t' "$build/units" | cut -f 5 | cut -d $'\037' -f 2)
    if grep -q "^$name"$'\t'suite "$build/units"; then
        mapfile -t cases < <(LD_LIBRARY_PATH=$traced "$program" --list 2>/dev/null |
            awk '
                /^[^ ]+: [0-9]+ test/ { suite = $1; sub(/:.*/, "", suite) }
                /^[^A-Za-z]*-- / { sub(/^[^A-Za-z0-9_]*/, ""); sub(/[^A-Za-z0-9_].*/, ""); print suite "/" $0 }')
    fi
    [ ${#cases[@]} -gt 0 ] || cases=(-)
    rm -f "$map/bits/$name"@*
    for each in "${cases[@]}"; do
        id=$name@${each//\//:}
        began=${EPOCHREALTIME/./} status=0
        EVENER_MUTATE_MAP=$map/bits/$id run_unit "$traced" - "$name" "$each" 100 "$map/log.$name" || status=$?
        [ "$status" -eq 0 ] || echo "mutate.sh: without a fault, $name $each fails: not used" >&2
        printf '%s\t%s\t%s\t%s\t%s\n' "$id" "$name" "$each" $(((${EPOCHREALTIME/./} - began) / 1000)) "$status"
    done >"$map/cases/$name.new"
    mv "$map/cases/$name.new" "$map/cases/$name"
    rm -f "$map/log.$name"
}

# make_map: bring the map up to date.
make_map()
{
    local state name program
    state=$(git ls-files lb resolver include examples | xargs cksum "$build/parts.o" | cksum)
    if [ "$(cat "$map/state" 2>/dev/null)" != "$state" ]; then
        trace_libraries
        rm -rf "$map" && mkdir -p "$map/bits" "$map/cases"
        echo "$state" >"$map/state"
    fi
    # name, sums of the programs and files of its command
    cut -f 5 "$build/units" | tr '\037' '\n' | grep '^/' | sort -u |
        xargs -d '\n' cksum 2>/dev/null >"$map/sums" || true
    awk -F '\t' '
        FNR == NR { split($0, part, " "); sum[part[3]] = part[1]; next }
        {
            sums = ""; n = split($5, part, "\037")
            for (i = 2; i <= n; i++) sums = sums " " sum[part[i]]
            print $1 "\t" sums
        }
        ' "$map/sums" "$build/units" >"$map/now"
    touch "$map/known"
    while IFS=$'\t' read -r name program; do
        { grep -qxF "$name"$'\t'"$program" "$map/known" && [ -f "$map/cases/$name" ]; } || echo "$name"
    done <"$map/now" >"$map/changed"
    while IFS= read -r name; do
        rm -f "$map/cases/$name"
    done <"$map/changed"
    mv "$map/now" "$map/known"
    [ ! -s "$map/changed" ] || echo "== which tests execute which lines: $(wc -l <"$map/changed") suites and programs"
    xargs -r -P $((jobs * 2)) -n 1 bash -c 'map_unit "$1"' - <"$map/changed"
    cat "$map"/cases/* >"$build/cases"
}

# ---- one fault ----

# put_fault SOURCE TARGET LINE COLUMN LENGTH NEW: copy a file with one replacement.
put_fault()
{
    awk -v line="$3" -v column="$4" -v length_="$5" -v new="$6" '
        NR == line { $0 = substr($0, 1, column - 1) new substr($0, column + length_) }
        { print }' "$1" >"$2"
}

# compile OBJECT TARGET SOURCE [FLAG...]: compile a source as that of the build's object. Headers with a fault come first.
compile()
{
    local object=$1 target=$2 source=$3 own command
    shift 3
    IFS=$'\t' read -r _ own command < <(grep -F "$object"$'\t' "$build/commands")
    command=${command/ -I/ -I$work/source -I}
    # After all others: gcc's <limits.h> would find lb/channel/limits.h otherwise.
    command="$command -w -idirafter $top/${own%/*} -fmacro-prefix-map=$work/source=$top $* -o $target -c $source"
    (cd "$out" && export CCACHE_DISABLE=1 && eval "$command") >>"$work/compile.log" 2>&1
}

# programs_with_changes: print the programs that contain changed objects themselves, not in a library.
programs_with_changes()
{
    grep -vxF -f <(cut -f 2 "$build/members") "$work/changed" | while IFS= read -r object; do
        ninja -C "$out" -t query "$object" 2>/dev/null | sed -nE 's/^ +((tests|lb)\/[a-z0-9_\/-]+)$/\1/p'
    done | sort -u || true
}

# build_fault FILE: build the libraries of a fault, and the programs that include the file if it is a header.
build_fault()
{
    local file=$1 object library source program command
    rm -rf "$work/objects" "$work/lib" "$work/bin"
    mkdir -p "$work/objects" "$work/lib" "$work/bin"
    : >"$work/compile.log"
    : >"$work/changed"
    if [[ $file == *.h ]]; then
        while IFS=$'\t' read -r object _; do
            source=$(grep -F "$object"$'\t' "$build/commands" | cut -f 2)
            grep -qF "$object" "$build/members" || [[ $object == tests/*/test_*.dir/* || $object == lb/* ]] || continue
            compile "$object" "$work/objects/$(tr / @ <<<"$object")" "$top/$source" || return 1
            printf '%s\n' "$object" >>"$work/changed"
        done < <(grep -F $'\t'"$file" "$build/includes")
    else
        object=$(awk -F '\t' -v file="$file" '$2 == file { print $1 }' "$build/commands" |
            grep -F -f - "$build/members" | cut -f 2)
        # that of a program, if no library has one
        [ -n "$object" ] || object=$(awk -F '\t' -v file="$file" '$2 == file { print $1; exit }' "$build/commands")
        [ -n "$object" ] || return 1
        compile "$object" "$work/objects/$(tr / @ <<<"$object")" "$work/source/$file" || return 1
        echo "$object" >"$work/changed"
    fi
    while IFS=$'\t' read -r library object; do
        if grep -qxF "$object" "$work/changed"; then echo "$library"; fi
    done < <(grep -F -f "$work/changed" "$build/members") | sort -u >"$work/libraries"
    for library in $(cut -f 1 "$build/members" | sort -u); do
        if grep -qx "$library" "$work/libraries"; then
            # shellcheck disable=SC2046 # words without spaces
            (cd "$out" && link_library "$library" "$work/lib/$library" "$build/parts.o" \
                $(awk -F '\t' -v library="$library" -v work="$work/objects/" '
                    FNR == NR { changed[$1] = 1; next }
                    $1 == library {
                        object = $2
                        if (object in changed) { gsub("/", "@", object); object = work object }
                        print object
                    }' "$work/changed" "$build/members")) >>"$work/compile.log" 2>&1 || return 1
        else
            ln -s "$out/$library" "$work/lib/$library"
        fi
    done
    ln -s libevener.a "$work/lib/libevener.so.1"
    for program in $(programs_with_changes); do
        command=$(ninja -C "$out" -t commands "$program" 2>/dev/null | tail -n 1)
        [[ $command == *" -o $program "* ]] || continue # another name of the object
        while IFS= read -r object; do
            command=${command/" $object "/" $work/objects/$(tr / @ <<<"$object") "}
        done <"$work/changed"
        command=${command/" -o $program "/" -o $work/bin/${program##*/} "}
        (cd "$out" && eval "$command") >>"$work/compile.log" 2>&1 || return 1
    done
}

# covering FILE LINE: print what to run: unit, its tests joined by |, milliseconds; what will probably fail first.
covering()
{
    local file=$1 line=$2 blocks library
    # A line without code of its own belongs to a statement that begins above.
    blocks=$(awk -F '\t' -v file="$file" -v line="$line" '
        $1 == file && $2 <= line && $2 > line - 8 && $2 >= best {
            if ($2 > best) found = ""
            best = $2 + 0
            found = found $3 "\t" $4 "\n"
        }
        END { printf "%s", found }' "$build/lines")
    for library in $(cut -f 1 <<<"$blocks" | sort -u); do
        # shellcheck disable=SC2046 # words without spaces
        "$build/query" "$map/bits" "$library" $(awk -v library="$library" '$1 == library { print $2 }' <<<"$blocks")
    done | sort -u >"$work/ids"
    # shellcheck disable=SC2012 # names of programs
    ls "$work/bin" >"$work/programs"
    touch "$build/killers"
    awk -F '\t' -v file="$file" -v killers="$build/killers" -v ids="$work/ids" -v programs="$work/programs" \
        -v units="$build/units" '
        function last_part(path) { sub(/.*\//, "", path); return path }
        BEGIN {
            stem = last_part(file); sub(/\..*/, "", stem)
            folder = file; sub(/\/[^\/]*$/, "", folder)
            if (folder ~ /^lb\/backend/) folder = folder "/channel"
            if (folder ~ /^lb\/base/) folder = folder "/runtime"
            while ((getline line < programs) > 0) changed[line] = 1
            while ((getline line < units) > 0) {
                split(line, part, "\t")
                near[part[1]] = index(folder, "/" last_part(part[3]))
                n = split(part[5], words, "\037")
                for (i = 1; i <= n; i++) if (last_part(words[i]) in changed) includes[part[1]] = 1
            }
            while ((getline line < killers) > 0) { split(line, part, "\t"); if (part[1] == file) killed[part[2]]++ }
            while ((getline line < ids) > 0) has[line] = 1
        }
        ($1 in has || $2 in includes) && $5 == 0 {
            if ($4 > 10000) { slow[$2] += $4; slow_tests[$2] = slow_tests[$2] "|" $3; next }
            fast = 1; sum[$2] += $4; tests[$2] = tests[$2] "|" $3
        }
        END {
            if (!fast)
                for (unit in slow) { sum[unit] = slow[unit]; tests[unit] = slow_tests[unit] }
            for (unit in sum) {
                weight = sum[unit] + 200
                if (killed[unit]) weight /= 4 + 4 * killed[unit]
                if (index(unit, stem)) weight /= 20
                else if (near[unit]) weight /= 10
                if (unit ~ /^stress/) weight *= 4
                print int(weight) "\t" unit "\t" substr(tests[unit], 2) "\t" sum[unit]
            }
        }' "$build/cases" | sort -n | cut -f 2-
}

# loses_memory NAME FILTER SECONDS LIBRARIES PROGRAMS: whether LeakSanitizer finds memory that the libraries lost.
loses_memory()
{
    local preloaded=$leak_sanitizer
    run_unit "$4" "$5" "$1" "$2" "$3" "$work/test.log" || true
    grep -q 'LeakSanitizer: detected memory leaks' "$work/test.log" &&
        grep -qE '^ +#[0-9]+ 0x[0-9a-f]+ .*/libevener[-a-z]*\.a\+0x' "$work/test.log"
}

# find_leak: run the first short tests of a fault again, which all passed. Prints the one in which memory is lost twice
# with the fault and not without. LeakSanitizer makes a test up to 30 times as long.
find_leak()
{
    local unit tests time filter seconds begun=$SECONDS
    [ -n "$leak_sanitizer" ] || return 0
    while IFS=$'\t' read -r unit tests time <&3 && [ $((SECONDS - begun)) -lt "$limit" ]; do
        seconds=$((time * 30 / 1000 + 60))
        filter="@($tests)"
        if loses_memory "$unit" "$filter" $seconds "$work/lib" "$work/bin" &&
            loses_memory "$unit" "$filter" $seconds "$work/lib" "$work/bin" &&
            ! loses_memory "$unit" "$filter" $seconds "$out" -; then
            echo "$unit: a leak"
            return
        fi
    done 3< <(awk -F '\t' '$3 <= 3000 && ++n <= 5' "$work/covering")
}

# judge FILE LINE: run tests. Prints the one that fails twice with the fault, and passes without in the same time; `cannot
# be built`; `not executed`; nothing if all pass.
judge()
{
    local file=$1 line=$2 unit tests time filter seconds failed begun=$SECONDS done_=0
    build_fault "$file" || { echo "cannot be built"; return; }
    covering "$file" "$line" >"$work/covering"
    [ -s "$work/covering" ] || { echo "not executed"; return; }
    while IFS=$'\t' read -r unit tests time <&3; do
        if [ $((SECONDS - begun)) -ge "$limit" ]; then
            echo "mutate.sh: $file:$line: $done_ of $(wc -l <"$work/covering") suites and programs passed in $limit s" >&2
            break
        fi
        done_=$((done_ + 1))
        seconds=$((time * 5 / 1000 + 5))
        filter="@($tests)"
        ! run_unit "$work/lib" "$work/bin" "$unit" "$filter" $seconds "$work/test.log" || continue
        failed=$(sed -nE 's/.*\[FAIL\] *([A-Za-z0-9_]+)::([A-Za-z0-9_]+).*/\1\/\2/p' "$work/test.log" | head -n 1)
        [ -z "$failed" ] || filter=$failed
        if ! run_unit "$work/lib" "$work/bin" "$unit" "$filter" $seconds "$work/test.log" &&
            run_unit "$out" - "$unit" "$filter" $seconds "$work/test.log"; then
            printf '%s\t%s\n' "$file" "$unit" >>"$build/killers"
            echo "$unit${failed:+ $failed}"
            return
        fi
        echo "mutate.sh: $unit $filter failed, but not again with, or also without the fault" >&2
    done 3<"$work/covering"
    find_leak
}

# is_same_code FILE: whether the fault makes no difference to the object that the compiler makes at -O2.
is_same_code()
{
    local object
    [[ $1 == *.c ]] || return 1
    object=$(head -n 1 "$work/changed")
    compile "$object" "$work/objects/a" "$work/source/$1" -O2 && rm "$work/source/$1" &&
        compile "$object" "$work/objects/b" "$top/$1" -O2 || return 1
    cmp -s "$work/objects/a" "$work/objects/b"
}

# reason FILE SOURCE OLD NEW: print why this survivor is accepted, or nothing. Lines move, so the text is compared.
reason()
{
    [ -f "$accepted" ] || return 0
    file=$1 text=$2 old=$3 new=$4 awk -F '\t' '
        $1 == ENVIRON["file"] && $2 == ENVIRON["text"] && $3 == ENVIRON["old"] && $4 == ENVIRON["new"] { print $5; exit }
        ' "$accepted"
}

# worker NUMBER: judge faults until there are enough.
worker()
{
    work=$build/worker-$1
    local index line_ file line column length kind old new text test verdict note
    while :; do
        # Those that cannot be built do not count.
        exec 9>>"$build/lock"
        flock 9
        index=$(awk -v count="$count" -F '\t' '
            FNR == NR { given[$1] = 1; next }
            { given[$1] = 1; if ($2 == "unbuilt") extra++ }
            END { for (i = 1; i <= count + extra; i++) if (!(i in given)) { print i; exit } }
            ' "$build/given-$seed" "$results")
        [ -z "$index" ] || echo "$index" >>"$build/given-$seed"
        exec 9>&-
        [ -n "$index" ] || break
        line_=$(sed -n "${index}p" "$build/drawn-$seed" | tr '\t' '\037')
        IFS=$'\037' read -r file line column length kind old new <<<"$line_"
        [ -n "$file" ] || break
        text=$(sed -n "${line}s/^ *//p" "$file")
        rm -rf "$work/source"
        mkdir -p "$work/source/${file%/*}"
        put_fault "$file" "$work/source/$file" "$line" "$column" "$length" "$new"
        test=$(judge "$file" "$line")
        verdict=killed note=$test
        if [ "$test" = "cannot be built" ]; then
            verdict=unbuilt
        elif [ -z "$test" ] || [ "$test" = "not executed" ]; then
            note=$(reason "$file" "$text" "$old" "$new")
            [ -n "$note" ] || ! is_same_code "$file" || note="equivalent: the compiler makes the same code of it"
            verdict=$([ -n "$note" ] && echo accepted || echo survived)
            note=${note:-$test}
        fi
        [ "$verdict" = unbuilt ] ||
            printf '%-8s %s:%s: %s: %s -> %s%s\n' "$verdict" "$file" "$line" "$kind" "$old" "${new:-nothing}" \
                "${note:+ ($note)}"
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' \
            "$index" "$verdict" "$file" "$line" "$column" "$text" "$old" "$new" "$note" >>"$results"
    done
}

# ---- the run ----

results=$build/results-$seed.tsv
drawn >"$build/drawn"
if [ -n "$resume" ] && [ -f "$results" ]; then
    cmp -s "$build/drawn" "$build/drawn-$seed" || { echo "mutate.sh: the sources have changed since" >&2 && exit 1; }
    if [ "$resume" = again ]; then
        cp "$results" "$results.before"
        awk -F '\t' '$2 != "survived"' "$results.before" >"$results"
    fi
else
    : >"$results"
fi
cp "$build/drawn" "$build/drawn-$seed"
: >"$build/given-$seed"

echo "== build: $build"
build_programs
find_units
export build out traced map top
export -f map_unit run_unit
make_map
echo "== faults"
workers=()
for ((number = 1; number <= jobs; number++)); do
    mkdir -p "$build/worker-$number"
    worker "$number" &
    workers+=($!)
done
wait "${workers[@]}"

echo "== score of $(grep -vc $'\tunbuilt\t' "$results") faults, seed $seed"
awk -F '\t' '
    $2 != "unbuilt" {
        parts = split($3, part, "/")
        folder = part[1]
        for (i = 2; i < parts && i < 4; i++)
            folder = folder "/" part[i]
        all[folder]++; all["all"]++
        if ($2 != "survived") { killed[folder]++; killed["all"]++ }
        if ($2 == "accepted") { accepted[folder]++; accepted["all"]++ }
    }
    END { for (f in all) printf "%-24s %3d of %3d  %3.0f %%%s\n", f, killed[f], all[f], 100 * killed[f] / all[f],
        accepted[f] ? "  (" accepted[f] " accepted)" : "" }' "$results" | sort
