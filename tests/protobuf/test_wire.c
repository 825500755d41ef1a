/* The wire format: each form at its limits, read and written, and what is malformed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "lb/protobuf/wire.h"

/* Return the fields of a message as text: "1:7" a varint, "1=7" a fixed number, "1\"ab\"" bytes, "1{2}" a group of 2
 * bytes; at its end "!" if it is malformed. */
static const char *fields_of(const char *bytes, size_t length)
{
    static char text[4096];
    uint8_t *copy = malloc(length > 0 ? length : 1); /* of its own, so that AddressSanitizer sees where it ends */
    cr_assert_not_null(copy);
    memcpy(copy, bytes, length);
    evener_wire_reader reader = evener_wire_read(copy, length);
    evener_wire_field f;
    evener_wire_result result;
    size_t used = 0;
    text[0] = '\0';
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        const char *form = f.type == EVENER_WIRE_VARINT    ? ":"
                           : f.type == EVENER_WIRE_BYTES   ? "\""
                           : f.type == EVENER_WIRE_GROUP   ? "{"
                           : f.type == EVENER_WIRE_FIXED64 ? "="
                                                           : "~";
        used += (size_t)snprintf(text + used, sizeof text - used, "%u%s", f.number, form);
        if (f.type == EVENER_WIRE_BYTES) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%.*s\" ", (int)f.length, (const char *)f.data);
        } else if (f.type == EVENER_WIRE_GROUP) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%zu} ", f.length);
        } else {
            used += (size_t)snprintf(text + used, sizeof text - used, "%llu ", (unsigned long long)f.value);
        }
    }
    (void)snprintf(text + used, sizeof text - used, "%s", result == EVENER_WIRE_MALFORMED ? "!" : "");
    free(copy);
    return text;
}

/* The bytes of a literal without its last NUL. */
#define FIELDS(bytes) fields_of(bytes, sizeof(bytes) - 1)

