/* The text of a saved list: exactly what is written, and what is refused although its checksum is good. */
#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/channel/saved_list.h"
#include "lb/policy/xxh64.h"

#define HEAD "evener-list 1\ntime 1234\n"
#define LIST HEAD "target x\n"

/* Read a text, with the checksum that belongs to it. */
static evener_status_code parse(const char *text, evener_saved_list *list, evener_status *status)
{
    const size_t bytes = strlen(text);
    char *whole = malloc(bytes + 32);
    const int used = snprintf(whole, bytes + 32, "%schecksum %016" PRIx64 "\n", text, evener_xxh64(text, bytes, 0));
    *list = (evener_saved_list){0};
    const evener_status_code code = evener_saved_list_parse(whole, (size_t)used, list, status);
    free(whole);
    return code;
}

static void expect_refused(const char *text, const char *reason)
{
    evener_saved_list list;
    evener_status status;
    cr_expect_eq(parse(text, &list, &status), EVENER_STATUS_INVALID_ARGUMENT, "%.200s", text);
    cr_expect_not_null(strstr(status.message, reason), "%.200s: \"%s\" does not say \"%s\"", text, status.message,
                       reason);
    cr_expect(list.addresses == NULL && list.target == NULL && list.service_config == NULL && list.count == 0);
}

static void expect_target(const char *text, const char *target)
{
    evener_saved_list list;
    evener_status status;
    cr_assert_eq(parse(text, &list, &status), EVENER_STATUS_OK, "%s: %s", text, status.message);
    cr_expect_str_eq(list.target, target);
    evener_saved_list_clear(&list);
}

Test(saved_list_text, is_exactly_this)
{
    const evener_attribute attributes[] = {{"zone", "a=b"}, {"\x7f", "~!\x1f "}};
    evener_address *addresses[2];
    evener_status status;
    cr_assert_eq(evener_address_create("10.0.0.1:80", attributes, 2, &addresses[0], &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_address_create("unix:/a b", NULL, 0, &addresses[1], &status), EVENER_STATUS_OK);
    const evener_saved_list list = {
        .time_ms = 1234, .target = "dns:///100%\xff\x80", .service_config = "{ }", .addresses = addresses, .count = 2};
    char *text = NULL;
    size_t bytes;
    uint64_t content;
    cr_assert(evener_saved_list_encode(&list, &text, &bytes, &content));
    char wanted[512];
    const char *body = "target dns:///100%25%ff%80\nservice_config {%20}\n"
                       "address 10.0.0.1:80 zone=a%3db %7f=~!%1f%20\naddress unix:/a%20b\n";
    int used = snprintf(wanted, sizeof wanted, HEAD "%s", body);
    used += snprintf(wanted + used, sizeof wanted - (size_t)used, "checksum %016" PRIx64 "\n",
                     evener_xxh64(wanted, (size_t)used, 0));
    cr_expect_eq(bytes, (size_t)used);
    cr_expect(memcmp(text, wanted, bytes) == 0, "%.*s", (int)bytes, text);
    cr_expect_eq(content, evener_xxh64(body, strlen(body), 0), "all between the time and the checksum");
    free(text);
    evener_address_unref(addresses[0]);
    evener_address_unref(addresses[1]);
}

Test(saved_list_text, any_byte_comes_back)
{
    char target[256];
    for (int i = 1; i < 256; i++) {
        target[i - 1] = (char)i;
    }
    target[255] = '\0';
    const evener_saved_list list = {.time_ms = UINT64_MAX, .target = target};
    char *text = NULL;
    size_t bytes;
    uint64_t content;
    cr_assert(evener_saved_list_encode(&list, &text, &bytes, &content));
    evener_saved_list read = {0};
    evener_status status;
    cr_assert_eq(evener_saved_list_parse(text, bytes, &read, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(read.target, target);
    cr_expect_eq(read.time_ms, UINT64_MAX);
    cr_expect_null(read.service_config);
    cr_expect_eq(read.count, 0);
    free(text);
    evener_saved_list_clear(&read);
}

Test(saved_list_text, escapes_are_two_digits_and_never_a_nul)
{
    expect_target(HEAD "target %30%39%61%66%0f%f0%9a\n", "09af\x0f\xf0\x9a");
    expect_target(HEAD "target a%01\n", "a\x01");
    expect_target(HEAD "target \n", "");
    static const char *const bad[] = {"%00", "%",   "%4",  "a%",  "%/0", "%:0", "%`0", "%g0",
                                      "%0/", "%0:", "%0`", "%0g", "%A0", "%0A", "%%41"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, HEAD "target %s\n", bad[i]);
        expect_refused(text, "line 3: cannot be read");
    }
}

Test(saved_list_text, each_line_has_its_form)
{
    expect_target(LIST, "x");
    expect_target("evener-list 1\ntime 0\ntarget x\n", "x");
    expect_target("evener-list 1\ntime 99\ntarget x\n", "x");
    expect_refused("", "no list of this version");
    expect_refused("evener-list 2\ntime 1234\ntarget x\n", "line 1: is no list of this version");
    expect_refused("evener-list 1", "no list of this version");
    expect_refused("evener-list 1\n", "the time is needed");
    static const char *const times[] = {"time",    "time ",   "time /", "time :", "time -1",
                                        "time 1x", "time  1", "tim 1",  "times 1"};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "evener-list 1\n%s\ntarget x\n", times[i]);
        expect_refused(text, "line 2: the time is needed");
    }
    expect_refused(HEAD, "the target is missing");
    expect_refused(HEAD "address 10.0.0.1:1\n", "the target is missing");
    expect_refused(LIST "target x\n", "line 4: is there twice");
    expect_refused(LIST "service_config {}\nservice_config {}\n", "line 5: is there twice");
    expect_refused(LIST "service_config %\n", "line 4: cannot be read");
    expect_refused(LIST "addresses 10.0.0.1:1\n", "line 4: is unknown");
    expect_refused(LIST "address\n", "line 4: is unknown");
    expect_refused(LIST "\n", "line 4: is unknown");
    expect_refused(LIST "address 10.0.0.1:1", "has no end");
}

