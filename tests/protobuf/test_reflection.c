/* Server reflection: against the demo server, and against what servers of other languages answered (data/). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/credentials.h>
#include <evener/reflection.h>

#include "demo_server/server.h"
#include "tests/protobuf/hand_made.h"
#include "tests/protobuf/types.h"
#include "tests/support/h2_script_server.h"

static evener_channel *open_channel(uint16_t port)
{
    char target[64];
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    snprintf(target, sizeof target, "static:127.0.0.1:%u", (unsigned)port);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .transport_name = "http2"};
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
    return channel;
}

static evener_descriptors *empty(void)
{
    evener_descriptors *types;
    cr_assert_eq(evener_descriptors_create(&types, NULL), EVENER_STATUS_OK);
    return types;
}

/* ---- the demo server ---- */

Test(reflection, types_of_a_service_come_with_everything_that_they_import)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    demo_server *server = demo_server_start(&(demo_server_options){0}, error);
    cr_assert_not_null(server, "%s", error);
    evener_channel *channel = open_channel(demo_server_port(server));
    evener_descriptors *types = empty();
    evener_status status;
    char **names;
    size_t count;
    cr_assert_eq(evener_reflection_services(channel, NULL, &names, &count, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_assert_eq(count, 4);
    cr_assert_str_eq(names[0], "grpc.reflection.v1.ServerReflection");
    cr_assert_str_eq(names[2], "grpcdemo.GrpcDemo");
    free(names);

    /* A method, a message and a nested name lead to their files, too. */
    static const char *const symbols[] = {"grpcdemo.GrpcDemo", "grpcdemo.GrpcDemo.Exchange", "grpcdemo.Gender",
                                          "grpcdemo.CallGrpcGatewayReq.ConfigEntry", "google.protobuf.Any"};
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(evener_reflection_add(channel, symbols[i], NULL, types, &status), EVENER_STATUS_OK, "%s: %s",
                     symbols[i], status.message);
    }
    const evener_method *method = evener_descriptors_method(types, "grpcdemo.GrpcDemo/DemoImport");
    cr_assert_not_null(method);
    cr_assert_str_eq(method->input->file->name, "grpcdemo/folder/imported.proto");
    cr_assert_not_null(evener_descriptors_file(types, "grpcdemo/custom.proto"));
    cr_assert_not_null(evener_descriptors_file(types, "google/protobuf/any.proto"));
    evener_descriptors_destroy(types);
    evener_channel_unref(channel);
    demo_server_stop(server, 0);
}

Test(reflection, an_unknown_symbol_is_not_found_and_adds_nothing)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    demo_server *server = demo_server_start(&(demo_server_options){0}, error);
    evener_channel *channel = open_channel(demo_server_port(server));
    evener_descriptors *types = empty();
    evener_status status;
    size_t count;
    cr_assert_eq(evener_reflection_add(channel, "no.Such", NULL, types, &status), EVENER_STATUS_NOT_FOUND);
    cr_assert_str_eq(status.message, "server reflection: no.Such: unknown here");
    evener_descriptors_files(types, &count);
    cr_assert_eq(count, 0);
    evener_descriptors_destroy(types);
    evener_channel_unref(channel);
    demo_server_stop(server, 0);
}

/* ---- replay ---- */

#define STREAMS_MAX 8
#define STEPS_MAX 64

/* A recorded exchange as a script per stream. */
typedef struct recording {
    h2_script scripts[STREAMS_MAX];
    h2_step steps[STREAMS_MAX][STEPS_MAX];
    char statuses[STREAMS_MAX][8];
    char messages[STREAMS_MAX][128];
    uint8_t *frames[STREAMS_MAX];
    size_t streams;
} recording;

/* Append an answer, as gRPC frames it, in DATA frames. */
static void add_answer(recording *r, size_t *step, const char *hex)
{
    const size_t length = strlen(hex) / 2;
    uint8_t *frame = malloc(length + 5);
    const uint8_t prefix[] = {0, (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                              (uint8_t)length};
    memcpy(frame, prefix, sizeof prefix);
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        frame[5 + i] = (uint8_t)byte;
    }
    for (size_t at = 0; at < length + 5; at += 16384) {
        cr_assert_lt(*step, STEPS_MAX - 2);
        r->steps[r->streams][(*step)++] = (h2_step){
            .kind = H2_DATA, .data = frame + at, .data_bytes = length + 5 - at < 16384 ? length + 5 - at : 16384};
    }
    r->frames[r->streams] = frame; /* one answer per stream in these recordings */
}

