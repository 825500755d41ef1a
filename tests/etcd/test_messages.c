/* Messages of etcd and their wire format, byte by byte: what is written, what is read, and what is malformed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/etcd/messages.h"
#include "resolver/etcd/wire.h"

/* Bytes of their own without the last NUL of a literal, so that AddressSanitizer sees where they end. */
#define MESSAGE(literal) message_of(literal, sizeof(literal) - 1)

static evener_bytes message_of(const char *from, size_t length)
{
    evener_bytes made = {0};
    uint8_t *to = evener_bytes_create(length, &made);
    cr_assert_not_null(to);
    memcpy(to, from, length);
    return made;
}

static evener_etcd_span span(const char *text)
{
    return (evener_etcd_span){(const uint8_t *)text, strlen(text)};
}

/* ---- the wire format ---- */

/* Return the fields as text: "1:7" a number, "2\"ab\"" bytes; at its end "!" if the message is malformed. */
static const char *fields_of(evener_bytes message)
{
    static char text[1024];
    evener_etcd_reader reader = {message.data, message.data + message.length, false};
    size_t used = 0;
    text[0] = '\0';
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.bytes != NULL) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%u\"%.*s\" ", f.number, (int)f.length,
                                     (const char *)f.bytes);
        } else {
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%u:%llu ", f.number, (unsigned long long)f.value);
        }
    }
    (void)snprintf(text + used, sizeof text - used, "%s", reader.bad ? "!" : "");
    evener_etcd_field f;
    cr_assert_not(evener_etcd_next(&reader, &f), "the end stays the end");
    evener_bytes_clear(&message);
    return text;
}

Test(etcd_messages, each_kind_of_field_is_read)
{
    cr_assert_str_eq(fields_of(MESSAGE("")), "");
    cr_assert_str_eq(fields_of(MESSAGE("\x08\x00\x10\x7f\x18\x80\x01")), "1:0 2:127 3:128 ");
    cr_assert_str_eq(fields_of(MESSAGE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), "1:18446744073709551615 ");
    cr_assert_str_eq(fields_of(MESSAGE("\x09\x01\x02\x03\x04\x05\x06\x07\x08")), "1:578437695752307201 ");
    cr_assert_str_eq(fields_of(MESSAGE("\x0d\x01\x02\x03\x04")), "1:67305985 ");
    cr_assert_str_eq(fields_of(MESSAGE("\x0a\x00\x12\x02hi")), "1\"\" 2\"hi\" ");
    cr_assert_str_eq(fields_of(MESSAGE("\xf8\xff\xff\xff\x0f\x05")), "536870911:5 ");
}

Test(etcd_messages, malformed_fields_end_a_message)
{
    cr_assert_str_eq(fields_of(MESSAGE("\x00\x01")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x80\x80\x80\x80\x10\x01")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x08\x01\x80")), "1:1 !");
    cr_assert_str_eq(fields_of(MESSAGE("\x08")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x09\x01\x02\x03\x04\x05\x06\x07")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x0d\x01\x02\x03")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x0a")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x0a\x02h")), "!");
    cr_assert_str_eq(fields_of(MESSAGE("\x0b\x0c")), "!"); /* a group */
    cr_assert_str_eq(fields_of(MESSAGE("\x0f\x01")), "!");
}

