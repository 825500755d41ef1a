/* google.rpc.Status, byte by byte: what is read, and what is refused. */
#include <criterion/criterion.h>

#include <string.h>

#include <evener/call.h>

typedef struct bytes {
    const char *at;
    size_t count;
} bytes;

#define B(text)                                                                                                        \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }
#define STATUS_CODE(code) "\x08" code
#define TEN_BYTES "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"

static evener_status_code read_with(const bytes *value, evener_status_details *out, evener_status_detail *list,
                                    size_t room)
{
    evener_metadata trailing[] = {{"other", "x", 1}, {"grpc-status-details-bin", value->at, value->count}};
    const evener_call_details details = {
        .size = sizeof details, .trailing_metadata = trailing, .trailing_metadata_count = 2};
    evener_status status;
    const evener_status_code code = evener_call_status_details(&details, out, list, room, &status);
    cr_assert_eq(status.code, code);
    return code;
}

Test(status_details, every_form_of_a_field_is_passed_over)
{
    static const bytes good[] = {
        B(STATUS_CODE("\x05")),
        B(STATUS_CODE("\x05") "\x20\x00"),       /* field 4, varint */
        B(STATUS_CODE("\x05") "\x20" TEN_BYTES), /* the longest varint */
        B(STATUS_CODE("\x05") "\x21"
                              "12345678"), /* eight bytes */
        B(STATUS_CODE("\x05") "\x25"
                              "1234"), /* four */
        B(STATUS_CODE("\x05") "\x22\x03"
                              "abc"), /* with a length */
        B(STATUS_CODE("\x05") "\x22\x00"),
        B(STATUS_CODE("\x05") "\xf8\xff\xff\xff\x0f\x00"), /* the greatest number, 2^29 - 1 */
        B(STATUS_CODE("\x05") "\x0a\x01"
                              "x"
                              "\x10\x07"
                              "\x18\x01"),          /* 1, 2 and 3 of another type */
        B(STATUS_CODE("\x01") STATUS_CODE("\x05")), /* the last one counts */
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        evener_status_details out;
        cr_expect_eq(read_with(&good[i], &out, NULL, 0), EVENER_STATUS_OK, "%zu", i);
        cr_expect_eq(out.code, 5, "%zu", i);
        cr_expect_eq(out.message_bytes, 0, "%zu", i);
        cr_expect_eq(out.count, 0, "%zu", i);
    }
}

Test(status_details, what_is_malformed_is_refused)
{
    static const bytes bad[] = {
        B("\x08"),               /* no value */
        B("\x08\x80"),           /* half a varint */
        B("\x20\xff" TEN_BYTES), /* a varint of eleven bytes */
        B("\x00\x00"),           /* number 0 */
        B("\x07\x00"),
        B("\x80\x80\x80\x80\x10\x00"), /* number 2^29 */
        B("\x21"
          "1234567"), /* seven of eight bytes */
        B("\x25"
          "123"), /* three of four */
        B("\x22\x04"
          "abc"), /* three of four, by its length */
        B("\x22"),
        B("\x23\x00"), /* groups and what is no type */
        B("\x24\x00"),
        B("\x26\x00"),
        B("\x27\x00"),
        B("\x1a\x02\x0a\x01"), /* a detail whose URL is cut */
        B("\x1a\x01\x08"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        evener_status_details out = {.code = 77};
        evener_status_detail list[2];
        cr_expect_eq(read_with(&bad[i], &out, list, 2), EVENER_STATUS_DATA_LOSS, "%zu", i);
        cr_expect_eq(out.code, 77, "%zu: nothing is stored", i);
    }
}

Test(status_details, members_and_details_are_read)
{
    static const bytes value = B("\x08" TEN_BYTES "\x12\x03"
                                 "why"
                                 "\x1a\x07\x0a\x01"
                                 "u"
                                 "\x12\x02"
                                 "vw"
                                 "\x1a\x00"
                                 "\x1a\x09\x10\x05\x0a\x02"
                                 "t2"
                                 "\x18\x01"
                                 "\x12");
    static const bytes whole = B("\x08" TEN_BYTES "\x12\x03"
                                 "why"
                                 "\x1a\x08\x0a\x01"
                                 "u"
                                 "\x12\x03"
                                 "vwx"
                                 "\x1a\x00"
                                 "\x1a\x08\x10\x05\x0a\x02"
                                 "t2"
                                 "\x18\x01");
    evener_status_details out;
    evener_status_detail list[3];
    cr_expect_eq(read_with(&value, &out, list, 3), EVENER_STATUS_DATA_LOSS, "a tag without a value ends the third");
    memset(list, 0x5a, sizeof list);
    cr_assert_eq(read_with(&whole, &out, list, 2), EVENER_STATUS_OK);
    cr_expect_eq(out.code, -1);
    cr_expect_eq(out.message_bytes, 3);
    cr_expect_eq(memcmp(out.message, "why", 3), 0);
    cr_expect_eq(out.count, 3);
    cr_expect_eq(list[0].type_url_bytes, 1);
    cr_expect_eq(list[0].type_url[0], 'u');
    cr_expect_eq(list[0].value_bytes, 3);
    cr_expect_eq(memcmp(list[0].value, "vwx", 3), 0);
    cr_expect_eq(list[1].type_url_bytes, 0);
    cr_expect_eq(list[1].value_bytes, 0);
    cr_expect_str_eq(list[1].type_url, "");
    cr_expect_eq(list[2].value_bytes, (size_t)0x5a5a5a5a5a5a5a5a, "there was no room for it");
    cr_assert_eq(read_with(&whole, &out, list, 3), EVENER_STATUS_OK);
    cr_expect_eq(list[2].type_url_bytes, 2);
    cr_expect_eq(memcmp(list[2].type_url, "t2", 2), 0);
    cr_expect_eq(list[2].value_bytes, 0, "its field 2 is of another type");
    const evener_call_details none = {.size = sizeof none};
    evener_status status;
    cr_expect_eq(evener_call_status_details(&none, &out, list, 3, &status), EVENER_STATUS_NOT_FOUND);
}
