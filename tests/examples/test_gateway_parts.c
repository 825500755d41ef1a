/* The gateway between a server of HTTP and backends that are fakes, in one thread: what it makes of headers, of long
 * messages, and of memory that fails. The functions of libmicrohttpd that it calls are this file's. */
#include <criterion/criterion.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <evener/descriptors.h>

#include "examples/gateway/gateway.h"
#include "tests/support/channel_fixture.h"
#include "tests/support/failing_memory.h"

/* ---- a server of HTTP with one connection ---- */

#define HEADERS_MAX 4

struct MHD_Connection {
    const char *names[HEADERS_MAX]; /* of the request */
    const char *values[HEADERS_MAX];
    size_t header_count;
    bool suspended;
    unsigned status; /* of the answer; 0: there is none */
    char body[4096];
};

struct MHD_Response {
    char *text;
    size_t bytes;
    bool is_own;
};

struct MHD_Daemon {
    MHD_AccessHandlerCallback handle;
    void *(*begin)(void *arg, const char *target, struct MHD_Connection *connection);
    MHD_RequestCompletedCallback completed;
    void *arg; /* of all three */
};

static struct MHD_Daemon http;

struct MHD_Daemon *MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accepts, void *accepts_arg,
                                    MHD_AccessHandlerCallback handle, void *arg, ...)
{
    (void)flags, (void)port, (void)accepts, (void)accepts_arg;
    http = (struct MHD_Daemon){.handle = handle, .arg = arg};
    va_list options;
    va_start(options, arg);
    for (unsigned option; (option = va_arg(options, unsigned)) != MHD_OPTION_END;) {
        switch (option) {
        case MHD_OPTION_URI_LOG_CALLBACK:
            http.begin = va_arg(options, void *(*)(void *, const char *, struct MHD_Connection *));
            (void)va_arg(options, void *);
            break;
        case MHD_OPTION_NOTIFY_COMPLETED:
            http.completed = va_arg(options, MHD_RequestCompletedCallback);
            (void)va_arg(options, void *);
            break;
        case MHD_OPTION_EXTERNAL_LOGGER:
        case MHD_OPTION_UNESCAPE_CALLBACK:
            (void)va_arg(options, void (*)(void));
            (void)va_arg(options, void *);
            break;
        case MHD_OPTION_SOCK_ADDR:
        case MHD_OPTION_ARRAY:
            (void)va_arg(options, void *);
            break;
        case MHD_OPTION_CONNECTION_MEMORY_LIMIT:
            (void)va_arg(options, size_t);
            break;
        default:
            (void)va_arg(options, unsigned);
        }
    }
    va_end(options);
    return &http;
}

void MHD_stop_daemon(struct MHD_Daemon *stopped)
{
    (void)stopped;
}

const union MHD_DaemonInfo *MHD_get_daemon_info(struct MHD_Daemon *of, enum MHD_DaemonInfoType type, ...)
{
    (void)of, (void)type;
    return NULL;
}

enum MHD_Result MHD_is_feature_supported(enum MHD_FEATURE feature)
{
    (void)feature;
    return MHD_NO;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *key)
{
    cr_assert_eq(kind, MHD_HEADER_KIND);
    for (size_t i = 0; i < connection->header_count; i++) {
        if (strcasecmp(connection->names[i], key) == 0) {
            return connection->values[i];
        }
    }
    return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *connection, enum MHD_ValueKind kind, MHD_KeyValueIterator visit,
                              void *arg)
{
    cr_assert_eq(kind, MHD_HEADER_KIND);
    size_t i = 0;
    while (i < connection->header_count && visit(arg, kind, connection->names[i], connection->values[i]) == MHD_YES) {
        i++;
    }
    return (int)i;
}

void MHD_suspend_connection(struct MHD_Connection *connection)
{
    connection->suspended = true;
}

void MHD_resume_connection(struct MHD_Connection *connection)
{
    connection->suspended = false;
}

struct MHD_Response *MHD_create_response_from_buffer(size_t bytes, void *text, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = calloc(1, sizeof *response);
    cr_assert_not_null(response);
    *response = (struct MHD_Response){.text = text, .bytes = bytes, .is_own = mode == MHD_RESPMEM_MUST_FREE};
    return response;
}

struct MHD_Response *MHD_create_response_from_callback(uint64_t bytes, size_t block, MHD_ContentReaderCallback read,
                                                       void *arg, MHD_ContentReaderFreeCallback destroy)
{
    (void)bytes, (void)block, (void)read, (void)arg, (void)destroy;
    return NULL;
}