static void end_stream(recording *r, size_t step, const char *status)
{
    h2_step *steps = r->steps[r->streams];
    sscanf(status, "%7s %127[^\n]", r->statuses[r->streams], r->messages[r->streams]);
    if (step == 0) { /* trailers only */
        steps[step++] = (h2_step){.kind = H2_HEADERS,
                                  .headers = {{":status", "200"},
                                              {"content-type", "application/grpc"},
                                              {"grpc-status", r->statuses[r->streams]},
                                              {"grpc-message", r->messages[r->streams]}},
                                  .end_stream = true};
    } else { /* the client asks no more, and ends the stream */
        steps[step++] = (h2_step){.kind = H2_AWAIT_END_STREAM};
        steps[step++] =
            (h2_step){.kind = H2_HEADERS, .headers = {{"grpc-status", r->statuses[r->streams]}}, .end_stream = true};
    }
    steps[step] = (h2_step){.kind = H2_END};
    r->scripts[r->streams] = (h2_script){.steps = steps, .plays = 1};
    r->streams++;
}

static recording *read_recording(const char *path)
{
    recording *r = calloc(1, sizeof *r);
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0, step = 0;
    cr_assert_not_null(file, "%s", path);
    while (getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '<') {
            if (step == 0) {
                r->steps[r->streams][step++] = (h2_step){
                    .kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}};
            }
            add_answer(r, &step, line + 2);
        } else if (strncmp(line, "end ", 4) == 0) {
            end_stream(r, step, line + 4);
            step = 0;
        }
    }
    free(line);
    fclose(file);
    return r;
}

static void recording_free(recording *r)
{
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        free(r->frames[i]);
    }
    free(r);
}