Test(wire, each_type_is_read)
{
    cr_assert_str_eq(FIELDS(""), "");
    cr_assert_str_eq(FIELDS("\x08\x00\x10\x7f\x18\x80\x01"), "1:0 2:127 3:128 ");
    cr_assert_str_eq(FIELDS("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "1:18446744073709551615 ");
    cr_assert_str_eq(FIELDS("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x40"), "1:4611686018427387904 ");
    cr_assert_str_eq(FIELDS("\x09\x01\x02\x03\x04\x05\x06\x07\x08"), "1=578437695752307201 ");
    cr_assert_str_eq(FIELDS("\x0d\x01\x02\x03\x04"), "1~67305985 ");
    cr_assert_str_eq(FIELDS("\x0a\x00\x12\x02hi"), "1\"\" 2\"hi\" ");
    cr_assert_str_eq(FIELDS("\xfa\xff\xff\xff\x0f\x01x"), "536870911\"x\" ");
}

Test(wire, malformed_tags_and_contents_are_refused)
{
    cr_assert_str_eq(FIELDS("\x00\x01"), "!");                 /* number 0 */
    cr_assert_str_eq(FIELDS("\x02\x00"), "!");                 /* likewise */
    cr_assert_str_eq(FIELDS("\x82\x80\x80\x80\x10\x00"), "!"); /* number 2^29 */
    cr_assert_str_eq(FIELDS("\x80"), "!");                     /* half a tag */
    cr_assert_str_eq(FIELDS("\x08\x01\x80"), "1:1 !");
    cr_assert_str_eq(FIELDS("\x08"), "!");
    cr_assert_str_eq(FIELDS("\x08\x80"), "!");
    cr_assert_str_eq(FIELDS("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "!"); /* 65 bits */
    cr_assert_str_eq(FIELDS("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80\x01"), "!");
    cr_assert_str_eq(FIELDS("\x09\x01\x02\x03\x04\x05\x06\x07"), "!");
    cr_assert_str_eq(FIELDS("\x0d\x01\x02\x03"), "!");
    cr_assert_str_eq(FIELDS("\x0a"), "!");
    cr_assert_str_eq(FIELDS("\x0a\x02h"), "!");
    cr_assert_str_eq(FIELDS("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01h"), "!");
    cr_assert_str_eq(FIELDS("\x0c"), "!"); /* the end of a group that did not begin */
    cr_assert_str_eq(FIELDS("\x0e\x00"), "!");
    cr_assert_str_eq(FIELDS("\x0f\x00"), "!");
}

Test(wire, groups_end_with_their_own_number)
{
    cr_assert_str_eq(FIELDS("\x0b\x0c"), "1{0} ");
    cr_assert_str_eq(FIELDS("\x0b\x10\x05\x0c\x18\x06"), "1{2} 3:6 ");
    cr_assert_str_eq(FIELDS("\x0b\x13\x1a\x01x\x14\x0c"), "1{5} ");
    cr_assert_str_eq(FIELDS("\x0b"), "!");
    cr_assert_str_eq(FIELDS("\x0b\x14"), "!");
    cr_assert_str_eq(FIELDS("\x0b\x13\x0c\x14"), "!");
    cr_assert_str_eq(FIELDS("\x0b\x00\x0c"), "!");
    cr_assert_str_eq(FIELDS("\x0b\x10"), "!");
    cr_assert_str_eq(FIELDS("\x0b\x0e\x0c"), "!");
    for (size_t depth = 99; depth <= 101; depth++) {
        char bytes[300], expected[16];
        memset(bytes, 0x0b, depth);
        memset(bytes + depth, 0x0c, depth);
        (void)snprintf(expected, sizeof expected, "1{%zu} ", 2 * depth - 2);
        cr_assert_str_eq(fields_of(bytes, 2 * depth), depth <= EVENER_WIRE_GROUP_DEPTH_MAX ? expected : "!");
    }
}

Test(wire, packed_elements_follow_each_other)
{
    static const uint8_t bytes[] = {0x01, 0x80, 0x01, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0};
    evener_wire_reader reader = evener_wire_read(bytes, sizeof bytes);
    uint64_t value = 0;
    cr_assert_eq(evener_wire_next_packed(&reader, EVENER_WIRE_VARINT, &value), EVENER_WIRE_FIELD);
    cr_assert_eq(value, 1);
    cr_assert_eq(evener_wire_next_packed(&reader, EVENER_WIRE_VARINT, &value), EVENER_WIRE_FIELD);
    cr_assert_eq(value, 128);
    cr_assert_eq(evener_wire_next_packed(&reader, EVENER_WIRE_FIXED32, &value), EVENER_WIRE_FIELD);
    cr_assert_eq(value, 1);
    cr_assert_eq(evener_wire_next_packed(&reader, EVENER_WIRE_FIXED64, &value), EVENER_WIRE_FIELD);
    cr_assert_eq(value, 2);
    cr_assert_eq(evener_wire_next_packed(&reader, EVENER_WIRE_FIXED32, &value), EVENER_WIRE_MALFORMED);
    reader = evener_wire_read(NULL, 0);
    cr_assert_eq(evener_wire_next_packed(&reader, EVENER_WIRE_VARINT, &value), EVENER_WIRE_END);
}

static bool is_utf8(const char *text)
{
    return evener_utf8_is_valid((const uint8_t *)text, strlen(text));
}

Test(wire, utf8_is_what_rfc_3629_says)
{
    static const char *const good[] = {"",
                                       "a\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xec\xbf\xbf",
                                       "\xed\x80\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xe1\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf1\x80\x80\x80",
                                       "\xf3\xbf\xbf\xbf",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\xc3\xa9z"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x7f",
                                      "\xc2\xc0",
                                      "\xe0\x9f\xbf",
                                      "\xe1\x80",
                                      "\xe1\x80\x7f",
                                      "\xe1\x80\xc0",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf1\x80\x80",
                                      "\xf1\x80\x80\xc0",
                                      "\xf1\x80\x7f\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3\xa9\xc3"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(is_utf8(good[i]), "%zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(is_utf8(bad[i]), "%zu", i);
    }
}

Test(wire, what_is_written_is_read_again)
{
    evener_wire_buffer to = {0};
    evener_wire_put_tag(&to, 1, EVENER_WIRE_VARINT);
    evener_wire_put_varint(&to, UINT64_MAX);
    evener_wire_put_tag(&to, EVENER_WIRE_NUMBER_MAX, EVENER_WIRE_FIXED64);
    evener_wire_put_fixed(&to, 578437695752307201u, 8);
    evener_wire_put_tag(&to, 2, EVENER_WIRE_FIXED32);
    evener_wire_put_fixed(&to, 67305985, 4);
    evener_wire_put_bytes(&to, 3, "abc", 3);
    evener_wire_put_bytes(&to, 4, NULL, 0);
    cr_assert_str_eq(fields_of((const char *)to.data, to.length),
                     "1:18446744073709551615 536870911=578437695752307201 2~67305985 3\"abc\" 4\"\" ");
    evener_wire_clear(&to);
    cr_assert_null(to.data);
    cr_assert_eq(evener_wire_varint_bytes(0), 1);
    cr_assert_eq(evener_wire_varint_bytes(127), 1);
    cr_assert_eq(evener_wire_varint_bytes(128), 2);
    cr_assert_eq(evener_wire_varint_bytes(UINT64_MAX), 10);
    cr_assert_eq(evener_wire_zigzag(-1), 1);
    cr_assert_eq(evener_wire_zigzag(1), 2);
    cr_assert_eq(evener_wire_zigzag(INT64_MIN), UINT64_MAX);
    cr_assert_eq(evener_wire_unzigzag(UINT64_MAX), INT64_MIN);
    cr_assert_eq(evener_wire_unzigzag(2), 1);
}

Test(wire, a_content_gets_its_length_afterwards)
{
    for (size_t length = 0; length < 300; length += 1 + length / 3 * (length != 126 && length != 127)) {
        evener_wire_buffer to = {0};
        evener_wire_put_tag(&to, 9, EVENER_WIRE_BYTES);
        const size_t start = to.length;
        for (size_t i = 0; i < length; i++) {
            evener_wire_put_byte(&to, (uint8_t)i);
        }
        evener_wire_close(&to, start);
        evener_wire_reader reader = evener_wire_read(to.data, to.length);
        evener_wire_field f;
        cr_assert_eq(evener_wire_next(&reader, &f), EVENER_WIRE_FIELD);
        cr_assert_eq(f.length, length);
        for (size_t i = 0; i < length; i++) {
            cr_assert_eq(f.data[i], (uint8_t)i);
        }
        cr_assert_eq(evener_wire_next(&reader, &f), EVENER_WIRE_END);
        evener_wire_clear(&to);
    }
}

Test(wire, a_buffer_has_a_limit_and_drops_everything_beyond_it)
{
    evener_wire_buffer to = {.bytes_max = 3};
    evener_wire_put(&to, "ab", 2);
    evener_wire_put(&to, "", 0);
    evener_wire_put_byte(&to, 'c');
    cr_assert_not(to.failed || to.too_long);
    cr_assert_eq(to.length, 3);
    evener_wire_put_byte(&to, 'd');
    cr_assert(to.failed && to.too_long);
    cr_assert_eq(to.length, 0);
    evener_wire_put_byte(&to, 'e');
    evener_wire_close(&to, 0);
    cr_assert_eq(to.length, 0);
    cr_assert_null(evener_wire_extend(&to, 1));
    evener_wire_clear(&to);
    cr_assert_not(to.failed || to.too_long);
    cr_assert_eq(to.bytes_max, 3);
    cr_assert_null(evener_wire_extend(&to, SIZE_MAX));
    cr_assert(to.failed && to.too_long);
    evener_wire_clear(&to);
}

Test(wire, a_buffer_grows_and_keeps_what_it_has)
{
    evener_wire_buffer to = {0};
    for (size_t i = 0; i < 1000; i++) {
        evener_wire_put_byte(&to, (uint8_t)i);
        cr_assert_leq(to.length, to.room);
    }
    uint8_t *more = evener_wire_extend(&to, 5000); /* more than twice the room */
    cr_assert_not_null(more);
    memset(more, 'x', 5000);
    cr_assert_eq(to.length, 6000);
    cr_assert_geq(to.room, 6000);
    for (size_t i = 0; i < 6000; i++) {
        cr_assert_eq(to.data[i], i < 1000 ? (uint8_t)i : 'x');
    }
    evener_wire_clear(&to);
}