Test(etcd_messages, a_writer_grows_and_leaves_out_what_is_empty)
{
    evener_etcd_writer inner = {0}, writer = {0};
    evener_bytes message;
    evener_etcd_put_number(&inner, 1, 0);
    evener_etcd_put_bytes(&inner, 2, "", 0);
    cr_assert_eq(inner.used, 0);
    evener_etcd_put_number(&inner, 3, UINT64_MAX);
    evener_etcd_put_number(&inner, 16, 128);
    evener_etcd_put_message(&writer, 4, &inner);
    cr_assert_null(inner.bytes);
    cr_assert_eq(inner.used, 0);
    evener_etcd_put_message(&writer, 5, &inner); /* an empty one is written */
    cr_assert(evener_etcd_finish(&writer, &message));
    static const char expected[] = "\x22\x0f\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x80\x01\x80\x01\x2a";
    cr_assert_eq(message.length, sizeof expected); /* with a length of 0 */
    cr_assert_eq(memcmp(message.data, expected, sizeof expected), 0);
    evener_bytes_clear(&message);
    cr_assert_null(writer.bytes);
    for (size_t i = 0; i < 1000; i++) {
        evener_etcd_put_bytes(&writer, 1, "0123456789", 10);
        cr_assert_leq(writer.used, writer.room);
    }
    cr_assert(evener_etcd_finish(&writer, &message));
    cr_assert_eq(message.length, 12000);
    evener_etcd_reader reader = {message.data, message.data + message.length, false};
    size_t count = 0;
    for (evener_etcd_field f; evener_etcd_next(&reader, &f); count++) {
        cr_assert_eq(f.length, 10);
        cr_assert_eq(memcmp(f.bytes, "0123456789", 10), 0);
    }
    cr_assert_eq(count, 1000);
    evener_bytes_clear(&message);
    writer = (evener_etcd_writer){.failed = true};
    evener_etcd_put_number(&writer, 1, 1);
    cr_assert_eq(writer.used, 0);
    evener_etcd_writer outer = {0};
    evener_etcd_put_message(&outer, 1, &writer);
    cr_assert(outer.failed);
    cr_assert_not(evener_etcd_finish(&outer, &message));
    cr_assert_eq(message.length, 0);
}

/* ---- ranges and requests ---- */