/* The services, then the types, of a recorded server. */
static void replay(const char *path, size_t streams, const char *const *services, size_t service_count)
{
    recording *r = read_recording(path);
    cr_assert_eq(r->streams, streams);
    h2_script_server *server =
        h2_script_server_start(&(h2_script_server_options){.scripts = r->scripts, .count = r->streams});
    evener_channel *channel = open_channel(h2_script_server_port(server));
    evener_descriptors *types = empty();
    evener_status status;
    char **names;
    size_t count;
    cr_assert_eq(evener_reflection_services(channel, NULL, &names, &count, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_assert_eq(count, service_count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_str_eq(names[i], services[i]);
    }
    free(names);
    cr_assert_eq(evener_reflection_add(channel, "evener.test.Testing", NULL, types, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    const evener_method *method = evener_descriptors_method(types, "evener.test.Testing/Talk");
    cr_assert(method != NULL && method->client_streaming && method->server_streaming);
    evener_descriptors *recorded = types_read(); /* what the servers read their types from */
    cr_assert_eq(method->input->field_count,
                 evener_descriptors_message(recorded, "evener.test.Everything")->field_count);
    evener_descriptors_destroy(recorded);
    cr_assert_not_null(evener_descriptors_message(types, "google.protobuf.Struct"));
    cr_assert_eq(h2_script_server_count(server, H2_REQUESTS), streams);
    evener_descriptors_destroy(types);
    evener_channel_unref(channel);
    h2_script_server_stop(server);
    recording_free(r);
}

Test(reflection, a_server_of_grpc_go_is_understood)
{
    static const char *const services[] = {"evener.test.Testing", "grpc.health.v1.Health",
                                           "grpc.reflection.v1.ServerReflection",
                                           "grpc.reflection.v1alpha.ServerReflection"};
    replay(TEST_DATA "/reflection-grpc-go.txt", 2, services, 4);
}

Test(reflection, a_server_of_grpcio_with_v1alpha_only_is_understood)
{
    static const char *const services[] = {"evener.test.Testing", "grpc.reflection.v1alpha.ServerReflection"};
    replay(TEST_DATA "/reflection-grpcio.txt", 4, services, 2);
}

/* ---- servers that answer something else ---- */

/* Ask a server that plays one script for all streams. Return the code. */
static evener_status_code ask(const h2_step *steps, evener_status *status)
{
    const h2_script script = {.steps = steps};
    h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
    evener_channel *channel = open_channel(h2_script_server_port(server));
    evener_descriptors *types = empty();
    const evener_status_code code = evener_reflection_add(channel, "a.B", NULL, types, status);
    evener_descriptors_destroy(types);
    evener_channel_unref(channel);
    h2_script_server_stop(server);
    return code;
}

Test(reflection, a_server_without_reflection_is_unimplemented_and_says_so)
{
    static const h2_step steps[] = {{.kind = H2_HEADERS,
                                     .headers = {{":status", "200"},
                                                 {"content-type", "application/grpc"},
                                                 {"grpc-status", "12"},
                                                 {"grpc-message", "unknown service"}},
                                     .end_stream = true},
                                    {.kind = H2_END}};
    evener_status status;
    cr_assert_eq(ask(steps, &status), EVENER_STATUS_UNIMPLEMENTED);
    cr_assert_eq(status.code, EVENER_STATUS_UNIMPLEMENTED);
    cr_assert_not_null(strstr(status.message, "the server offers no reflection"), "%s", status.message);
}

Test(reflection, answers_that_are_not_reflections_are_internal_errors)
{
    /* A truncated message; an empty one; a list of services instead of files. */
    static const char *const answers[] = {"\0\0\0\0\2\x22\x7f", "\0\0\0\0\0", "\0\0\0\0\2\x32\0"};
    static const size_t bytes[] = {7, 5, 7};
    for (size_t i = 0; i < 3; i++) {
        const h2_step steps[] = {
            {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
            {.kind = H2_DATA, .data = answers[i], .data_bytes = bytes[i]},
            {.kind = H2_END}};
        evener_status status;
        cr_assert_eq(ask(steps, &status), EVENER_STATUS_INTERNAL, "%zu: %s", i, status.message);
        cr_assert_eq(strncmp(status.message, "server reflection: ", 19), 0, "%s", status.message);
    }
}

/* ---- answers made by hand ---- */

/* Answers on one stream, each as gRPC frames it, in DATA frames. */
typedef struct played {
    buffer bytes;
    size_t starts[4]; /* of the answers; where the last one ends */
    size_t answers;
} played;

/* Add fields that are not known: one of the next number, and `known` of another wire type. */
static void add_unknown(buffer *b, uint32_t known, evener_wire_type type)
{
    if (type == EVENER_WIRE_BYTES) {
        text(b, known + 1, "x");
        number(b, known, 3);
    } else {
        number(b, known + 1, 3);
        text(b, known, "x");
    }
}

/* Begin an answer with the member `kind` of the oneof. Return what end_answer() needs. */
static size_t begin_answer(played *p, uint32_t kind)
{
    cr_assert_lt(p->answers, 3);
    p->starts[p->answers] = p->bytes.length;
    evener_wire_put(&p->bytes, "\0\0\0\0", 5);
    text(&p->bytes, 1, "host");
    text(&p->bytes, 3, "unknown");
    return begin(&p->bytes, kind);
}

static void end_answer(played *p, size_t start)
{
    evener_wire_close(&p->bytes, start);
    for (uint32_t kind = 4; kind <= 7; kind++) {
        number(&p->bytes, kind, 1); /* not of the type of an answer */
    }
    text(&p->bytes, 8, "unknown");
    const size_t length = p->bytes.length - p->starts[p->answers] - 5;
    for (size_t i = 0; i < 4; i++) {
        p->bytes.data[p->starts[p->answers] + 1 + i] = (uint8_t)(length >> (24 - 8 * i));
    }
    p->starts[++p->answers] = p->bytes.length;
}

#define ANSWER_FILES 4 /* file_descriptor_response */

/* Add a file, which imports `import`, to an answer. */
static void put_file(played *p, const char *name, const void *import, size_t import_bytes)
{
    const size_t in_file = begin(&p->bytes, 1);
    text(&p->bytes, 1, name);
    evener_wire_put_bytes(&p->bytes, 3, import, import_bytes);
    text(&p->bytes, 3, ""); /* no import */
    add_unknown(&p->bytes, 100, EVENER_WIRE_BYTES);
    evener_wire_close(&p->bytes, in_file);
    add_unknown(&p->bytes, 1, EVENER_WIRE_BYTES);
}

/* Add an answer of one file. */
static void add_file(played *p, const char *name, const void *import, size_t import_bytes)
{
    const size_t start = begin_answer(p, ANSWER_FILES);
    put_file(p, name, import, import_bytes);
    end_answer(p, start);
}

static void add_error(played *p, uint64_t code, const char *message, size_t message_bytes)
{
    const size_t start = begin_answer(p, 7); /* error_response */
    number(&p->bytes, 1, code);
    add_unknown(&p->bytes, 1, EVENER_WIRE_VARINT);
    evener_wire_put_bytes(&p->bytes, 2, message, message_bytes);
    add_unknown(&p->bytes, 2, EVENER_WIRE_BYTES);
    end_answer(p, start);
}

/* Ask a server that gives these answers: for the services if `names` is not NULL, otherwise for the symbol a.B. The
 * answers are freed. */
static evener_status_code ask_player(played *p, evener_descriptors *types, char ***names, size_t *count,
                                     evener_status *status)
{
    h2_step steps[16] = {{.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}}};
    size_t used = 1;
    for (size_t at = 0; at < p->bytes.length; at += 16384) {
        cr_assert_lt(used, 15);
        steps[used++] = (h2_step){.kind = H2_DATA,
                                  .data = p->bytes.data + at,
                                  .data_bytes = p->bytes.length - at < 16384 ? p->bytes.length - at : 16384};
    }
    steps[used] = (h2_step){.kind = H2_END};
    const h2_script script = {.steps = steps};
    h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
    evener_channel *channel = open_channel(h2_script_server_port(server));
    const evener_status_code code = names != NULL ? evener_reflection_services(channel, NULL, names, count, status)
                                                  : evener_reflection_add(channel, "a.B", NULL, types, status);
    evener_channel_unref(channel);
    h2_script_server_stop(server);
    evener_wire_clear(&p->bytes);
    return code;
}

Test(reflection, an_import_without_a_valid_name_is_an_internal_error)
{
    char longer[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 1];
    memset(longer, 'x', sizeof longer);
    const struct {
        const char *name;
        size_t length;
    } imports[] = {{longer, sizeof longer}, {"a\0b", 3}, {"\0", 1}};
    for (size_t i = 0; i < 3; i++) {
        played p = {0};
        evener_descriptors *types = empty();
        evener_status status;
        add_file(&p, "a.proto", imports[i].name, imports[i].length);
        cr_assert_eq(ask_player(&p, types, NULL, NULL, &status), EVENER_STATUS_INTERNAL, "%zu: %s", i, status.message);
        cr_assert_str_eq(status.message, "server reflection: the answer is not well-formed");
        cr_assert_null(evener_descriptors_file(types, "a.proto"));
        evener_descriptors_destroy(types);
    }
}

Test(reflection, an_import_that_the_server_does_not_have_may_be_missing)
{
    char longest[EVENER_DESCRIPTORS_NAME_BYTES_MAX];
    memset(longest, 'x', sizeof longest);
    played p = {0};
    evener_descriptors *types = empty();
    evener_status status;
    add_file(&p, "a.proto", longest, sizeof longest);
    add_error(&p, EVENER_STATUS_NOT_FOUND, "", 0);
    cr_assert_eq(ask_player(&p, types, NULL, NULL, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_not_null(evener_descriptors_file(types, "a.proto"));
    evener_descriptors_destroy(types);
}

Test(reflection, imports_are_asked_for_once_and_their_answers_read)
{
    played p = {0};
    evener_descriptors *types = empty();
    evener_status status;
    size_t count;
    add_file(&p, "a", "b", 1);
    size_t start = begin_answer(&p, ANSWER_FILES);
    put_file(&p, "a", "b", 1); /* again */
    put_file(&p, "b", "a", 1); /* which is there: not asked for */
    put_file(&p, "b", "a", 1);
    end_answer(&p, start);
    cr_assert_eq(ask_player(&p, types, NULL, NULL, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_descriptors_files(types, &count);
    cr_assert_eq(count, 2);
    /* The pool has b: one answer is enough. */
    p = (played){0};
    add_file(&p, "c", "b", 1);
    cr_assert_eq(ask_player(&p, types, NULL, NULL, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_descriptors_files(types, &count);
    cr_assert_eq(count, 3);
    evener_descriptors_destroy(types);
}

Test(reflection, an_error_of_the_server_keeps_its_code_and_the_beginning_of_its_text)
{
    char letters[300];
    memset(letters, 'e', sizeof letters);
    static const struct {
        uint64_t code;
        evener_status_code expected;
        size_t length, kept;
    } cases[] = {{EVENER_STATUS_NOT_FOUND, EVENER_STATUS_NOT_FOUND, 3, 3},
                 {EVENER_STATUS_CANCELLED, EVENER_STATUS_CANCELLED, 0, 0},
                 {EVENER_STATUS_UNAUTHENTICATED, EVENER_STATUS_UNAUTHENTICATED, 255, 255},
                 {EVENER_STATUS_OK, EVENER_STATUS_UNKNOWN, 256, 256},
                 {EVENER_STATUS_UNAUTHENTICATED + 1, EVENER_STATUS_UNKNOWN, 257, 256},
                 {UINT64_MAX, EVENER_STATUS_UNKNOWN, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        played p = {0};
        evener_descriptors *types = empty();
        evener_status status;
        char expected[512];
        add_error(&p, cases[i].code, letters, cases[i].length);
        cr_assert_eq(ask_player(&p, types, NULL, NULL, &status), cases[i].expected, "%zu: %s", i, status.message);
        (void)snprintf(expected, sizeof expected, "server reflection: a.B: %.*s", (int)cases[i].kept, letters);
        cr_assert_str_eq(status.message, expected, "%zu", i);
        evener_descriptors_destroy(types);
    }
}

/* Add an answer of `count` services, named by falling numbers. */
static void add_services(played *p, unsigned count)
{
    const size_t start = begin_answer(p, 6); /* list_services_response */
    for (unsigned i = count; i-- > 0;) {
        char name[16];
        const size_t in_service = begin(&p->bytes, 1);
        (void)snprintf(name, sizeof name, "%04u", i);
        text(&p->bytes, 1, name);
        if (i == 0) {
            add_unknown(&p->bytes, 1, EVENER_WIRE_BYTES);
        }
        evener_wire_close(&p->bytes, in_service);
    }
    add_unknown(&p->bytes, 1, EVENER_WIRE_BYTES);
    end_answer(p, start);
}

Test(reflection, the_names_of_services_are_sorted_and_at_most_10000)
{
    static const unsigned counts[] = {0, 1, 200, EVENER_REFLECTION_SERVICES_MAX, EVENER_REFLECTION_SERVICES_MAX + 1};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        played p = {0};
        evener_status status;
        char **names = NULL;
        size_t count = 7;
        add_services(&p, counts[i]);
        const evener_status_code code = ask_player(&p, NULL, &names, &count, &status);
        if (counts[i] > EVENER_REFLECTION_SERVICES_MAX) {
            cr_assert_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED);
            cr_assert_str_eq(status.message, "server reflection: more than 10000 services");
            continue;
        }
        cr_assert_eq(code, EVENER_STATUS_OK, "%s", status.message);
        cr_assert_eq(count, counts[i]);
        for (unsigned k = 0; k < count; k++) {
            char expected[16];
            (void)snprintf(expected, sizeof expected, "%04u", k);
            cr_assert_str_eq(names[k], expected);
        }
        free(names);
    }
}

Test(reflection, an_answer_without_services_is_an_error)
{
    played p = {0};
    evener_status status;
    char **names = NULL;
    size_t count;
    add_error(&p, EVENER_STATUS_PERMISSION_DENIED, "no", 2);
    cr_assert_eq(ask_player(&p, NULL, &names, &count, &status), EVENER_STATUS_PERMISSION_DENIED);
    cr_assert_str_eq(status.message, "server reflection: *: no");
    p = (played){0};
    add_file(&p, "a.proto", "b.proto", 7);
    cr_assert_eq(ask_player(&p, NULL, &names, &count, &status), EVENER_STATUS_INTERNAL);
    cr_assert_str_eq(status.message, "server reflection: the answer is not well-formed");
    cr_assert_null(names);
}

Test(reflection, a_service_without_a_name_is_an_internal_error)
{
    static const char *const services[] = {"", "\x0a\x02\xff\xff", "\x0a\x05xy", "\x12\x01x"};
    for (size_t i = 0; i < 4; i++) {
        played p = {0};
        evener_status status;
        char **names = NULL;
        size_t count;
        const size_t start = begin_answer(&p, 6);
        text(&p.bytes, 1, services[i]);
        end_answer(&p, start);
        cr_assert_eq(ask_player(&p, NULL, &names, &count, &status), EVENER_STATUS_INTERNAL, "%zu", i);
        cr_assert_str_eq(status.message, "server reflection: the answer is not well-formed");
        cr_assert_null(names);
    }
}

Test(reflection, a_server_that_does_not_answer_meets_the_deadline)
{
    static const h2_step steps[] = {{.kind = H2_END}};
    const h2_script script = {.steps = steps};
    h2_script_server *server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
    evener_channel *channel = open_channel(h2_script_server_port(server));
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 50};
    evener_status status;
    char **names;
    size_t count;
    cr_assert_eq(evener_reflection_services(channel, &options, &names, &count, &status),
                 EVENER_STATUS_DEADLINE_EXCEEDED);
    evener_channel_unref(channel);
    h2_script_server_stop(server);
}