Test(saved_list_text, an_address_has_its_form)
{
    expect_refused(LIST "address \n", "line 4: an address is needed");
    expect_refused(LIST "address %zz\n", "line 4: an address is needed");
    expect_refused(LIST "address 10.0.0.1:1 zone\n", "line 4: an attribute has no value");
    expect_refused(LIST "address 10.0.0.1:1 %=a\n", "line 4: an attribute cannot be read");
    expect_refused(LIST "address 10.0.0.1:1 a=%\n", "line 4: an attribute cannot be read");
    expect_refused(LIST "address 10.0.0.1:1\naddress 10.0.0.1\n", "line 5: ");
    evener_saved_list list;
    evener_status status;
    cr_assert_eq(parse(LIST "address 10.0.0.1:1 a=b=c  d=\n", &list, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(list.count, 1);
    cr_assert_eq(evener_address_attribute_count(list.addresses[0]), 2);
    cr_expect_str_eq(evener_address_attribute_at(list.addresses[0], 0).value, "b=c");
    cr_expect_str_eq(evener_address_attribute_at(list.addresses[0], 1).value, "");
    evener_saved_list_clear(&list);
}

Test(saved_list_text, limits_are_those_of_a_list)
{
    evener_saved_list list;
    evener_status status;
    char text[4096] = LIST "address 10.0.0.1:1";
    for (int i = 0; i < EVENER_ADDRESS_ATTRIBUTES_MAX; i++) {
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), " a%d=%d", i, i);
    }
    strcat(text, "\n");
    cr_assert_eq(parse(text, &list, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(evener_address_attribute_count(list.addresses[0]), EVENER_ADDRESS_ATTRIBUTES_MAX);
    evener_saved_list_clear(&list);
    text[strlen(text) - 1] = '\0';
    strcat(text, " b=c\n");
    expect_refused(text, "line 4: too many attributes");

    const size_t largest = (size_t)16 * 1024 * 1024, before = strlen(LIST "service_config ");
    char *big = malloc(before + largest + 3);
    memcpy(big, LIST "service_config ", before);
    memset(big + before, 'a', largest + 1);
    memcpy(big + before + largest, "\n", 2);
    cr_assert_eq(parse(big, &list, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(strlen(list.service_config), largest);
    evener_saved_list_clear(&list);
    memcpy(big + before + largest, "a\n", 3);
    expect_refused(big, "line 4: the service config is too long");
    free(big);
}
