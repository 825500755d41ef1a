/* Interceptors and per-call credentials over the simulated transport. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples/token_file.h"
#include "tests/call/retry_scene.h"

#define OK                                                                                                             \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER                                                                                       \
    }
#define UNAVAILABLE                                                                                                    \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE                                                    \
    }

/* ---- an interceptor that writes down what it sees ---- */

static char seen[2048];

static void note(const char *text)
{
    strncat(seen, text, sizeof seen - strlen(seen) - 1);
}

static evener_status_code on_start(void *arg, evener_new_call *call, void **state, evener_status *status)
{
    char text[128];
    *state = arg;
    snprintf(text, sizeof text, "%s:start(%s%s) ", (const char *)arg, evener_new_call_method(call),
             evener_new_call_is_streaming(call) ? ",stream" : "");
    note(text);
    return evener_new_call_add(call, "x-by", arg, status);
}

static void on_message(void *arg, void *state, bool sent, const evener_bytes *message)
{
    char text[128];
    cr_assert_eq(arg, state);
    snprintf(text, sizeof text, "%s:%s(%.*s) ", (const char *)arg, sent ? "sent" : "received", (int)message->length,
             (const char *)message->data);
    note(text);
}

static void on_done(void *arg, void *state, const evener_status *status, const evener_metadata *trailing,
                    size_t trailing_count)
{
    char text[128];
    (void)trailing;
    (void)trailing_count;
    cr_assert_eq(arg, state);
    snprintf(text, sizeof text, "%s:done(%s) ", (const char *)arg, evener_status_code_name(status->code));
    note(text);
}

static const evener_interceptor first = {
    .size = sizeof first, .arg = "a", .start = on_start, .message = on_message, .done = on_done};
static const evener_interceptor second = {
    .size = sizeof second, .arg = "b", .start = on_start, .message = on_message, .done = on_done};
static const evener_interceptor *const only_first[] = {&first};
static const evener_interceptor *const only_second[] = {&second};

/* ---- a scene that keeps the metadata of the attempts ---- */

typedef struct scene {
    fixture *f;
    fake_call_outcome outcomes[4];
    uint32_t attempts, ends;
    char metadata[512];
    uint64_t timeout_ms;
    evener_status status;
} scene;

static fake_call_outcome scripted(void *arg, const char *address, const evener_call_begin_args *args)
{
    scene *s = arg;
    (void)address;
    s->metadata[0] = '\0';
    for (size_t i = 0; i < args->metadata_count; i++) {
        const size_t used = strlen(s->metadata);
        snprintf(s->metadata + used, sizeof s->metadata - used, "%s=%s ", args->metadata[i].key,
                 args->metadata[i].value);
    }
    s->timeout_ms =
        args->deadline_ns == UINT64_MAX ? 0 : (args->deadline_ns - virtual_loop_now_ns(s->f->loop)) / EVENER_NS_PER_MS;
    const fake_call_outcome outcome = s->outcomes[s->attempts < 3 ? s->attempts : 3];
    s->attempts++;
    return outcome;
}

static scene *create(evener_channel_options options)
{
    scene *s = calloc(1, sizeof *s);
    seen[0] = '\0';
    options.policy = "round_robin";
    s->f = fixture_create_calling(&options, scripted, s);
    fixture_push(s->f, SCENE_BACKENDS);
    fixture_connect(s->f);
    return s;
}

static void destroy(scene *s)
{
    virtual_loop_run_until_idle(s->f->loop);
    fixture_destroy(s->f);
    free(s);
}

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    scene *s = arg;
    (void)response;
    note("callback ");
    s->ends++;
    s->status = *status;
}

static evener_status_code call(scene *s, evener_call_options options)
{
    const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};
    options.size = sizeof options;
    const evener_status_code code =
        evener_call_start(s->f->channel, SCENE_METHOD, &request, &options, ended, s, NULL, &s->status);
    virtual_loop_advance_ms(s->f->loop, 5000);
    return code != EVENER_STATUS_OK ? code : s->status.code;
}

