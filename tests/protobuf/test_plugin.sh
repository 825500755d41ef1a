#!/bin/bash
# test_plugin.sh PROTOC_GEN_EVENER [--update]: what the generator writes is that of the golden files, the same in each run,
# without warnings in C11 and C++, and its errors name file and place.
set -euo pipefail
export LC_ALL=C
plugin=$1
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
data=$top/tests/protobuf/plugin
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "test_plugin: $*" >&2; exit 1; }
generate() { # FOLDER PROTO_PATH FILE...
    local folder=$1 path=$2
    shift 2
    mkdir -p "$folder"
    protoc --plugin=protoc-gen-evener="$plugin" --proto_path="$path" --evener_out="$folder" "$@"
}
warnings=(-Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror -I "$top/include" -isystem "$scratch/messages" -I "$scratch/calls")

# The golden files.
mkdir "$scratch/messages"
protoc-c --proto_path="$data" --c_out="$scratch/messages" golden.proto
generate "$scratch/calls" "$data" golden.proto
generate "$scratch/again" "$data" golden.proto
diff -r "$scratch/calls" "$scratch/again" || fail "two runs differ"
if [ "${2:-}" = --update ]; then
    for file in golden.evener.h golden.evener.c; do cp "$scratch/calls/$file" "$data/$file.txt"; done
fi
for file in golden.evener.h golden.evener.c; do
    diff -u "$data/$file.txt" "$scratch/calls/$file" || fail "$file is not the golden one"
done
for compiler in "gcc -x c -std=c11 -Wstrict-prototypes -Wmissing-prototypes" "g++ -x c++ -std=c++17"; do
    $compiler "${warnings[@]}" -fsyntax-only "$scratch/calls/golden.evener.c" || fail "does not compile by $compiler"
done

# c_package, an option of protobuf-c, replaces the package in the names of types and functions, and not on the wire.
mkdir -p "$scratch/protos/protobuf-c" "$scratch/protos/google/protobuf" "$scratch/renamed"
cp "$top/examples/proto/google/protobuf/descriptor.proto" "$scratch/protos/google/protobuf"
cat >>"$scratch/protos/google/protobuf/descriptor.proto" <<'PROTO'
message FileOptions {
    repeated UninterpretedOption uninterpreted_option = 999;
    extensions 1000 to max;
}
PROTO
cat >"$scratch/protos/protobuf-c/protobuf-c.proto" <<'PROTO'
syntax = "proto2";
import "google/protobuf/descriptor.proto";
message ProtobufCFileOptions { optional string c_package = 6; }
extend google.protobuf.FileOptions { optional ProtobufCFileOptions pb_c_file = 1019; }
PROTO
cat >"$scratch/protos/renamed.proto" <<'PROTO'
syntax = "proto3";
package very.long_name;
import "protobuf-c/protobuf-c.proto";
option (pb_c_file).c_package = "short";
message M {}
service S { rpc Do(M) returns (M); }
PROTO
generate "$scratch/calls" "$scratch/protos" renamed.proto
grep -q '"/very.long_name.S/Do"' "$scratch/calls/renamed.evener.c" || fail "c_package must not change the path"
grep -q 'short_s_do(' "$scratch/calls/renamed.evener.h" || fail "c_package is not in the functions' names"
grep -q 'const Short__M \*request' "$scratch/calls/renamed.evener.h" || fail "c_package is not in the types' names"

# A file without services, and one without package.
printf 'syntax = "proto3"; message M {}' >"$scratch/protos/none.proto"
printf 'syntax = "proto3"; message T { oneof x { T t = 1; } } service Top { rpc Run(T) returns (T); }' >"$scratch/protos/top.proto"
protoc-c --proto_path="$scratch/protos" --c_out="$scratch/messages" none.proto top.proto
generate "$scratch/calls" "$scratch/protos" none.proto top.proto
for file in none top; do
    gcc -std=c11 "${warnings[@]}" -fsyntax-only "$scratch/calls/$file.evener.c"
done
grep -q '"/Top/Run"' "$scratch/calls/top.evener.c" || fail "a service without package"

