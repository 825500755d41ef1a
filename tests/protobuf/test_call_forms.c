/* All forms of calling give the same answers, for every method of GrpcDemo and GrpcGatewayDemo: bytes, protobuf-c's
 * stubs, generated functions that wait and that do not, the command line, and the gateway for what it offers. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <evener/json.h>
#include <evener/reflection.h>

#include "grpc/call_fixture.h"
#include "protobuf/call_forms.h"

#define MESSAGES 1000

typedef struct scene {
    call_fixture f;
    char target[64];
    evener_descriptors *types;
    char folder[32], requests_path[64], requests_at[80];
    pid_t gateway;
    unsigned gateway_port;
} scene;

/* ---- programs ---- */

/* Start a program with its standard output in a pipe, which is returned. It ends with this process. */
static FILE *program_start(char *const *arguments, pid_t *pid)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    fflush(NULL);
    *pid = fork();
    cr_assert_geq(*pid, 0);
    if (*pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    close(ends[1]);
    return fdopen(ends[0], "r");
}

/* Run a program to its end and return its exit status. Its output is to be freed. */
static int program_run(char *const *arguments, char **output, size_t *length)
{
    pid_t pid;
    FILE *from = program_start(arguments, &pid);
    FILE *to = open_memstream(output, length);
    for (int c; (c = getc(from)) != EOF;) {
        putc(c, to);
    }
    fclose(from);
    fclose(to);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void gateway_start(scene *s)
{
    char *arguments[] = {(char *)GATEWAY_PROGRAM, (char *)"--listen", (char *)"127.0.0.1:0",
                         (char *)"--plaintext",   s->target,          NULL};
    char line[256];
    FILE *from = program_start(arguments, &s->gateway);
    while (s->gateway_port == 0 && fgets(line, sizeof line, from) != NULL) {
        const char *port = strstr(line, "listening on port ");
        s->gateway_port = port != NULL ? (unsigned)strtoul(port + strlen("listening on port "), NULL, 10) : 0;
    }
    cr_assert_neq(s->gateway_port, 0, "the gateway does not start");
    fclose(from); /* it prints no more until it ends */
}

/* ---- the scene ---- */

static void scene_open(scene *s)
{
    *s = (scene){.folder = "/tmp/evener-forms-XXXXXX"};
    call_fixture_open(&s->f, 1, NULL);
    snprintf(s->target, sizeof s->target, "ipv4:127.0.0.1:%u", (unsigned)demo_server_port(s->f.servers[0]));
    evener_status status;
    cr_assert_eq(evener_descriptors_create(&s->types, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_reflection_add(s->f.channel, "grpcdemo.GrpcDemo", NULL, s->types, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    cr_assert_not_null(mkdtemp(s->folder));
    snprintf(s->requests_path, sizeof s->requests_path, "%s/requests", s->folder);
    snprintf(s->requests_at, sizeof s->requests_at, "@%s", s->requests_path);
    gateway_start(s);
}

static void scene_close(scene *s)
{
    int status;
    kill(s->gateway, SIGTERM);
    cr_expect_eq(waitpid(s->gateway, &status, 0), s->gateway);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the gateway ended with %#x", (unsigned)status);
    unlink(s->requests_path);
    rmdir(s->folder);
    evener_descriptors_destroy(s->types);
    call_fixture_close(&s->f);
}

/* Turn JSON values into messages. */
static void add_json(const evener_message_type *type, const char *json, size_t length, call_messages *to)
{
    evener_status status;
    for (size_t at = 0, start, end;; at += end) {
        cr_assert_eq(evener_json_next(json + at, length - at, &start, &end, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        if (start == end) {
            return;
        }
        evener_bytes message;
        cr_assert_eq(evener_json_to_bytes(type, json + at + start, end - start, NULL, &message, &status),
                     EVENER_STATUS_OK, "%s: %.*s", status.message, (int)(end - start), json + at + start);
        call_messages_add(to, &message);
    }
}

/* ---- the command line and the gateway ---- */

static void call_by_command_line(scene *s, const evener_method *method, call_messages *answers)
{
    char *arguments[] = {(char *)EVENER_PROGRAM, (char *)"call", (char *)"--plaintext",    (char *)"-d",
                         s->requests_at,         s->target,      (char *)method->path + 1, NULL};
    char *output;
    size_t length;
    const int status = program_run(arguments, &output, &length);
    answers->code = status == 0 ? EVENER_STATUS_OK : (evener_status_code)(status - 64);
    add_json(method->output, output, length, answers);
    free(output);
}

/* The code in the gateway's {"code":5,...}. */
static evener_status_code code_of_error(const char *json)
{
    const char *code = strstr(json, "\"code\":");
    cr_assert_not_null(code, "%s", json);
    return (evener_status_code)strtoul(code + strlen("\"code\":"), NULL, 10);
}

static void call_by_gateway(scene *s, const evener_method *method, const char *path, call_messages *answers)
{
    static const char result[] = "{\"result\":";
    char url[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", s->gateway_port, path);
    char *arguments[] = {
        (char *)"curl", (char *)"-sS", (char *)"--max-time", (char *)"60", (char *)"-d", s->requests_at, url, NULL};
    char *output;
    size_t length;
    cr_assert_eq(program_run(arguments, &output, &length), 0, "%s", output);
    if (strncmp(output, "{\"code\":", 8) == 0) {
        answers->code = code_of_error(output);
    } else if (!method->server_streaming) {
        add_json(method->output, output, length, answers);
    } else {
        for (char *save, *line = strtok_r(output, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
            const size_t bytes = strlen(line);
            cr_assert_eq(strncmp(line, result, strlen(result)), 0, "%s", line);
            add_json(method->output, line + strlen(result), bytes - strlen(result) - 1, answers);
        }
    }
    free(output);
}

/* ---- comparing ---- */

static void expect_same(const char *path, const char *form, const call_messages *expected, call_messages *found)
{
    cr_expect_eq(found->code, expected->code, "%s by %s: %s, not %s", path, form, evener_status_code_name(found->code),
                 evener_status_code_name(expected->code));
    cr_expect_eq(found->count, expected->count, "%s by %s: %zu answers, not %zu", path, form, found->count,
                 expected->count);
    for (size_t i = 0; i < expected->count && i < found->count; i++) {
        cr_expect(found->list[i].length == expected->list[i].length &&
                      memcmp(found->list[i].data, expected->list[i].data, found->list[i].length) == 0,
                  "%s by %s: answer %zu differs", path, form, i);
    }
    call_messages_clear(found);
}

/* Call by all forms with the requests at s->requests_path. `http_path` NULL: not through the gateway. */
static void compare_forms(scene *s, const char *path, const char *http_path, const char *json,
                          evener_status_code expected, size_t count)
{
    const evener_method *method = evener_descriptors_method(s->types, path);
    cr_assert_not_null(method, "%s", path);
    FILE *file = fopen(s->requests_path, "w");
    cr_assert_not_null(file);
    fputs(json, file);
    fclose(file);
    call_messages requests = {0}, by_bytes = {0}, found = {0};
    add_json(method->input, json, strlen(json), &requests);
    call_by_bytes(s->f.channel, method, &requests, &by_bytes);
    cr_expect_eq(by_bytes.code, expected, "%s", path);
    cr_expect_eq(by_bytes.count, count, "%s: %zu answers", path, by_bytes.count);

    const call_method *generated = NULL;
    for (size_t i = 0; i < CALL_METHODS; i++) {
        generated = strcmp(call_methods[i].path, path) == 0 ? &call_methods[i] : generated;
    }
    cr_assert_not_null(generated, "%s", path);
    generated->blocking(s->f.channel, &requests, &found);
    expect_same(path, "generated functions that wait", &by_bytes, &found);
    generated->async(s->f.channel, &requests, &found);
    expect_same(path, "generated functions that do not wait", &by_bytes, &found);
    if (generated->stub != NULL) {
        generated->stub(s->f.channel, &requests, &found);
        expect_same(path, "stubs", &by_bytes, &found);
    }
    call_by_command_line(s, method, &found);
    expect_same(path, "the command line", &by_bytes, &found);
    if (http_path != NULL) {
        call_by_gateway(s, method, http_path, &found);
        expect_same(path, "the gateway", &by_bytes, &found);
    }
    call_messages_clear(&by_bytes);
    call_messages_clear(&requests);
}

/* Return a line for each number below MESSAGES, to be freed. */
static char *numbered(const char *before, const char *behind)
{
    char *text;
    size_t length;
    FILE *to = open_memstream(&text, &length);
    for (unsigned i = 0; i < MESSAGES; i++) {
        fprintf(to, "%s%u%s\n", before, i, behind);
    }
    fclose(to);
    return text;
}

Test(call_forms, all_methods_give_the_same_answers_in_all_forms, .timeout = 240)
{
    scene s;
    scene_open(&s);
    char *parts = numbered("{\"foo\":\"", ",\"}");
    char *people = numbered("{\"firstName\":\"name ", "\",\"age\":7}");
    const struct {
        const char *method, *http_path, *json;
        evener_status_code code;
        size_t answers;
    } cases[] = {
        {"/grpcdemo.GrpcDemo/UnaryCall", "/grpcdemo.GrpcDemo/UnaryCall", "{}", EVENER_STATUS_OK, 1},
        {"/grpcdemo.GrpcDemo/DemoImport", "/grpcdemo.GrpcDemo/DemoImport", "{\"importedMessage\":\"who\"}",
         EVENER_STATUS_OK, 1},
        {"/grpcdemo.GrpcDemo/PushData", NULL, parts, EVENER_STATUS_OK, 1},
        {"/grpcdemo.GrpcDemo/FetchData", "/grpcdemo.GrpcDemo/FetchData", "{\"msg\":\"books\",\"phone\":\"1\"}",
         EVENER_STATUS_OK, 3},
        {"/grpcdemo.GrpcDemo/Exchange", NULL, people, EVENER_STATUS_OK, MESSAGES},
        {"/grpcdemo.GrpcDemo/CallGrpcGateway", "/v1/call", "{\"config\":{\"name\":\"wangwu\"}}", EVENER_STATUS_OK, 1},
        {"/grpcdemo.GrpcDemo/CallGrpcGateway", "/v1/call", "{\"config\":{\"name\":\"zhangsan\"}}",
         EVENER_STATUS_NOT_FOUND, 0},
        {"/grpcdemo.GrpcDemo/CallGrpcGateway", "/v1/call", "{\"config\":{\"name\":\"lisi\"}}", EVENER_STATUS_UNKNOWN,
         0},
        {"/grpcdemo.GrpcGatewayDemo/CallGrpcGatewayDemo", "/v1/gateway",
         "{\"username\":\"u\",\"password\":\"p\",\"data\":{\"@type\":\"type.googleapis.com/grpcdemo.CustomMessage\","
         "\"customMessage\":\"x\"}}",
         EVENER_STATUS_OK, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        compare_forms(&s, cases[i].method, cases[i].http_path, cases[i].json, cases[i].code, cases[i].answers);
    }
    free(parts);
    free(people);
    scene_close(&s);
}

/* The types above are all that the services have. */
Test(call_forms, no_method_is_left_out, .timeout = 60)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_descriptors *types;
    evener_status status;
    cr_assert_eq(evener_descriptors_create(&types, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_reflection_add(f.channel, "grpcdemo.GrpcDemo", NULL, types, &status), EVENER_STATUS_OK);
    size_t count, methods = 0;
    const evener_service_type *const *services = evener_descriptors_services(types, &count);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < services[i]->method_count; k++, methods++) {
            bool found = false;
            for (size_t j = 0; j < CALL_METHODS; j++) {
                found = found || strcmp(services[i]->methods[k]->path, call_methods[j].path) == 0;
            }
            cr_expect(found, "%s", services[i]->methods[k]->path);
        }
    }
    cr_expect_eq(methods, CALL_METHODS);
    evener_descriptors_destroy(types);
    call_fixture_close(&f);
}