Test(interceptors, the_channels_come_first_and_done_runs_backwards)
{
    scene *s = create((evener_channel_options){.interceptors = only_first, .interceptor_count = 1});
    const evener_metadata own = evener_metadata_text("x-own", "1");
    cr_expect_eq(call(s,
                      (evener_call_options){
                          .interceptors = only_second, .interceptor_count = 1, .metadata = &own, .metadata_count = 1}),
                 EVENER_STATUS_OK);
    cr_expect_str_eq(seen, "a:start(/sim.Sim/Run) b:start(/sim.Sim/Run) a:sent(hello) b:sent(hello) a:received(hello) "
                           "b:received(hello) b:done(OK) a:done(OK) callback ");
    cr_expect_str_eq(s->metadata, "x-own=1 x-by=a x-by=b ");
    destroy(s);
}

Test(interceptors, they_see_a_retried_call_once)
{
    scene *s = create((evener_channel_options){
        .interceptors = only_first, .interceptor_count = 1, .default_service_config = RETRY_CONFIG("3")});
    s->outcomes[0] = (fake_call_outcome)UNAVAILABLE;
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_OK);
    cr_expect_eq(s->attempts, 2);
    cr_expect_str_eq(seen, "a:start(/sim.Sim/Run) a:sent(hello) a:received(hello) a:done(OK) callback ");
    cr_expect_str_eq(s->metadata, "x-by=a ", "every attempt has what was added");
    destroy(s);
}

static evener_status_code refuse(void *arg, evener_new_call *call, void **state, evener_status *status)
{
    (void)arg;
    (void)call;
    (void)state;
    return evener_status_set(status, EVENER_STATUS_PERMISSION_DENIED, "not on Sundays");
}

Test(interceptors, a_refused_call_makes_no_attempt)
{
    static const evener_interceptor refusing = {.size = sizeof refusing, .start = refuse, .done = on_done};
    static const evener_interceptor *const both[] = {&first, &refusing, &second};
    scene *s = create((evener_channel_options){.interceptors = both, .interceptor_count = 3});
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_PERMISSION_DENIED);
    cr_expect_str_eq(s->status.message, "not on Sundays");
    cr_expect_eq(s->attempts, 0);
    cr_expect_eq(s->ends, 0);
    cr_expect_str_eq(seen, "a:start(/sim.Sim/Run) a:done(PERMISSION_DENIED) ");
    destroy(s);
}

static evener_status_code limit(void *arg, evener_new_call *call, void **state, evener_status *status)
{
    uint64_t left_ms;
    (void)state;
    (void)status;
    cr_assert(evener_timeout_parse(arg, &left_ms));
    evener_new_call_limit(call, left_ms);
    return EVENER_STATUS_OK;
}

/* Deadline propagation: what is left of the incoming call bounds the outgoing one. */
Test(interceptors, an_incoming_calls_timeout_bounds_the_call)
{
    static const evener_interceptor incoming = {.size = sizeof incoming, .arg = "250m", .start = limit};
    static const evener_interceptor *const list[] = {&incoming};
    scene *s = create((evener_channel_options){.interceptors = list, .interceptor_count = 1});
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_OK);
    cr_expect_eq(s->timeout_ms, 250);
    cr_expect_eq(call(s, (evener_call_options){.timeout_ms = 100}), EVENER_STATUS_OK);
    cr_expect_eq(s->timeout_ms, 100);
    cr_expect_eq(call(s, (evener_call_options){.timeout_ms = 1000}), EVENER_STATUS_OK);
    cr_expect_eq(s->timeout_ms, 250);
    destroy(s);
}

/* ---- streams ---- */

static void on_stream_message(void *arg, evener_bytes *message)
{
    (void)arg;
    evener_bytes_clear(message);
}

