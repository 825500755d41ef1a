/* Every allocation fails in turn while types are added, and routes are created and used: the result is whole, or an
 * error. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/http_routes.h>

#include "tests/protobuf/hand_made.h"
#include "tests/support/failing_memory.h"

static char set[65536];
static size_t set_bytes;
static evener_descriptors *types;
static evener_http_routes *routes;

/* What a step has made, as a text: not allocated, as this must not fail. */
static char made[65536];

static void note(const char *format, ...)
{
    va_list arguments;
    const size_t used = strlen(made);
    va_start(arguments, format);
    vsnprintf(made + used, sizeof made - used, format, arguments);
    va_end(arguments);
}

static void set_up(void)
{
    FILE *file = fopen(SHELF_PROTOSET, "rb");
    cr_assert_not_null(file);
    set_bytes = fread(set, 1, sizeof set, file);
    fclose(file);
    cr_assert_eq(evener_descriptors_create(&types, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_add_set(types, set, set_bytes, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_http_routes_create(types, NULL, &routes, NULL), EVENER_STATUS_OK);
}

static void tear_down(void)
{
    evener_http_routes_destroy(routes);
    evener_descriptors_destroy(types);
}

TestSuite(http_out_of_memory, .init = set_up, .fini = tear_down);

/* Run `step` until none of its allocations fails: at least `failures` times. */
static void fail_each(evener_status_code (*step)(evener_status *status), unsigned failures)
{
    static char whole[sizeof made];
    evener_status status;
    made[0] = '\0';
    cr_assert_eq(step(&status), EVENER_STATUS_OK, "%s", status.message);
    memcpy(whole, made, sizeof whole);
    for (int for_good = 0; for_good < 2; for_good++) {
        unsigned failed = 0;
        bool done = false;
        for (uint64_t i = 1; !done; i++) {
            made[0] = '\0';
            failing_memory_arm(i, for_good != 0);
            const evener_status_code code = step(&status);
            done = failing_memory_disarm() < i;
            if (code == EVENER_STATUS_OK) {
                cr_assert_str_eq(made, whole, "allocation %u", (unsigned)i);
            } else {
                cr_assert_eq(status.code, code, "allocation %u: %s", (unsigned)i, status.message);
                cr_assert_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "allocation %u: %s", (unsigned)i, status.message);
                failed++;
            }
        }
        cr_expect_geq(failed, failures, "allocations that failed");
    }
}

/* ---- types ---- */

static evener_status_code add_types(evener_status *status)
{
    evener_descriptors *own;
    evener_status_code code = evener_descriptors_create(&own, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    size_t count;
    code = evener_descriptors_add_set(own, set, set_bytes, status);
    const evener_file_type *const *files = evener_descriptors_files(own, &count);
    cr_assert_eq(code == EVENER_STATUS_OK, count > 0);
    for (size_t i = 0; i < count; i++) {
        note("%s: %zu messages, %zu services\n", files[i]->name, files[i]->message_count, files[i]->service_count);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_message_type *book = evener_descriptors_message(own, "shelf.Book");
        cr_assert_not_null(book);
        note("%s%s", book->comments.leading, book->fields[0]->comments.trailing);
    }
    evener_descriptors_destroy(own);
    return code;
}

Test(http_out_of_memory, types_are_added_as_a_whole_or_not_at_all)
{
    fail_each(add_types, 10);
}

/* ---- routes ---- */

static evener_status_code create_routes(evener_status *status)
{
    evener_http_routes *own = NULL;
    const evener_status_code code = evener_http_routes_create(types, NULL, &own, status);
    cr_assert_eq(code == EVENER_STATUS_OK, own != NULL);
    if (own != NULL) {
        size_t count;
        const evener_http_route *const *list = evener_http_routes_list(own, &count);
        for (size_t i = 0; i < count; i++) {
            note("%s %s %s %s\n", list[i]->verb, list[i]->path, list[i]->body, list[i]->method->name);
        }
        evener_http_routes_destroy(own);
    }
    return code;
}

Test(http_out_of_memory, routes_are_created_as_a_whole_or_not_at_all)
{
    fail_each(create_routes, 50);
}

static evener_status_code make_document(evener_status *status)
{
    char *yaml = NULL;
    const evener_status_code code = evener_http_routes_openapi(routes, "shelf", &yaml, status);
    cr_assert_eq(code == EVENER_STATUS_OK, yaml != NULL);
    if (yaml != NULL) {
        note("%s", yaml);
        free(yaml);
    }
    return code;
}

Test(http_out_of_memory, openapi_is_the_whole_document_or_an_error)
{
    fail_each(make_document, 50);
}

/* Add a field of an int32, or of the type of that name. */
static void put_field(buffer *b, const char *name, uint32_t number_, const char *type)
{
    const size_t start = begin(b, 2);
    text(b, 1, name);
    number(b, 3, number_);
    number(b, 4, 1);
    number(b, 5, type != NULL ? EVENER_FIELD_MESSAGE : EVENER_FIELD_INT32);
    if (type != NULL) {
        text(b, 6, type);
    }
    evener_wire_close(b, start);
}

/* Add types with names of `length` bytes: a service with a method that is bound to GET, and the fields of its request,
 * one of them a message. */
static void put_long_types(buffer *b, size_t length)
{
    char name[128];
    memset(name, 'n', length);
    name[length] = '\0';
    const size_t in_file = begin(b, 1);
    text(b, 1, "long.proto");
    text(b, 12, "proto3");
    size_t in_message = begin(b, 4);
    text(b, 1, "Q");
    put_field(b, name, 1, ".M");
    name[0] = 'o';
    put_field(b, name, 2, NULL);
    evener_wire_close(b, in_message);
    in_message = begin(b, 4);
    text(b, 1, "M");
    put_field(b, "m", 1, NULL);
    evener_wire_close(b, in_message);
    const size_t in_service = begin(b, 6);
    text(b, 1, name);
    const size_t in_method = begin(b, 2);
    text(b, 1, name);
    text(b, 2, ".Q");
    text(b, 3, ".Q");
    const size_t in_options = begin(b, 4);
    const size_t in_http = begin(b, 72295728);
    text(b, 2, "/q");
    evener_wire_close(b, in_http);
    evener_wire_close(b, in_options);
    evener_wire_close(b, in_method);
    evener_wire_close(b, in_service);
    evener_wire_close(b, in_file);
}

/* Buffers for names grow once they have more than 64 bytes: with the NUL, and with a dot instead of it. */
Test(http_out_of_memory, openapi_with_long_names_is_the_whole_document_or_an_error)
{
    static const size_t lengths[] = {62, 63, 64, 100};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        buffer b = {0};
        put_long_types(&b, lengths[i]);
        tear_down();
        cr_assert_eq(evener_descriptors_create(&types, NULL), EVENER_STATUS_OK);
        cr_assert_eq(evener_descriptors_add_set(types, b.data, b.length, NULL), EVENER_STATUS_OK);
        cr_assert_eq(evener_http_routes_create(types, NULL, &routes, NULL), EVENER_STATUS_OK);
        evener_wire_clear(&b);
        fail_each(make_document, 10);
    }
}

static evener_http_match *match;

static evener_status_code make_request(evener_status *status)
{
    static const char body[] = "{\"title\":\"T\",\"name\":\"of the body\",\"ratings\":{\"a long key\\n\":1}}";
    evener_bytes message = {0};
    const evener_status_code code =
        evener_http_match_request(match, "reason=a+long+reason", body, strlen(body), &message, status);
    if (code == EVENER_STATUS_OK) {
        for (size_t i = 0; i < message.length; i++) {
            note("%02x", message.data[i]);
        }
        evener_bytes_clear(&message);
    }
    return code;
}

Test(http_out_of_memory, a_request_has_all_its_parts_or_fails)
{
    cr_assert_eq(evener_http_routes_find(routes, "PATCH", "/v1/shelves/1/books/2", &match, NULL), EVENER_STATUS_OK);
    fail_each(make_request, 5);
    evener_http_match_destroy(match);
}

static evener_status_code find_route(evener_status *status)
{
    const evener_status_code code = evener_http_routes_find(routes, "SEARCH", "/v1/books", &match, status);
    if (code == EVENER_STATUS_OK) {
        note("%s", evener_http_match_route(match)->method->name);
        evener_http_match_destroy(match);
    }
    return code;
}

Test(http_out_of_memory, no_other_route_takes_the_request)
{
    fail_each(find_route, 2);
}

static evener_status_code make_error(evener_status *status)
{
    static char message[200];
    memset(message, '\n', sizeof message);
    char *json = evener_http_routes_error(routes, EVENER_STATUS_NOT_FOUND, message, sizeof message, NULL, 0);
    if (json == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    note("%s", json);
    free(json);
    return EVENER_STATUS_OK;
}

Test(http_out_of_memory, an_error_is_whole_or_none)
{
    fail_each(make_error, 3);
}
