# cmake -DINPUT=FILE -DOUTPUT=FILE.c -DNAME=NAME -P embed.cmake: write a C file that defines the bytes of INPUT as
# `const unsigned char NAME[]` and their number as `const size_t NAME_bytes`.
file(READ "${INPUT}" digits HEX)
string(LENGTH "${digits}" count)
math(EXPR count "${count} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," digits "${digits}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" digits
    "${digits}")
file(WRITE "${OUTPUT}" "#include <stddef.h>

extern const unsigned char ${NAME}[];
extern const size_t ${NAME}_bytes;

const unsigned char ${NAME}[] = {
${digits}};
const size_t ${NAME}_bytes = ${count};
")