Test(etcd_messages, the_end_of_a_prefix_is_its_successor)
{
    static const struct {
        const char *prefix, *end;
    } cases[] = {{"a", "b"},
                 {"ab", "ac"},
                 {"a\xff", "b"},
                 {"a\xff\xff", "b"},
                 {"a\xfe", "a\xff"},
                 {"\xff"
                  "a",
                  "\xff"
                  "b"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t end[8] = "xxxxxx";
        cr_assert_eq(evener_etcd_prefix_end(span(cases[i].prefix), end), strlen(cases[i].end));
        cr_assert_eq(memcmp(end, cases[i].end, strlen(cases[i].end)), 0);
    }
    uint8_t end[8] = "xxxxxx";
    cr_assert_eq(evener_etcd_prefix_end(span("\xff\xff"), end), 1);
    cr_assert_eq(end[0], 0);
    end[0] = 'x';
    cr_assert_eq(evener_etcd_prefix_end(span(""), end), 1);
    cr_assert_eq(end[0], 0);
}

Test(etcd_messages, requests_have_the_fields_of_the_api)
{
    evener_bytes message;
    evener_etcd_range range = {span("a"), span("b"), 7, 9, true, false};
    cr_assert(evener_etcd_range_request(&range, &message));
    cr_assert_str_eq(fields_of(message), "1\"a\" 2\"b\" 3:7 4:9 8:1 ");
    range = (evener_etcd_range){span("a"), span(""), 0, 0, false, true};
    cr_assert(evener_etcd_range_request(&range, &message));
    cr_assert_str_eq(fields_of(message), "1\"a\" 9:1 ");
    cr_assert(evener_etcd_watch_request(span("a"), span("b"), 7, &message));
    cr_assert_str_eq(fields_of(message), "1\"\n\x01"
                                         "a\x12\x01"
                                         "b\x18\x07 \x01@\x01\" ");
    cr_assert(evener_etcd_put_request(span("a"), span("v"), 5, &message));
    cr_assert_str_eq(fields_of(message), "1\"a\" 2\"v\" 3:5 ");
    cr_assert(evener_etcd_lease_grant_request(30, &message));
    cr_assert_str_eq(fields_of(message), "1:30 ");
    cr_assert(evener_etcd_lease_request(31, &message));
    cr_assert_str_eq(fields_of(message), "1:31 ");
    cr_assert(evener_etcd_authenticate_request("me", "secret", &message));
    cr_assert_str_eq(fields_of(message), "1\"me\" 2\"secret\" ");
}

/* ---- responses ---- */

typedef struct visited {
    char text[256];
    int count, count_max;
} visited;

static bool see(void *arg, const evener_etcd_key_value *kv)
{
    visited *all = arg;
    (void)snprintf(all->text + strlen(all->text), sizeof all->text - strlen(all->text), "%.*s=%.*s@%lld ",
                   (int)kv->key.length, (const char *)kv->key.bytes, (int)kv->value.length,
                   kv->value.bytes != NULL ? (const char *)kv->value.bytes : "", (long long)kv->mod_revision);
    return ++all->count < all->count_max;
}

static bool see_event(void *arg, bool is_delete, const evener_etcd_key_value *kv)
{
    visited *all = arg;
    (void)snprintf(all->text + strlen(all->text), sizeof all->text - strlen(all->text), "%s", is_delete ? "-" : "+");
    return see(arg, kv);
}

/* Read a range; return what was visited and the rest of the response, or "malformed". */
static const char *range_of(evener_bytes message, int count_max)
{
    static char text[512];
    visited all = {.count_max = count_max};
    evener_etcd_range_response response;
    memset(&response, 'x', sizeof response);
    if (evener_etcd_range_parse(&message, &response, see, &all)) {
        (void)snprintf(text, sizeof text, "%s%llu/%lld%s %llu", all.text,
                       (unsigned long long)response.header.cluster_id, (long long)response.header.revision,
                       response.more ? " more" : "", (unsigned long long)response.count);
    } else {
        (void)snprintf(text, sizeof text, "malformed");
    }
    evener_bytes_clear(&message);
    return text;
}

#define HEADER "\x0a\x06\x08\x05\x10\x06\x18\x07" /* cluster 5, member 6, revision 7 */
#define KEY(key, revision, value) "\x0a\x01" key "\x18" revision "\x2a\x01" value

Test(etcd_messages, ranges_are_read)
{
    cr_assert_str_eq(range_of(MESSAGE(""), 9), "0/0 0");
    cr_assert_str_eq(range_of(MESSAGE(HEADER "\x12\x08" KEY("a", "\x03", "v") "\x18\x01 \x02"), 9), "a=v@3 5/7 more 2");
    cr_assert_str_eq(range_of(MESSAGE(HEADER "\x18\x00 \x01\x12\x03\x0a\x01"
                                             "b"),
                              9),
                     "b=@0 5/7 1");
    cr_assert_str_eq(range_of(MESSAGE("\x12\x08" KEY("a", "\x03", "v") "\x12\x08" KEY("b", "\x04", "w") "\x00"), 2),
                     "a=v@3 b=w@4 0/0 0"); /* nothing behind the second is read */
    cr_assert_str_eq(range_of(MESSAGE("\x12\x08" KEY("a", "\x03", "v") "\x00"), 9), "malformed");
    cr_assert_str_eq(range_of(MESSAGE("\x0a\x01\x80"), 9), "malformed");
    cr_assert_str_eq(range_of(MESSAGE("\x12\x01\x80"), 9), "malformed");
    cr_assert_str_eq(range_of(MESSAGE("\x12\x02\x0a\x00"), 9), "malformed"); /* an empty key */
    cr_assert_str_eq(range_of(MESSAGE("\x12\x00"), 9), "malformed");
    cr_assert_str_eq(range_of(MESSAGE("\x12\x02\x08\x01"), 9), "malformed"); /* a key that is a number */
    cr_assert_str_eq(range_of(MESSAGE("\x08\x01\x10\x01"), 9), "0/0 0");     /* numbers where messages are due */
}

static const char *watch_of(evener_bytes message, int count_max)
{
    static char text[512];
    visited all = {.count_max = count_max};
    evener_etcd_watch_response response;
    memset(&response, 'x', sizeof response);
    if (evener_etcd_watch_parse(&message, &response, see_event, &all)) {
        (void)snprintf(text, sizeof text, "%s%lld%s%s%s %lld \"%.*s\" %zu", all.text,
                       (long long)response.header.revision, response.created ? " created" : "",
                       response.canceled ? " canceled" : "", response.fragment ? " fragment" : "",
                       (long long)response.compact_revision, (int)response.cancel_reason.length,
                       response.cancel_reason.bytes != NULL ? (const char *)response.cancel_reason.bytes : "",
                       response.events);
    } else {
        (void)snprintf(text, sizeof text, "malformed");
    }
    evener_bytes_clear(&message);
    return text;
}

#define EVENT(type, key) "\x5a\x0c\x08" type "\x12\x08" KEY(key, "\x03", "v")

Test(etcd_messages, events_are_read)
{
    cr_assert_str_eq(watch_of(MESSAGE(""), 9), "0 0 \"\" 0");
    cr_assert_str_eq(watch_of(MESSAGE(HEADER EVENT("\x00", "a") EVENT("\x01", "b") EVENT("\x02", "c")), 9),
                     "+a=v@3 -b=v@3 +c=v@3 7 0 \"\" 3");
    cr_assert_str_eq(watch_of(MESSAGE(EVENT("\x00", "a") EVENT("\x01", "b") "\x00"), 2), "+a=v@3 -b=v@3 0 0 \"\" 2");
    cr_assert_str_eq(watch_of(MESSAGE("\x18\x01"), 9), "0 created 0 \"\" 0");
    cr_assert_str_eq(watch_of(MESSAGE(" \x01\x32\x02no"), 9), "0 canceled 0 \"no\" 0");
    cr_assert_str_eq(watch_of(MESSAGE("8\x01"), 9), "0 fragment 0 \"\" 0");
    cr_assert_str_eq(watch_of(MESSAGE("\x28\x09\x18\x00 \x00"
                                      "8\x00"),
                              9),
                     "0 9 \"\" 0");
    cr_assert_str_eq(watch_of(MESSAGE(EVENT("\x00", "a") "\x00"), 9), "malformed");
    cr_assert_str_eq(watch_of(MESSAGE("\x0a\x01\x80"), 9), "malformed");
    cr_assert_str_eq(watch_of(MESSAGE("\x5a\x02\x08\x01"), 9), "malformed");         /* without a key */
    cr_assert_str_eq(watch_of(MESSAGE("\x5a\x04\x12\x02\x0a\x00"), 9), "malformed"); /* with an empty one */
    cr_assert_str_eq(watch_of(MESSAGE("\x5a\x0b\x12\x08" KEY("a", "\x03", "v") "\x80"), 9), "malformed");
    cr_assert_str_eq(watch_of(MESSAGE("\x32"), 9), "malformed");
}

Test(etcd_messages, leases_and_tokens_are_read)
{
    evener_etcd_lease_response lease;
    evener_bytes message = MESSAGE(HEADER "\x10\x05\x18\x1e\x22\x02no");
    cr_assert(evener_etcd_lease_parse(&message, &lease));
    cr_assert_eq(lease.lease, 5);
    cr_assert_eq(lease.ttl_s, 30);
    cr_assert_eq(lease.error.length, 2);
    cr_assert_eq(memcmp(lease.error.bytes, "no", 2), 0);
    evener_bytes_clear(&message);
    memset(&lease, 'x', sizeof lease);
    cr_assert(evener_etcd_lease_parse(&(evener_bytes){0}, &lease));
    cr_assert(lease.lease == 0 && lease.ttl_s == 0 && lease.error.bytes == NULL);
    message = MESSAGE("\x10");
    cr_assert_not(evener_etcd_lease_parse(&message, &lease));
    evener_bytes_clear(&message);
    static const struct {
        const char *bytes, *token; /* NULL: refused */
    } cases[] = {{"\x12\x03!a~", "!a~"},
                 {"\x0a\x01x\x12\x01y", "y"},
                 {"", NULL},
                 {"\x0a\x01x", NULL},
                 {"\x10\x01", NULL},
                 {"\x12\x03"
                  "a b",
                  NULL},
                 {"\x12\x02"
                  "a\x7f",
                  NULL},
                 {"\x12\x02\x1f"
                  "a",
                  NULL},
                 {"\x12\x01y\x80", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *token = NULL;
        message = message_of(cases[i].bytes, strlen(cases[i].bytes));
        cr_assert_eq(evener_etcd_authenticate_parse(&message, &token), cases[i].token != NULL, "%zu", i);
        cr_assert(cases[i].token == NULL ? token == NULL : strcmp(token, cases[i].token) == 0, "%zu", i);
        free(token);
        evener_bytes_clear(&message);
    }
    char *token = NULL;
    message = MESSAGE("\x12\x00");
    cr_assert_not(evener_etcd_authenticate_parse(&message, &token));
    evener_bytes_clear(&message);
}