enum MHD_Result MHD_add_response_header(struct MHD_Response *response, const char *name, const char *value)
{
    (void)response, (void)name, (void)value;
    return MHD_YES;
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
    cr_assert_eq(connection->status, 0, "a second answer");
    connection->status = status;
    snprintf(connection->body, sizeof connection->body, "%.*s", (int)response->bytes, response->text);
    return MHD_YES;
}

void MHD_destroy_response(struct MHD_Response *response)
{
    if (response->is_own) {
        free(response->text);
    }
    free(response);
}

/* ---- the gateway and its backend, which answers a call with its request ---- */

static fixture *backend;
static evener_descriptors *types;
static evener_http_routes *routes;
static gateway served;

static fake_call_outcome answer(void *arg, const char *address, const evener_call_begin_args *args)
{
    (void)arg, (void)address, (void)args;
    return (fake_call_outcome){.kind = FAKE_CALL_ANSWER};
}

static void set_up(void)
{
    static char set[262144];
    FILE *file = fopen(DEMO_PROTOSET, "rb");
    cr_assert_not_null(file);
    const size_t set_bytes = fread(set, 1, sizeof set, file);
    fclose(file);
    evener_status status;
    cr_assert_eq(evener_descriptors_create(&types, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_descriptors_add_set(types, set, set_bytes, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_http_routes_create(types, NULL, &routes, &status), EVENER_STATUS_OK, "%s", status.message);
    backend = fixture_create_calling(NULL, answer, NULL);
    fixture_push(backend, "127.0.0.1:1");
    fixture_connect(backend);
    char error[256];
    served = (gateway){.channel = backend->channel, .routes = routes};
    cr_assert(gateway_start(&served, "127.0.0.1:0", error, sizeof error), "%s", error);
}

static void tear_down(void)
{
    gateway_stop(&served, 0);
    fixture_destroy(backend);
    evener_http_routes_destroy(routes);
    evener_descriptors_destroy(types);
}

TestSuite(gateway_parts, .init = set_up, .fini = tear_down);

/* ---- errors ---- */

/* Return the JSON of an error whose call got this message, to be freed. */
static char *error_of(const char *message, size_t bytes)
{
    const gateway_request request = {.owner = &served};
    const evener_call_details details = {
        .size = sizeof details, .status_message = message, .status_message_bytes = bytes};
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_NOT_FOUND, "%s", message);
    char *json = gateway_error_json(&request, &status, &details);
    cr_assert_not_null(json);
    return json;
}

/* evener_status cuts it between characters of three bytes, so that it does not fill its room. */
Test(gateway_parts, a_long_message_of_wide_characters_is_whole)
{
    char message[200 * 3 + 1] = "";
    for (size_t i = 0; i < 200; i++) {
        strcat(message, "\u6d4b");
    }
    char expected[sizeof message + 64];
    snprintf(expected, sizeof expected, "{\"code\":5,\"message\":\"%s\",\"details\":[]}", message);
    char *json = error_of(message, strlen(message));
    cr_expect_str_eq(json, expected);
    free(json);
}

Test(gateway_parts, a_message_goes_on_after_a_nul_byte)
{
    static const char message[] = "no\0 such book";
    char *json = error_of(message, sizeof message - 1);
    cr_expect_str_eq(json, "{\"code\":5,\"message\":\"no\\u0000 such book\",\"details\":[]}");
    free(json);
}

Test(gateway_parts, an_error_without_a_call_has_the_message_of_its_status)
{
    const gateway_request request = {.owner = &served};
    const evener_call_details empty = {.size = sizeof empty};
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "the gateway is stopping");
    const evener_call_details *const cases[] = {NULL, &empty};
    for (size_t i = 0; i < 2; i++) {
        char *json = gateway_error_json(&request, &status, cases[i]);
        cr_expect_str_eq(json, "{\"code\":14,\"message\":\"the gateway is stopping\",\"details\":[]}");
        free(json);
    }
}

/* ---- headers ---- */

#define HOUR_MS UINT64_C(3600000)

