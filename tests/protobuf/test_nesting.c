/* How deep the messages of bytes are nested, which is checked before protobuf-c unpacks them: with types made by
 * hand. */
#include <string.h>

#include <criterion/criterion.h>

#include "lb/protobuf/nesting.h"
#include "lb/protobuf/wire.h"

static const ProtobufCMessageDescriptor outer;

static const ProtobufCFieldDescriptor outer_fields[] = {
    {.name = "text", .id = 2, .type = PROTOBUF_C_TYPE_BYTES},
    {.name = "outer", .id = 3, .type = PROTOBUF_C_TYPE_MESSAGE, .descriptor = &outer},
};
static const ProtobufCIntRange outer_ranges[] = {{2, 0}, {0, 2}};
static const ProtobufCMessageDescriptor outer = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                 .name = "outer",
                                                 .n_fields = 2,
                                                 .fields = outer_fields,
                                                 .n_field_ranges = 1,
                                                 .field_ranges = outer_ranges};

/* A message whose field has the highest number of 32 bits. */
static const ProtobufCFieldDescriptor highest_field = {
    .name = "outer", .id = UINT32_MAX, .type = PROTOBUF_C_TYPE_MESSAGE, .descriptor = &outer};
static const ProtobufCIntRange highest_ranges[] = {{(int)UINT32_MAX, 0}, {0, 1}};
static const ProtobufCMessageDescriptor highest = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                   .name = "highest",
                                                   .n_fields = 1,
                                                   .fields = &highest_field,
                                                   .n_field_ranges = 1,
                                                   .field_ranges = highest_ranges};

/* Check that bytes of the type are nested `depth` messages deep. */
static void expect_depth(const ProtobufCMessageDescriptor *type, const char *bytes, size_t length, unsigned depth)
{
    cr_expect(evener_protobuf_c_nesting_is_bounded(type, (const uint8_t *)bytes, length, depth));
    if (depth > 0) {
        cr_expect_not(evener_protobuf_c_nesting_is_bounded(type, (const uint8_t *)bytes, length, depth - 1));
    }
}

/* The bytes of a literal without its last NUL. */
#define EXPECT_DEPTH(bytes, depth) expect_depth(&outer, bytes, sizeof(bytes) - 1, depth)

Test(nesting, each_message_inside_another_one_is_a_level)
{
    EXPECT_DEPTH("", 0);
    EXPECT_DEPTH("\x1a\x00", 1);
    EXPECT_DEPTH("\x1a\x02\x1a\x00", 2);
    EXPECT_DEPTH("\x1a\x04\x1a\x02\x1a\x00", 3);
    EXPECT_DEPTH("\x1a\x00\x1a\x02\x1a\x00\x1a\x00", 2);
    EXPECT_DEPTH("\x1a\x82\x00\x1a\x00", 2); /* a length in two bytes */
}

Test(nesting, fields_of_every_wire_type_are_stepped_over)
{
    EXPECT_DEPTH("\x08\x1a\x1a\x00", 1);
    EXPECT_DEPTH("\x08\x9a\x1a\x1a\x00", 1);
    EXPECT_DEPTH("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x00", 1);
    EXPECT_DEPTH("\x09\x1a\x1a\x1a\x1a\x1a\x1a\x1a\x1a\x1a\x00", 1);
    EXPECT_DEPTH("\x0d\x1a\x1a\x1a\x1a\x1a\x00", 1);
    EXPECT_DEPTH("\x12\x03\x1a\x1a\x00\x1a\x00", 1); /* bytes that look like messages */
    EXPECT_DEPTH("\x22\x02\x1a\x00", 0);             /* unknown */
    EXPECT_DEPTH("\x18\x05\x19\x1a\x00\x1a\x00\x1a\x00\x1a\x00\x1d\x1a\x00\x1a\x00\x1a\x00", 1); /* 3, of other types */
}

Test(nesting, what_is_cut_off_or_malformed_is_left_to_unpacking)
{
    EXPECT_DEPTH("\x1a", 0);
    EXPECT_DEPTH("\x1a\x01", 0);
    EXPECT_DEPTH("\x1a\x80", 0);
    EXPECT_DEPTH("\x08", 0);
    EXPECT_DEPTH("\x08\x80", 0);
    EXPECT_DEPTH("\x09\x1a\x00\x1a\x00\x1a\x00\x1a", 0);
    EXPECT_DEPTH("\x0d\x1a\x00\x1a", 0);
    EXPECT_DEPTH("\x12\x03\x1a\x00", 0);
    EXPECT_DEPTH("\x1b\x1a\x00\x1c", 0); /* a group */
    EXPECT_DEPTH("\x1f\x1a\x00", 0);
    EXPECT_DEPTH("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x00", 0);
    EXPECT_DEPTH("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x00", 0);
    EXPECT_DEPTH("\x1a\x00\x09\x1a", 1);
    EXPECT_DEPTH("\x1a\x03\x09\x1a\x00\x1a\x02\x1a\x00", 2); /* inside; behind it the bytes go on */
}

Test(nesting, numbers_of_fields_are_not_cut_to_32_bits)
{
    static const struct {
        const ProtobufCMessageDescriptor *type;
        uint64_t number;
        unsigned depth;
    } cases[] = {{&outer, 3, 1},
                 {&outer, ((uint64_t)1 << 32) + 3, 0},
                 {&highest, UINT32_MAX, 1},
                 {&highest, ((uint64_t)1 << 33) - 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_wire_buffer bytes = {0};
        evener_wire_put_varint(&bytes, cases[i].number << 3 | EVENER_WIRE_BYTES);
        evener_wire_put_varint(&bytes, 0);
        expect_depth(cases[i].type, (const char *)bytes.data, bytes.length, cases[i].depth);
        evener_wire_clear(&bytes);
    }
}
