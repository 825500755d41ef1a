/* Parts of the gRPC transport by themselves: targets and arguments of the core's channels, messages, the metadata of a
 * call, pluck queues; each with memory, and where it matters without. */
#include <criterion/criterion.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>

#include <evener/evener.h>

#include "lb/transport/grpc/args.h"
#include "lb/transport/grpc/bytes.h"
#include "lb/transport/grpc/call_threads.h"
#include "lb/transport/grpc/connection.h"
#include "lb/transport/grpc/core_call.h"
#include "lb/transport/grpc/overdue.h"
#include "lb/transport/grpc/queues.h"
#include "lb/transport/grpc/watcher.h"
#include "tests/support/failing_memory.h"
#include "tests/support/virtual_loop.h"

/* ---- targets ---- */

static evener_address *address_of(const char *text)
{
    evener_status status;
    evener_address *address = NULL;
    (void)evener_address_create(text, NULL, 0, &address, &status);
    return address;
}

static void expect_target(const char *text, const char *target, const char *peer)
{
    evener_address *address = address_of(text);
    cr_assert_not_null(address, "%s", text);
    char *made = evener_grpc_target_of(address), *peer_made = evener_grpc_peer_of(address);
    cr_expect_str_eq(made, target);
    cr_expect_str_eq(peer_made, peer);
    free(made);
    free(peer_made);
    evener_address_unref(address);
}

Test(grpc_targets, name_one_address)
{
    expect_target("127.0.0.1:80", "ipv4:///127.0.0.1:80", "ipv4:127.0.0.1:80");
    expect_target("[2001:db8::1]:443", "ipv6:///[2001:db8::1]:443", "ipv6:[2001:db8::1]:443");
    expect_target("[fe80::1%lo]:80", "ipv6:///[fe80::1%25lo]:80", "ipv6:[fe80::1%lo]:80");
    expect_target("unix:/run/a.sock", "unix:%2Frun/a.sock", "unix:/run/a.sock");
    expect_target("unix-abstract:orders", "unix-abstract:%6Frders", "unix-abstract:orders");
    expect_target("vsock:2:50051", "vsock:2:50051", "vsock:2:50051");
}

Test(grpc_targets, paths_are_encoded_except_unreserved_bytes)
{
    unsigned looked_at = 0;
    for (int c = 1; c < 256; c++) {
        char text[32], expected[32];
        snprintf(text, sizeof text, "unix:/x%cz", c);
        evener_address *address = address_of(text);
        if (address == NULL || strcmp(evener_address_text(address), text) != 0) {
            evener_address_unref(address); /* the address itself has no such byte */
            continue;
        }
        const bool is_plain = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~", c) != NULL;
        snprintf(expected, sizeof expected, is_plain ? "unix:%%2Fx%cz" : "unix:%%2Fx%%%02Xz", c);
        char *made = evener_grpc_target_of(address);
        cr_expect_str_eq(made, expected);
        free(made);
        evener_address_unref(address);
        looked_at++;
    }
    cr_assert_gt(looked_at, 70u, "%u", looked_at);
}

Test(grpc_targets, without_memory_there_is_none)
{
    static const char *const all[] = {"127.0.0.1:80", "[fe80::1%lo]:80", "unix:/run/a.sock", "vsock:2:1"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        evener_address *address = address_of(all[i]);
        failing_memory_arm(1, true);
        char *target = evener_grpc_target_of(address), *peer = evener_grpc_peer_of(address);
        (void)failing_memory_disarm();
        cr_expect_null(target);
        cr_expect_null(peer);
        evener_address_unref(address);
    }
}

/* ---- arguments ---- */

static const grpc_arg *find(const evener_grpc_args *args, const char *key)
{
    const grpc_arg *found = NULL;
    for (size_t i = 0; i < args->count; i++) {
        if (strcmp(args->items[i].key, key) == 0) {
            cr_expect_null(found, "%s twice", key);
            found = &args->items[i];
        }
    }
    return found;
}