Test(gateway_parts, a_timeout_of_any_eight_digits_is_the_calls)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0: refused */
    } cases[] = {{"1n", 1},
                 {"1000001n", 2},
                 {"1u", 1},
                 {"1001u", 2},
                 {"500m", 500},
                 {"0S", 1},
                 {"1S", 1000},
                 {"2M", 120000},
                 {"5124095H", 5124095 * HOUR_MS}, /* the last whose nanoseconds are less than 2^64 */
                 {"5124096H", 5124096 * HOUR_MS},
                 {"97357816H", 97357816 * HOUR_MS},
                 {"99999999H", 99999999 * HOUR_MS},
                 {"", 0},
                 {"S", 0},
                 {"1", 0},
                 {"1s", 0},
                 {"1SS", 0},
                 {"+1S", 0},
                 {" 1S", 0},
                 {"1 S", 0},
                 {"-1S", 0},
                 {"123456789S", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct MHD_Connection connection = {.names = {"Grpc-Timeout"}, .values = {cases[i].text}, .header_count = 1};
        gateway_call_headers headers;
        evener_status status;
        const evener_status_code code = gateway_headers_read(&connection, &headers, &status);
        cr_expect_eq(code, cases[i].ms != 0 ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT, "%s", cases[i].text);
        cr_expect_eq(headers.timeout_ms, cases[i].ms, "%s: %llu ms", cases[i].text,
                     (unsigned long long)headers.timeout_ms);
        gateway_headers_clear(&headers);
    }
}

/* ---- memory ---- */

typedef struct exchange {
    struct MHD_Connection connection;
    void *state; /* the gateway's */
} exchange;

/* Call the gateway as the server does: with the headers, each piece of the body, its end, and after a sleep. */
static void call_gateway(exchange *x, const char *piece, size_t bytes)
{
    cr_assert_eq(http.handle(http.arg, &x->connection, "", "POST", "HTTP/1.1", piece, &bytes, &x->state), MHD_YES);
    cr_assert_eq(bytes, 0);
}

static void begin(exchange *x)
{
    *x = (exchange){.connection = {.names = {"Grpc-Metadata-A"}, .values = {"b"}, .header_count = 1}};
    x->state = http.begin(http.arg, "/v1/call", &x->connection);
    cr_assert_not_null(x->state);
    call_gateway(x, NULL, 0);
}

static void complete(exchange *x)
{
    http.completed(http.arg, &x->connection, &x->state, MHD_REQUEST_TERMINATED_COMPLETED_OK);
    cr_expect_eq(served.request_count, 0);
}

Test(gateway_parts, a_body_above_the_limit_is_refused_as_too_large)
{
    static const char large[GATEWAY_BODY_BYTES_MAX];
    exchange x;
    begin(&x);
    call_gateway(&x, large, 1);
    call_gateway(&x, large, sizeof large);
    call_gateway(&x, NULL, 0);
    cr_expect_eq(x.connection.status, MHD_HTTP_CONTENT_TOO_LARGE);
    complete(&x);
}

Test(gateway_parts, a_body_without_memory_is_not_called_too_large)
{
    exchange x;
    begin(&x);
    failing_memory_arm(1, false);
    call_gateway(&x, "{\"config\":", 10);
    cr_assert_eq(failing_memory_disarm(), 1);
    call_gateway(&x, "{}", 2); /* has memory, and is no body by itself */
    call_gateway(&x, NULL, 0);
    cr_expect_eq(x.connection.status, MHD_HTTP_TOO_MANY_REQUESTS, "%u: %s", x.connection.status, x.connection.body);
    cr_expect_str_eq(x.connection.body, "{\"code\":8,\"message\":\"out of memory\",\"details\":[]}");
    complete(&x);
}

/* Only what comes before the call is made of the request may be the request's fault, as JSON beyond a limit is. */
Test(gateway_parts, a_call_without_memory_is_not_called_a_bad_request)
{
    unsigned refused = 0; /* since the last bad request */
    for (uint64_t i = 1;; i++) {
        exchange x;
        begin(&x);
        call_gateway(&x, "{\"config\":{\"name\":\"ann\"}}", 25);
        failing_memory_arm(i, false);
        call_gateway(&x, NULL, 0);
        const bool is_whole = failing_memory_disarm() < i;
        if (x.connection.suspended) {
            virtual_loop_advance_ms(backend->loop, 1000);
            cr_assert_not(x.connection.suspended);
            call_gateway(&x, NULL, 0);
        }
        const unsigned status = x.connection.status;
        complete(&x);
        if (is_whole) {
            cr_expect_eq(status, MHD_HTTP_OK, "%u: %s", status, x.connection.body);
            break;
        }
        if (status != MHD_HTTP_OK) { /* some allocations can be done without */
            cr_assert(strstr(x.connection.body, "{\"code\":8,") == x.connection.body, "%s", x.connection.body);
            cr_assert(status == MHD_HTTP_TOO_MANY_REQUESTS || status == MHD_HTTP_BAD_REQUEST, "%u", status);
        }
        refused = status == MHD_HTTP_BAD_REQUEST ? 0 : refused + (status == MHD_HTTP_TOO_MANY_REQUESTS);
    }
    cr_expect_geq(refused, 3, "metadata, its texts, and the call: %u", refused);
}