static void on_stream_ended(void *arg, const evener_status *status)
{
    scene *s = arg;
    note("ended ");
    s->ends++;
    s->status = *status;
}

Test(interceptors, they_see_a_streams_messages)
{
    static const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = on_stream_message, .ended = on_stream_ended};
    scene *s = create((evener_channel_options){.interceptors = only_first, .interceptor_count = 1});
    evener_stream *stream;
    evener_status status;
    cr_assert_eq(evener_stream_start(s->f->channel, SCENE_METHOD, NULL, NULL, &callbacks, s, &stream, &status), 0);
    const evener_bytes message = {.data = (const uint8_t *)"one", .length = 3};
    cr_assert(evener_stream_send(stream, &message));
    cr_assert(evener_stream_ask(stream));
    virtual_loop_run_until_idle(s->f->loop);
    cr_assert(evener_stream_send_done(stream));
    cr_assert(evener_stream_ask(stream));
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->ends, 1);
    cr_expect_str_eq(seen, "a:start(/sim.Sim/Run,stream) a:sent(one) a:received(one) a:done(OK) ended ");
    cr_expect_str_eq(s->metadata, "x-by=a ");
    evener_stream_unref(stream);
    destroy(s);
}

/* ---- what is wrong ---- */

Test(interceptors, what_is_no_interceptor_is_refused)
{
    scene *s = create((evener_channel_options){0});
    const evener_interceptor sizeless = {.start = on_start};
    const evener_interceptor *const list[17] = {&sizeless};
    const evener_interceptor *const many[17] = {&first, &first, &first, &first, &first, &first, &first, &first, &first,
                                                &first, &first, &first, &first, &first, &first, &first, &first};
    cr_expect_eq(call(s, (evener_call_options){.interceptors = list, .interceptor_count = 1}),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(call(s, (evener_call_options){.interceptor_count = 1}), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(call(s, (evener_call_options){.interceptors = many, .interceptor_count = 17}),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(s->status.message, "at most 16"), "%s", s->status.message);
    cr_expect_eq(s->attempts, 0);
    destroy(s);
}

/* ---- credentials ---- */

static evener_status_code add_secret(void *arg, evener_new_call *call, const char *url, evener_status *status)
{
    (void)arg;
    cr_expect_str_eq(url, "https://x/sim.Sim");
    return evener_new_call_add(call, "authorization", "secret", status);
}

Test(interceptors, credentials_are_not_sent_in_the_clear)
{
    static const evener_call_credentials credentials = {.size = sizeof credentials, .add = add_secret};
    static const evener_interceptor auth = EVENER_CALL_CREDENTIALS(&credentials);
    static const evener_interceptor *const list[] = {&auth};
    scene *s = create((evener_channel_options){.interceptors = list, .interceptor_count = 1});
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_UNAUTHENTICATED);
    cr_expect_eq(s->attempts, 0);
    destroy(s);
    static const evener_call_credentials allowed = {.size = sizeof allowed, .add = add_secret, .allow_insecure = true};
    static const evener_interceptor open_auth = EVENER_CALL_CREDENTIALS(&allowed);
    static const evener_interceptor *const open_list[] = {&open_auth};
    s = create((evener_channel_options){.interceptors = open_list, .interceptor_count = 1});
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_str_eq(s->metadata, "authorization=secret ");
    destroy(s);
}

static void write_file(const char *path, const char *text)
{
    char next[64];
    snprintf(next, sizeof next, "%s.next", path);
    FILE *file = fopen(next, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    cr_assert_eq(rename(next, path), 0);
}

Test(interceptors, a_bearer_token_follows_its_file)
{
    char path[] = "/tmp/evener-token-XXXXXX";
    close(mkstemp(path));
    unlink(path);
    token_file *token = token_file_open(path);
    const evener_call_credentials bearer = {
        .size = sizeof bearer, .arg = token, .add = token_file_add, .allow_insecure = true};
    const evener_interceptor auth = EVENER_CALL_CREDENTIALS(&bearer);
    const evener_interceptor *const list[] = {&auth};
    scene *s = create((evener_channel_options){.interceptors = list, .interceptor_count = 1});
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_UNAUTHENTICATED, "there is no file");
    write_file(path, "one\n");
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_str_eq(s->metadata, "authorization=Bearer one ");
    write_file(path, "another\n");
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_OK);
    cr_expect_str_eq(s->metadata, "authorization=Bearer another ");
    write_file(path, "");
    unlink(path);
    cr_expect_eq(call(s, (evener_call_options){0}), EVENER_STATUS_OK);
    cr_expect_str_eq(s->metadata, "authorization=Bearer another ", "the last one serves on");
    destroy(s);
    token_file_close(token);
}