static void expect_integer(const evener_grpc_args *args, const char *key, int value)
{
    const grpc_arg *found = find(args, key);
    cr_assert_not_null(found, "%s", key);
    cr_expect(found->type == GRPC_ARG_INTEGER && found->value.integer == value, "%s: %d", key, found->value.integer);
}

static void expect_string(const evener_grpc_args *args, const char *key, const char *value)
{
    const grpc_arg *found = find(args, key);
    cr_assert_not_null(found, "%s", key);
    cr_expect_eq(found->type, GRPC_ARG_STRING);
    cr_expect_str_eq(found->value.string, value);
}

static void no_proxies(void)
{
    unsetenv("no_proxy");
    unsetenv("no_grpc_proxy");
}

TestSuite(grpc_args, .init = no_proxies);

Test(grpc_args, without_options_there_are_the_fixed_ones)
{
    evener_grpc_args args;
    evener_status status;
    const evener_transport_args options = {.size = sizeof options};
    cr_assert_eq(evener_grpc_args_create(&options, &args, &status), EVENER_STATUS_OK);
    cr_expect_eq(args.count, 5);
    expect_integer(&args, GRPC_ARG_ENABLE_RETRIES, 0);
    expect_integer(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    expect_integer(&args, GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX);
    expect_integer(&args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    expect_string(&args, GRPC_ARG_PRIMARY_USER_AGENT_STRING, "evener/" EVENER_VERSION_STRING);
    cr_expect_null(args.proxy_exceptions);
    evener_grpc_args_clear(&args);
    cr_expect(args.items == NULL && args.count == 0);
}

static void fill(evener_transport_args *options)
{
    *options = (evener_transport_args){.size = sizeof *options,
                                       .user_agent = "tests/1",
                                       .keepalive_time_ms = 30000,
                                       .keepalive_timeout_ms = UINT64_MAX,
                                       .keepalive_permit_without_calls = true,
                                       .ignore_http_proxy = true,
                                       .header_list_bytes_max = 9000,
                                       .receive_bytes_max = 5000};
}

Test(grpc_args, options_become_arguments)
{
    evener_grpc_args args;
    evener_status status;
    evener_transport_args options;
    fill(&options);
    setenv("no_proxy", "orders.test", 1);
    cr_assert_eq(evener_grpc_args_create(&options, &args, &status), EVENER_STATUS_OK);
    cr_expect_eq(args.count, 12);
    expect_string(&args, GRPC_ARG_PRIMARY_USER_AGENT_STRING, "tests/1");
    expect_integer(&args, GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
    expect_integer(&args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, INT_MAX); /* as large as it gets */
    expect_integer(&args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    expect_integer(&args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    expect_integer(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    expect_integer(&args, GRPC_ARG_MAX_METADATA_SIZE, 9000);
    expect_integer(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, 5000);
    cr_expect_str_eq(args.proxy_exceptions, "orders.test");
    evener_grpc_args_clear(&args);
}

Test(grpc_args, of_an_excepted_target_there_is_no_proxy)
{
    evener_grpc_args args;
    evener_status status;
    evener_transport_args options = {.size = sizeof options, .target = "dns:///orders.test:443"};
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "orders.test", 1);
    cr_assert_eq(evener_grpc_args_create(&options, &args, &status), EVENER_STATUS_OK);
    expect_integer(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    evener_grpc_args_clear(&args);
    options.target = "dns:///payments.test:443";
    cr_assert_eq(evener_grpc_args_create(&options, &args, &status), EVENER_STATUS_OK);
    cr_expect_not(evener_grpc_args_has(&args, GRPC_ARG_ENABLE_HTTP_PROXY));
    evener_grpc_args_clear(&args);
}

static int copies;

static void *copy_pointer(void *pointer)
{
    copies++;
    return pointer;
}

static void destroy_pointer(void *pointer)
{
    (void)pointer;
    copies--;
}

static int compare_pointers(void *one, void *other)
{
    return one == other ? 0 : 1;
}

static const grpc_arg_pointer_vtable pointers = {copy_pointer, destroy_pointer, compare_pointers};

#define USERS 6

static void fill_users(grpc_arg users[USERS])
{
    static char a_key[] = "tests.a", a_value[] = "a", b_key[] = "tests.b", c_key[] = "tests.c";
    static char agent_key[] = GRPC_ARG_PRIMARY_USER_AGENT_STRING, agent[] = "users/1";
    static char retries[] = GRPC_ARG_ENABLE_RETRIES, backoff[] = GRPC_ARG_MAX_RECONNECT_BACKOFF_MS;
    users[0] = (grpc_arg){.type = GRPC_ARG_STRING, .key = a_key, .value.string = a_value};
    users[1] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = b_key, .value.integer = 7};
    users[2] = (grpc_arg){.type = GRPC_ARG_POINTER, .key = c_key, .value.pointer = {users, &pointers}};
    users[3] = (grpc_arg){.type = GRPC_ARG_STRING, .key = agent_key, .value.string = agent};
    users[4] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = retries, .value.integer = 1};
    users[5] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = backoff, .value.integer = 1};
}

Test(grpc_args, the_users_are_copied_except_those_that_connections_depend_on)
{
    grpc_arg users[USERS];
    fill_users(users);
    const grpc_channel_args given = {.num_args = USERS, .args = users};
    const evener_transport_args options = {.size = sizeof options, .grpc_args = &given};
    evener_grpc_args args;
    evener_status status;
    cr_assert_eq(evener_grpc_args_create(&options, &args, &status), EVENER_STATUS_OK);
    cr_expect_eq(args.count, 8);
    expect_string(&args, "tests.a", "a");
    cr_expect_neq(find(&args, "tests.a")->value.string, users[0].value.string);
    expect_integer(&args, "tests.b", 7);
    cr_expect_eq(copies, 1);
    expect_string(&args, GRPC_ARG_PRIMARY_USER_AGENT_STRING, "users/1");
    expect_integer(&args, GRPC_ARG_ENABLE_RETRIES, 0);
    cr_expect_not(evener_grpc_args_has(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS));
    evener_grpc_args_clear(&args);
    cr_expect_eq(copies, 0);
}

Test(grpc_args, what_has_no_key_or_value_is_named)
{
    static const struct {
        size_t place;
        bool without_key;
        const char *message;
    } all[] = {{0, true, "grpc_args[0] has no key"},
               {0, false, "grpc_args[0] has no value (or a pointer without its vtable)"},
               {2, false, "grpc_args[2] has no value (or a pointer without its vtable)"},
               {3, true, "grpc_args[3] has no key"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        grpc_arg users[USERS];
        fill_users(users);
        grpc_arg *bad = &users[all[i].place];
        if (all[i].without_key) {
            bad->key = NULL;
        } else if (bad->type == GRPC_ARG_STRING) {
            bad->value.string = NULL;
        } else {
            bad->value.pointer.vtable = NULL;
        }
        const grpc_channel_args given = {.num_args = USERS, .args = users};
        const evener_transport_args options = {.size = sizeof options, .grpc_args = &given};
        evener_grpc_args args = {.count = 99};
        evener_status status;
        cr_expect_eq(evener_grpc_args_create(&options, &args, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(status.message, all[i].message);
        cr_expect_eq(args.count, 99);
        cr_expect_eq(copies, 0);
    }
}

Test(grpc_args, each_allocation_may_fail)
{
    grpc_arg users[USERS];
    fill_users(users);
    const grpc_channel_args given = {.num_args = USERS, .args = users};
    evener_transport_args options;
    fill(&options);
    options.grpc_args = &given;
    setenv("no_proxy", "orders.test", 1);
    evener_status_code code = EVENER_STATUS_UNKNOWN;
    uint64_t failures = 0;
    while (code != EVENER_STATUS_OK) {
        evener_grpc_args args;
        evener_status status;
        failing_memory_arm(failures + 1, false);
        code = evener_grpc_args_create(&options, &args, &status);
        (void)failing_memory_disarm();
        if (code == EVENER_STATUS_OK) {
            evener_grpc_args_clear(&args);
        } else {
            cr_assert_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED);
            cr_expect_str_eq(status.message, "grpc_args: out of memory");
            failures++;
        }
        cr_assert_eq(copies, 0, "after %u", (unsigned)failures);
    }
    cr_assert_gt(failures, 16u);
}

/* ---- messages ---- */

TestSuite(grpc_bytes, .init = grpc_init, .fini = grpc_shutdown);

static grpc_byte_buffer *buffer_of(const char *first, const char *second)
{
    grpc_slice slices[] = {grpc_slice_from_copied_string(first), grpc_slice_from_copied_string(second)};
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, second[0] != '\0' ? 2 : 1);
    grpc_slice_unref(slices[0]);
    grpc_slice_unref(slices[1]);
    return buffer;
}

Test(grpc_bytes, a_message_is_received_whole)
{
    static const char longer[] = "longer than what a slice of the core holds inside itself: it has memory of its own";
    const char *const parts[][2] = {{"short", ""}, {longer, ""}, {"in two ", "parts"}, {longer, longer}, {"", ""}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char expected[256];
        evener_bytes bytes;
        snprintf(expected, sizeof expected, "%s%s", parts[i][0], parts[i][1]);
        cr_expect(evener_grpc_bytes_receive(buffer_of(parts[i][0], parts[i][1]), &bytes));
        cr_expect_eq(bytes.length, strlen(expected));
        cr_assert_not_null(bytes.data);
        cr_expect_eq(memcmp(bytes.data, expected, bytes.length), 0);
        cr_expect_eq(bytes.owner != NULL, bytes.length > 0);
        evener_bytes_clear(&bytes);
    }
    evener_bytes none = {0};
    cr_expect(evener_grpc_bytes_receive(NULL, &none));
    cr_expect(none.data != NULL && none.length == 0 && none.owner == NULL);
}

Test(grpc_bytes, without_memory_a_message_is_lost)
{
    evener_bytes bytes;
    grpc_byte_buffer *buffer = buffer_of("lost", "");
    failing_memory_arm(1, true);
    cr_expect_not(evener_grpc_bytes_receive(buffer, &bytes));
    cr_expect_eq(failing_memory_disarm(), 1);
    cr_expect(bytes.data != NULL && bytes.length == 0 && bytes.owner == NULL);
}

Test(grpc_bytes, a_long_owned_message_is_not_copied)
{
    for (size_t length = 63; length <= 66; length++) {
        evener_bytes owned;
        uint8_t *to = evener_bytes_create(length, &owned);
        memset(to, 'x', length);
        const evener_bytes borrowed = {.data = to, .length = length};
        grpc_slice of_owned = evener_grpc_bytes_to_slice(&owned), of_borrowed = evener_grpc_bytes_to_slice(&borrowed);
        cr_expect_eq(GRPC_SLICE_LENGTH(of_owned), length);
        cr_expect_eq(GRPC_SLICE_START_PTR(of_owned) == to, length > 64, "%zu", length);
        cr_expect_neq(GRPC_SLICE_START_PTR(of_borrowed), to);
        evener_bytes_clear(&owned); /* the slice holds what it needs */
        cr_expect_eq(GRPC_SLICE_START_PTR(of_owned)[length - 1], 'x');
        grpc_slice_unref(of_owned);
        grpc_slice_unref(of_borrowed);
    }
    const evener_bytes empty = {.data = (const uint8_t *)"", .length = 0};
    cr_expect_eq(GRPC_SLICE_LENGTH(evener_grpc_bytes_to_slice(&empty)), 0);
    cr_expect_eq(GRPC_SLICE_LENGTH(evener_grpc_bytes_to_slice(NULL)), 0);
}

/* ---- the metadata of a call ---- */

static virtual_loop *loop;
static evener_connection connection;
static grpc_completion_queue *queue;

static grpc_channel *channel_to_nobody(void)
{
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create("ipv4:127.0.0.1:1", credentials, NULL);
    grpc_channel_credentials_release(credentials);
    return channel;
}

static void open_connection(void)
{
    grpc_init();
    loop = virtual_loop_create(1);
    connection.channel = channel_to_nobody();
    connection.loop = virtual_loop_loop(loop);
    atomic_store(&connection.use, 1000 * EVENER_GRPC_USE_REFERENCE);
    queue = grpc_completion_queue_create_for_pluck(NULL);
}

static void close_connection(void)
{
    cr_expect_eq(atomic_load(&connection.use), 1000 * EVENER_GRPC_USE_REFERENCE);
    cr_expect_eq(atomic_load(&connection.calls), 0);
    grpc_channel_destroy(connection.channel);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    virtual_loop_destroy(loop);
    grpc_shutdown();
}

TestSuite(grpc_core_call, .init = open_connection, .fini = close_connection);

static evener_grpc_core_call *make_call(const evener_call_begin_args *args, evener_status *status)
{
    evener_grpc_core_call *call = NULL;
    const evener_status_code code = evener_grpc_core_call_create(&connection, queue, args, &call, status);
    cr_assert_eq(code == EVENER_STATUS_OK, call != NULL);
    return call;
}

static void expect_entry(const evener_grpc_core_call *call, size_t index, const char *key, const char *value)
{
    cr_assert_lt(index, call->metadata_count);
    cr_expect_eq(grpc_slice_str_cmp(call->metadata[index].key, key), 0, "%zu: %s", index, key);
    cr_expect_eq(grpc_slice_str_cmp(call->metadata[index].value, value), 0, "%zu: %s", index, value);
}

Test(grpc_core_call, has_the_metadata_compression_and_previous_attempts)
{
    static const evener_metadata all[] = {{"x-a", "1", 1}, {"x-b", "", 0}, {"x-c-bin", "\1\2", 2}, {"x-d", "4", 1}};
    for (size_t count = 0; count <= sizeof all / sizeof *all; count++) {
        evener_status status;
        evener_call_begin_args args = {.size = sizeof args,
                                       .method = "/a.B/C",
                                       .metadata = all,
                                       .metadata_count = count,
                                       .deadline_ns = UINT64_MAX,
                                       .compression = EVENER_COMPRESSION_DEFLATE,
                                       .previous_attempts = 4294967295u};
        evener_grpc_core_call *call = make_call(&args, &status);
        cr_assert_eq(call->metadata_count, count + 2);
        cr_expect_eq(call->metadata == call->inlined, count + 2 <= EVENER_GRPC_METADATA_INLINE);
        for (size_t i = 0; i < count && i != 2; i++) {
            expect_entry(call, i, all[i].key, all[i].value);
        }
        expect_entry(call, count, GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY, "deflate");
        expect_entry(call, count + 1, "grpc-previous-rpc-attempts", "4294967295");
        cr_expect_eq(atomic_load(&connection.calls), 1);
        evener_grpc_core_call_unref(call);
        args.compression = EVENER_COMPRESSION_GZIP;
        args.previous_attempts = 1;
        call = make_call(&args, &status);
        expect_entry(call, count, GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY, "gzip");
        expect_entry(call, count + 1, "grpc-previous-rpc-attempts", "1");
        evener_grpc_core_call_unref(call);
        args.compression = EVENER_COMPRESSION_NONE;
        args.previous_attempts = 0;
        call = make_call(&args, &status);
        cr_expect_eq(call->metadata_count, count);
        evener_grpc_core_call_unref(call);
    }
}

Test(grpc_core_call, each_allocation_may_fail)
{
    static const evener_metadata all[] = {{"x-a", "1", 1}, {"x-b", "2", 1}, {"x-c", "3", 1}, {"x-d", "4", 1}};
    const evener_call_begin_args args = {
        .size = sizeof args, .method = "/a.B/C", .metadata = all, .metadata_count = 4, .deadline_ns = UINT64_MAX};
    evener_status status;
    evener_grpc_core_call *call = NULL;
    uint64_t failures = 0;
    while (call == NULL) {
        failing_memory_arm(failures + 1, false);
        call = make_call(&args, &status);
        (void)failing_memory_disarm();
        if (call == NULL) {
            cr_assert_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
            cr_assert_eq(atomic_load(&connection.calls), 0);
            failures++;
        }
    }
    cr_assert_eq(failures, 2, "the call, and the room for its metadata");
    evener_grpc_core_call_unref(call);
}

Test(grpc_core_call, metadata_that_cannot_be_sent_is_named)
{
    static const struct {
        evener_metadata entry;
        const char *message;
    } all[] = {{{"Upper", "1", 1}, "metadata key \"Upper\": keys are lower-case"},
               {{"grpc-timeout", "1n", 2}, "metadata key \"grpc-timeout\" is reserved"},
               {{"x-a", "\n", 1}, "metadata value of \"x-a\": printable ASCII"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const evener_metadata both[] = {{"x-good-bin", "\n", 1}, all[i].entry};
        const evener_call_begin_args args = {
            .size = sizeof args, .method = "/a.B/C", .metadata = both, .metadata_count = 2, .deadline_ns = UINT64_MAX};
        evener_status status;
        cr_assert_null(make_call(&args, &status));
        cr_expect_eq(status.code, EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_not_null(strstr(status.message, all[i].message), "%s", status.message);
    }
}

static unsigned headers_seen, entries_seen;

static void on_headers(evener_transport_call *base, const evener_metadata *entries, size_t count)
{
    static const char *const all[][2] = {{"x-a", "first value"}, {"x-empty", ""}, {"x-c-bin", "\1\2"}};
    (void)base;
    headers_seen++;
    entries_seen = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        cr_expect_str_eq(entries[i].key, all[i][0]);
        cr_expect_str_eq(entries[i].value, all[i][1], "NUL follows");
        cr_expect_eq(entries[i].value_bytes, strlen(all[i][1]));
    }
}

static grpc_metadata entry_of(const char *key, const char *value)
{
    return (grpc_metadata){.key = grpc_slice_from_static_string(key), .value = grpc_slice_from_static_string(value)};
}

Test(grpc_core_call, headers_are_given_to_who_wants_them)
{
    static const evener_call_events with = {.size = sizeof with, .headers = on_headers},
                                    without = {.size = sizeof with};
    const evener_call_begin_args args = {
        .size = sizeof args, .events = &with, .method = "/a.B/C", .deadline_ns = UINT64_MAX, .wants_metadata = true};
    evener_transport_call owner = {0};
    evener_status status;
    evener_grpc_core_call *call = make_call(&args, &status);
    evener_grpc_core_call_deliver_headers(call);
    cr_expect_eq(headers_seen, 0, "nobody is there");
    call->owner = &owner;
    evener_grpc_core_call_deliver_headers(call);
    cr_expect(headers_seen == 1 && entries_seen == 0);
    call->initial_metadata.metadata = gpr_malloc(3 * sizeof *call->initial_metadata.metadata);
    call->initial_metadata.count = call->initial_metadata.capacity = 3;
    call->initial_metadata.metadata[0] = entry_of("x-a", "first value");
    call->initial_metadata.metadata[1] = entry_of("x-empty", "");
    call->initial_metadata.metadata[2] = entry_of("x-c-bin", "\1\2");
    evener_grpc_core_call_deliver_headers(call);
    cr_expect(headers_seen == 2 && entries_seen == 3);
    failing_memory_arm(1, true);
    evener_grpc_core_call_deliver_headers(call);
    (void)failing_memory_disarm();
    cr_expect(headers_seen == 3 && entries_seen == 0, "without memory there are none");
    call->wants_metadata = false;
    evener_grpc_core_call_deliver_headers(call);
    call->wants_metadata = true;
    call->events = &without;
    evener_grpc_core_call_deliver_headers(call);
    cr_expect_eq(headers_seen, 3);
    call->owner = NULL;
    evener_grpc_core_call_unref(call);
}

static evener_status_code ended_code;
static char ended_message[64];
static size_t ended_bytes;

static void on_ended(evener_transport_call *base, const evener_call_end *end)
{
    (void)base;
    ended_code = end->code;
    snprintf(ended_message, sizeof ended_message, "%.*s", (int)end->message_bytes, end->message);
    ended_bytes = end->response != NULL ? end->response->length : 0;
    cr_expect(end->code == EVENER_STATUS_OK || end->fate == EVENER_FATE_PERHAPS_PROCESSED);
}

/* A response is the server's, or none. */
Test(grpc_core_call, a_response_without_memory_is_a_failure)
{
    static const evener_call_events events = {.size = sizeof events, .ended = on_ended};
    static evener_grpc_engine engine;
    const evener_call_begin_args args = {
        .size = sizeof args, .events = &events, .method = "/a.B/C", .unary = true, .deadline_ns = UINT64_MAX};
    connection.engine = &engine;
    for (uint64_t fail_at = 0; fail_at <= 1; fail_at++) {
        evener_transport_call owner = {0};
        evener_status status;
        evener_grpc_core_call *call = make_call(&args, &status);
        call->owner = &owner;
        call->code = GRPC_STATUS_OK;
        call->response = buffer_of("answer", "");
        failing_memory_arm(fail_at, false);
        evener_grpc_core_call_deliver_end(call);
        (void)failing_memory_disarm();
        cr_expect_eq(ended_code, fail_at == 0 ? EVENER_STATUS_OK : EVENER_STATUS_RESOURCE_EXHAUSTED);
        cr_expect_str_eq(ended_message, fail_at == 0 ? "" : "out of memory for a received message");
        cr_expect_eq(ended_bytes, fail_at == 0 ? strlen("answer") : 0);
        evener_grpc_core_call_unref(call);
    }
    connection.engine = NULL;
}

/* Of a stream the message comes before the status, which may be OK already. */
Test(grpc_core_call, a_message_of_a_stream_without_memory_is_a_failure)
{
    static const evener_call_events events = {.size = sizeof events, .ended = on_ended};
    static evener_grpc_engine engine;
    const evener_call_begin_args args = {
        .size = sizeof args, .events = &events, .method = "/a.B/C", .deadline_ns = UINT64_MAX, .receive_bytes_max = 10};
    connection.engine = &engine;
    evener_transport_call owner = {0};
    evener_status status;
    evener_bytes message;
    evener_grpc_core_call *call = make_call(&args, &status);
    call->owner = &owner;
    call->code = GRPC_STATUS_OK;
    cr_expect(evener_grpc_core_call_take_message(call, buffer_of("", ""), &message), "an empty one needs none");
    cr_expect(evener_grpc_core_call_take_message(call, buffer_of("message", ""), &message));
    evener_bytes_clear(&message);
    grpc_byte_buffer *buffer = buffer_of("message", "");
    failing_memory_arm(1, false);
    cr_expect_not(evener_grpc_core_call_take_message(call, buffer, &message));
    (void)failing_memory_disarm();
    evener_grpc_core_call_deliver_end(call);
    cr_expect_eq(ended_code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(ended_message, "out of memory for a received message");
    evener_grpc_core_call_unref(call);
    connection.engine = NULL;
}

/* ---- pluck queues ---- */

TestSuite(grpc_queues, .init = grpc_init, .fini = grpc_shutdown, .timeout = 60);

static bool is_usable(grpc_completion_queue *plucked)
{
    int tag;
    return grpc_completion_queue_pluck(plucked, &tag, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL).type ==
           GRPC_QUEUE_TIMEOUT;
}

/* Often enough for the memory of one to become that of the next. */
#define ROUNDS 100

Test(grpc_queues, a_thread_forgets_its_queue_with_their_end)
{
    for (int i = 0; i < ROUNDS; i++) {
        evener_status status;
        evener_grpc_queues *queues = evener_grpc_queues_create(&status);
        grpc_completion_queue *first = evener_grpc_queues_of_thread(queues);
        cr_assert(is_usable(first));
        cr_assert_eq(evener_grpc_queues_of_thread(queues), first);
        evener_grpc_queues_destroy(queues);
    }
}

Test(grpc_queues, a_thread_that_changes_them_gives_its_queue_back)
{
    evener_status status;
    evener_grpc_queues *both[] = {evener_grpc_queues_create(&status), evener_grpc_queues_create(&status)};
    grpc_completion_queue *firsts[] = {evener_grpc_queues_of_thread(both[0]), evener_grpc_queues_of_thread(both[1])};
    cr_assert_neq(firsts[0], firsts[1]);
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_eq(evener_grpc_queues_of_thread(both[i % 2]), firsts[i % 2]);
    }
    evener_grpc_queues_destroy(both[0]);
    evener_grpc_queues_destroy(both[1]);
}

static unsigned completions[3];

static void completed(void *tag)
{
    completions[(unsigned *)tag - completions]++;
}

/* An operation that ends at once, or with the channel. */
static void begin_operation(grpc_channel *channel, grpc_completion_queue *on, unsigned *tag, bool ends_at_once)
{
    grpc_channel_watch_connectivity_state(
        channel, GRPC_CHANNEL_IDLE,
        ends_at_once ? gpr_inf_past(GPR_CLOCK_MONOTONIC) : gpr_inf_future(GPR_CLOCK_MONOTONIC), on, tag);
}

Test(grpc_queues, a_sweep_takes_what_has_completed_and_passes_over_the_rest)
{
    evener_status status;
    evener_grpc_queues *queues = evener_grpc_queues_create(&status);
    grpc_channel *channel = channel_to_nobody();
    grpc_completion_queue *own = evener_grpc_queues_of_thread(queues);
    evener_grpc_queues_sweep(queues);
    begin_operation(channel, own, &completions[0], false);
    begin_operation(channel, own, &completions[1], true);
    begin_operation(channel, own, &completions[2], false);
    for (unsigned i = 0; i < 3; i++) {
        evener_grpc_queues_abandon(queues, own, &completions[i], completed);
    }
    while (completions[1] == 0) { /* the core's timer ends it; the suite's timeout ends this */
        evener_grpc_queues_sweep(queues);
    }
    cr_assert(completions[0] == 0 && completions[1] == 1 && completions[2] == 0);
    grpc_channel_destroy(channel);
    evener_grpc_queues_drain(queues);
    cr_assert(completions[0] == 1 && completions[1] == 1 && completions[2] == 1);
    evener_grpc_queues_destroy(queues);
}

Test(grpc_queues, without_memory_the_operation_is_waited_for)
{
    evener_status status;
    evener_grpc_queues *queues = evener_grpc_queues_create(&status);
    grpc_channel *channel = channel_to_nobody();
    grpc_completion_queue *own = evener_grpc_queues_of_thread(queues);
    begin_operation(channel, own, &completions[0], true);
    failing_memory_arm(1, false);
    evener_grpc_queues_abandon(queues, own, &completions[0], completed);
    (void)failing_memory_disarm();
    cr_assert_eq(completions[0], 1);
    grpc_channel_destroy(channel);
    evener_grpc_queues_destroy(queues);
}

Test(grpc_queues, without_memory_there_is_none)
{
    evener_status status;
    evener_grpc_queues *queues = evener_grpc_queues_create(&status);
    failing_memory_arm(1, true);
    cr_expect_null(evener_grpc_queues_of_thread(queues));
    evener_status_clear(&status);
    cr_expect_null(evener_grpc_queues_create(&status));
    (void)failing_memory_disarm();
    cr_expect_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_expect(is_usable(evener_grpc_queues_of_thread(queues)), "later there is");
    evener_grpc_queues_destroy(queues);
}

/* ---- life ---- */

Test(grpc_life, what_was_not_made_is_destroyed_all_the_same)
{
    evener_grpc_overdue_destroy(NULL);
    evener_grpc_call_threads_destroy(NULL);
    evener_grpc_queues_destroy(NULL);
    evener_grpc_watcher_destroy(NULL);
}

Test(grpc_life, without_memory_nothing_is_made)
{
    evener_status status;
    failing_memory_arm(1, true);
    evener_status_clear(&status);
    cr_expect_null(evener_grpc_overdue_create(&status));
    cr_expect_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    evener_status_clear(&status);
    cr_expect_null(evener_grpc_call_threads_create(NULL, NULL, &status));
    cr_expect_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    evener_status_clear(&status);
    cr_expect_null(evener_grpc_watcher_create(&status));
    cr_expect_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    (void)failing_memory_disarm();
}