# Names that C or C++ have a meaning for, names that are very long, comments that end in trigraphs, proto2, aliases of
# enums, a type by a public import, a service without methods. Names of methods that are keywords protoc-c itself cannot
# take.
cat >"$scratch/protos/odd.proto" <<'PROTO'
syntax = "proto2";
package class.int.v1;
import "shared.proto";
message struct {
    optional int32 int = 1 [default = 7];
    optional string while = 2 [default = "a\"b\\"];
    repeated bytes char = 3;
    optional double d = 4 [default = inf];
    enum Kind {
        option allow_alias = true;
        ONE = 1;
        UNO = 1;
        NEG = -2;
    }
    optional Kind kind = 5 [default = UNO];
    message Nested {
        message Deeper { required string r = 1; }
        optional Deeper default = 1;
    }
    oneof switch {
        string case = 6;
        Nested nested = 7;
    }
    extensions 100 to 200;
}
message AVeryLongNameOfAMessageThatGoesOnAndOnUntilNobodyCanReadItAnyMoreButMustStillCompileInCAndInCPlusPlus {}
// Ends a comment: */ and begins /* one. ??/
// A trigraph at the end of a line *??/
// /
service return {
    rpc EOF(struct) returns (stream struct);
    rpc NULL(stream struct) returns (struct.Nested.Deeper);
    rpc main(stream struct) returns (stream struct);
    // */
    rpc AVeryLongNameOfAMethodThatGoesOnAndOnUntilNobodyCanReadItAnyMoreButMustStillCompile(
        AVeryLongNameOfAMessageThatGoesOnAndOnUntilNobodyCanReadItAnyMoreButMustStillCompileInCAndInCPlusPlus)
        returns (stream struct);
    rpc shared(.other.pub.Public) returns (.other.Shared);
}
service none {}
PROTO
cat >"$scratch/protos/shared.proto" <<'PROTO'
syntax = "proto3";
package other;
import public "public.proto";
message Shared { map<string, int64> m = 1; }
PROTO
printf 'syntax = "proto3"; package other.pub; message Public { bytes b = 1; }' >"$scratch/protos/public.proto"
cat >"$scratch/protos/words.proto" <<'PROTO'
syntax = "proto3";
message M {}
service size { rpc t(M) returns (M); }
service not { rpc eq(M) returns (M); }
service static { rpc assert(M) returns (M); rpc cast(stream M) returns (M); }
service thread { rpc local(M) returns (stream M); }
service va { rpc start(M) returns (M); rpc arg(stream M) returns (stream M); }
PROTO
protoc-c --proto_path="$scratch/protos" --c_out="$scratch/messages" odd.proto shared.proto public.proto words.proto
generate "$scratch/calls" "$scratch/protos" odd.proto shared.proto public.proto words.proto
for file in odd shared public words; do
    for compiler in "gcc -x c -std=c11 -Wstrict-prototypes -Wmissing-prototypes" "gcc -x c -std=gnu17" \
        "g++ -x c++ -std=c++11" "g++ -x c++ -std=c++20"; do
        $compiler "${warnings[@]}" -fsyntax-only "$scratch/calls/$file.evener.c" || fail "$file does not compile by $compiler"
    done
done
grep -q 'evener_status_code size_t_(' "$scratch/calls/words.evener.h" || fail "size_t_"
grep -q '"/size/t"' "$scratch/calls/words.evener.c" || fail "an underscore must not change the path"

# refuse TEXT SOURCE [PARAMETER]
refuse() {
    printf '%s' "$2" >"$scratch/protos/bad.proto"
    if protoc --plugin=protoc-gen-evener="$plugin" --proto_path="$scratch/protos" --evener_out="${3:-}$scratch/calls" \
        bad.proto 2>"$scratch/error"; then
        fail "accepted: $2"
    fi
    grep -qF -- "$1" "$scratch/error" || fail "\"$1\" is not in: $(cat "$scratch/error")"
}
refuse 'bad.proto: two methods need the C name s_get_it; rename one of them' \
    'syntax = "proto3"; message M {} service S { rpc getIt(M) returns (M); rpc GetIt(M) returns (M); }'
refuse 'two methods need the C name s_do_start' \
    'syntax = "proto3"; message M {} service S { rpc Do(M) returns (M); rpc DoStart(M) returns (M); }'
refuse 'unknown parameter "fast"' 'syntax = "proto3";' fast:
"$plugin" --help | grep -q 'protoc --evener_out' || fail "--help"
! "$plugin" --nonsense 2>/dev/null || fail "arguments are refused"
! printf 'not a request' | "$plugin" >/dev/null 2>"$scratch/error" || fail "accepts any bytes"
grep -q 'no CodeGeneratorRequest' "$scratch/error" || fail "$(cat "$scratch/error")"
echo "test_plugin: ok"