/* ---- helpers ---- */

Test(call_helpers, timeouts_of_incoming_calls)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0: refused */
    } cases[] = {{"1H", 3600000},  {"2M", 120000}, {"3S", 3000}, {"250m", 250}, {"1500u", 2},
                 {"1n", 1},        {"0m", 1},      {"", 0},      {"m", 0},      {"5", 0},
                 {"5x", 0},        {"5mm", 0},     {"-5m", 0},   {" 5m", 0},    {"99999999S", UINT64_C(99999999000)},
                 {"123456789m", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ms = 0;
        cr_expect_eq(evener_timeout_parse(cases[i].text, &ms), cases[i].ms != 0, "%s", cases[i].text);
        cr_expect_eq(ms, cases[i].ms, "%s: %llu", cases[i].text, (unsigned long long)ms);
    }
}

static evener_status_code read_details(const void *bytes, size_t count, evener_status_details *out,
                                       evener_status_detail *list, size_t room)
{
    const evener_metadata trailing = {"grpc-status-details-bin", bytes, count};
    const evener_call_details details = {
        .size = sizeof details, .trailing_metadata = &trailing, .trailing_metadata_count = 1};
    evener_status status;
    return evener_call_status_details(&details, out, list, room, &status);
}

Test(call_helpers, status_details_are_decoded)
{
    /* {code: 9, message: "full", details: [{type_url: "t/A", value: "xy"}, {type_url: "t/B"}], unknown field 7} */
    static const char bytes[] = "\x08\x09\x12\x04"
                                "full\x1a\x09\x0a\x03t/A\x12\x02xy\x1a\x05\x0a\x03t/B\x38\x05";
    evener_status_details out;
    evener_status_detail list[2];
    cr_assert_eq(read_details(bytes, sizeof bytes - 1, &out, list, 2), EVENER_STATUS_OK);
    cr_expect_eq(out.code, 9);
    cr_expect(out.message_bytes == 4 && memcmp(out.message, "full", 4) == 0);
    cr_assert_eq(out.count, 2);
    cr_expect(list[0].type_url_bytes == 3 && memcmp(list[0].type_url, "t/A", 3) == 0);
    cr_expect(list[0].value_bytes == 2 && memcmp(list[0].value, "xy", 2) == 0);
    cr_expect_eq(list[1].value_bytes, 0);
    cr_assert_eq(read_details(bytes, sizeof bytes - 1, &out, list, 1), EVENER_STATUS_OK);
    cr_expect_eq(out.count, 2, "there are more than the room");
    for (size_t cut = 1; cut < sizeof bytes - 1; cut++) { /* never beyond the end */
        char *part = malloc(cut);
        memcpy(part, bytes, cut);
        (void)read_details(part, cut, &out, list, 2);
        free(part);
    }
    cr_expect_eq(read_details("\x1a\x7f", 2, &out, list, 2), EVENER_STATUS_DATA_LOSS);
    const evener_call_details none = {.size = sizeof none};
    evener_status status;
    cr_expect_eq(evener_call_status_details(&none, &out, list, 2, &status), EVENER_STATUS_NOT_FOUND);
}
