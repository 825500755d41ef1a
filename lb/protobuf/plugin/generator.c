#include "lb/protobuf/plugin/generator.h"

#include <stdlib.h>
#include <string.h>

#include <evener_plugin/plugin.pb-c.h>

#include "lb/protobuf/nesting.h"
#include "lb/protobuf/plugin/names.h"
#include "lb/protobuf/plugin/templates.h"
#include "lb/protobuf/plugin/text.h"

typedef Evener__Plugin__CodeGeneratorRequest code_request;
typedef Evener__Plugin__CodeGeneratorResponse code_response;
typedef Evener__Plugin__CodeGeneratorResponse__File code_file;
typedef Evener__Plugin__FileDescriptorProto file_descriptor;
typedef Evener__Plugin__ServiceDescriptorProto service_descriptor;
typedef Evener__Plugin__MethodDescriptorProto method_descriptor;
typedef Evener__Plugin__DescriptorProto message_descriptor;

#define FEATURE_PROTO3_OPTIONAL 1

/* The numbers of fields in the paths of SourceCodeInfo. */
#define PATH_SERVICE 6
#define PATH_METHOD 2

/* One run: the request, and the first error found. */
typedef struct generator {
    const code_request *request;
    text error; /* its length is 0: none */
} generator;

typedef struct names_taken {
    char **names;
    size_t count;
} names_taken;

static bool fail(generator *self, const file_descriptor *file, const char *pattern, const char *what)
{
    if (self->error.length == 0) {
        const text_value values[] = {{'W', what != NULL ? what : ""}, {0, ""}};
        text_add(&self->error, file != NULL && file->name != NULL ? file->name : "protoc-gen-evener");
        text_add(&self->error, ": ");
        text_fill(&self->error, pattern, values);
    }
    return false;
}

/* ---- comments ---- */

static const char *find_comment(const file_descriptor *file, const int32_t *path, size_t path_length)
{
    for (size_t i = 0; file->source_code_info != NULL && i < file->source_code_info->n_location; i++) {
        const Evener__Plugin__SourceCodeInfo__Location *place = file->source_code_info->location[i];
        if (place->n_path == path_length && memcmp(place->path, path, path_length * sizeof *path) == 0) {
            return place->leading_comments != NULL ? place->leading_comments : place->trailing_comments;
        }
    }
    return NULL;
}

/* Add the text of a comment inside of a C comment that has begun, from its second line on. Nothing in it ends that
 * comment or begins another one, and control characters do not get in. */
static void add_comment(text *to, const char *comment)
{
    while (*comment != '\0') {
        const size_t length = strcspn(comment, "\n");
        size_t end = length;
        while (end > 0 && (comment[end - 1] == ' ' || comment[end - 1] == '\t' || comment[end - 1] == '\r')) {
            end--;
        }
        if (end > 0 || comment[length] != '\0') {
            text_add(to, "\n *");
            text_add(to, end > 0 && comment[0] != ' ' ? " " : "");
        }
        for (size_t i = 0; i < end; i++) {
            const char c = comment[i];
            const char before = i > 0 ? comment[i - 1] : '*'; /* a line begins behind a star */
            if ((before == '*' && c == '/') || (before == '/' && c == '*')) {
                text_add(to, " ");
            }
            text_add_bytes(to, (unsigned char)c < ' ' || c == 0x7f ? " " : &c, 1);
        }
        if (end > 0 && (comment[end - 1] == '\\' || (end > 2 && memcmp(comment + end - 3, "\?\?/", 3) == 0))) {
            text_add(to, " ."); /* a backslash at the end, or its trigraph, would join the next line */
        }
        comment += length + (comment[length] == '\n');
    }
}

/* ---- types ---- */

/* Return what follows the prefix and a dot in `name`; all of it if the prefix is empty; else NULL. */
static const char *behind_prefix(const char *name, const char *prefix)
{
    const size_t length = prefix != NULL ? strlen(prefix) : 0;
    if (length == 0) {
        return name;
    }
    return strncmp(name, prefix, length) == 0 && name[length] == '.' ? name + length + 1 : NULL;
}

/* The nesting of messages is bounded: generator_run() has checked it. */
static bool has_message(message_descriptor *const *messages, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        const char *rest = messages[i]->name != NULL ? behind_prefix(name, messages[i]->name) : NULL;
        if ((messages[i]->name != NULL && strcmp(messages[i]->name, name) == 0) ||
            (rest != NULL && messages[i]->name[0] != '\0' &&
             has_message(messages[i]->nested_type, messages[i]->n_nested_type, rest))) {
            return true;
        }
    }
    return false;
}

static const char *c_package_of(const file_descriptor *file)
{
    return file->options != NULL && file->options->pb_c_file != NULL ? file->options->pb_c_file->c_package : NULL;
}

/* Add the full name with the file's package as protoc-c sees it, which its option c_package replaces. */
static void add_seen_name(text *to, const file_descriptor *file, const char *behind_package)
{
    const char *package = c_package_of(file) != NULL ? c_package_of(file) : file->package;
    if (package != NULL && package[0] != '\0') {
        text_add(to, package);
        text_add(to, ".");
    }
    text_add(to, behind_package);
}

/* Add a message's C type and the prefix of its functions. `name` is ".package.Message". */
static bool add_type(generator *self, const file_descriptor *user, const char *name, text *type, text *lower)
{
    if (name == NULL || name[0] != '.' || !names_is_full(name + 1)) {
        return fail(self, user, "\"$W\" is no name of a message type", name);
    }
    for (size_t i = 0; i < self->request->n_proto_file; i++) {
        const file_descriptor *file = self->request->proto_file[i];
        const char *rest = behind_prefix(name + 1, file->package);
        if (rest != NULL && has_message(file->message_type, file->n_message_type, rest)) {
            text seen = {0};
            add_seen_name(&seen, file, rest);
            const bool is_name = !seen.failed && names_is_full(seen.data);
            if (is_name) {
                names_add_type(type, seen.data);
                names_add_lower(lower, seen.data, "__");
            }
            free(seen.data);
            return is_name || fail(self, user, "the package of $W is no name", name + 1);
        }
    }
    return fail(self, user, "the message type $W is in no file of the request", name + 1);
}

/* ---- methods ---- */

static bool take_names(names_taken *taken, const char *function, const char *const *suffixes)
{
    for (size_t i = 0; suffixes[i] != NULL; i++) {
        text name = {0};
        text_add(&name, function);
        text_add(&name, suffixes[i]);
        char **names = realloc(taken->names, (taken->count + 1) * sizeof *names);
        if (names != NULL) {
            taken->names = names;
        }
        if (name.failed || names == NULL) {
            free(name.data);
            return false;
        }
        names[taken->count++] = name.data;
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_method(generator *self, const file_descriptor *file, size_t service, size_t index, names_taken *taken,
                       text *header, text *source)
{
    const method_descriptor *method = file->service[service]->method[index];
    const char *service_name = file->service[service]->name;
    if (!names_is_identifier(method->name)) {
        return fail(self, file, "\"$W\" is no name of a method", method->name);
    }
    const method_kind kind = method->client_streaming
                                 ? (method->server_streaming ? METHOD_BOTH_STREAM : METHOD_CLIENT_STREAM)
                             : method->server_streaming ? METHOD_SERVER_STREAM
                                                        : METHOD_UNARY;
    const method_templates *templates = &method_kinds[kind];
    text function = {0};
    text path = {0};
    text types[4] = {{0}, {0}, {0}, {0}};
    text seen = {0};
    add_seen_name(&seen, file, service_name);
    text_add(&seen, ".");
    text_add(&seen, method->name);
    if (!seen.failed) {
        names_add_lower(&function, seen.data, "_");
        if (!function.failed && names_is_reserved(function.data)) {
            text_add(&function, "_");
        }
    }
    if (file->package != NULL && file->package[0] != '\0') {
        text_add(&path, file->package);
        text_add(&path, ".");
    }
    text_add(&path, service_name);
    text_add(&path, "/");
    text_add(&path, method->name);
    bool ok = add_type(self, file, method->input_type, &types[0], &types[1]) &&
              add_type(self, file, method->output_type, &types[2], &types[3]);
    for (size_t i = 0; i < 4; i++) {
        ok = ok && !types[i].failed;
    }
    ok = ok && !function.failed && !path.failed && take_names(taken, function.data, templates->suffixes);
    if (ok) {
        const text_value values[] = {{'F', function.data}, {'P', path.data},       {'Q', types[0].data},
                                     {'q', types[1].data}, {'A', types[2].data},   {'a', types[3].data},
                                     {'N', method->name},  {'K', templates->kind}, {0, ""}};
        const int32_t place[] = {PATH_SERVICE, (int32_t)service, PATH_METHOD, (int32_t)index};
        const char *comment = find_comment(file, place, 4);
        text_fill(header, "\n/* $N, $K.", values);
        text_add(header, method->options != NULL && method->options->deprecated ? " Deprecated." : "");
        if (comment != NULL) {
            add_comment(header, comment);
        }
        text_add(header, " */\n");
        text_fill(header, templates->header, values);
        text_fill(source, "\n/* ---- $P ---- */\n\n", values);
        text_fill(source, templates->source, values);
    }
    free(function.data);
    free(path.data);
    free(seen.data);
    for (size_t i = 0; i < 4; i++) {
        free(types[i].data);
    }
    return ok;
}

static bool add_service(generator *self, const file_descriptor *file, size_t index, names_taken *taken, text *header,
                        text *source)
{
    const service_descriptor *service = file->service[index];
    if (!names_is_identifier(service->name)) {
        return fail(self, file, "\"$W\" is no name of a service", service->name);
    }
    const int32_t place[] = {PATH_SERVICE, (int32_t)index};
    const char *comment = find_comment(file, place, 2);
    text_add(header, "\n/* ---- ");
    text_add(header, service->name);
    text_add(header, " ----");
    if (comment != NULL) {
        add_comment(header, comment);
    }
    text_add(header, " */\n");
    for (size_t i = 0; i < service->n_method; i++) {
        if (!add_method(self, file, index, i, taken, header, source)) {
            return false;
        }
    }
    return true;
}

/* ---- files ---- */

/* A file's name goes into comments and include lines. */
static bool is_plain_path(const char *name)
{
    const size_t length = name != NULL ? strlen(name) : 0;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < ' ' || strchr("\"\\*<>", name[i]) != NULL) {
            return false;
        }
    }
    return length > 0;
}

static void add_guard(text *to, const char *stem)
{
    for (const char *c = stem; *c != '\0'; c++) {
        const bool lower = *c >= 'a' && *c <= 'z';
        const bool kept = lower || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        const char upper = lower ? (char)(*c - 'a' + 'A') : *c;
        text_add_bytes(to, kept ? &upper : "_", 1);
    }
    text_add(to, "_EVENER_H");
}

static bool add_file(generator *self, const file_descriptor *file, code_response *response)
{
    if (!is_plain_path(file->name)) {
        return fail(self, NULL, "the name of a file is empty or has characters that C cannot include", NULL);
    }
    if (file->package != NULL && file->package[0] != '\0' && !names_is_full(file->package)) {
        return fail(self, file, "\"$W\" is no name of a package", file->package);
    }
    if (c_package_of(file) != NULL && c_package_of(file)[0] != '\0' && !names_is_full(c_package_of(file))) {
        return fail(self, file, "\"$W\" is no name of a package", c_package_of(file));
    }
    text stem = {0};
    text guard = {0};
    text header = {0};
    text source = {0};
    text names[2] = {{0}, {0}};
    names_taken taken = {0};
    const size_t length = strlen(file->name);
    const bool has_suffix = length > 6 && strcmp(file->name + length - 6, ".proto") == 0;
    text_add_bytes(&stem, file->name, has_suffix ? length - 6 : length);
    bool ok = !stem.failed;
    if (ok) {
        add_guard(&guard, stem.data);
        ok = !guard.failed;
    }
    if (ok) {
        const text_value values[] = {{'N', file->name}, {'S', stem.data}, {'G', guard.data}, {0, ""}};
        text_fill(&header,
                  "/* Typed calls of the services in $N. Generated by protoc-gen-evener; do not edit.\n"
                  " * What holds for all of them (ownership, threads, errors) is in evener/protobuf_c.h. */\n"
                  "#ifndef $G\n#define $G\n\n#"
                  "include <evener/protobuf_c.h>\n\n#"
                  "include \"$S.pb-c.h\"\n\n"
                  "EVENER_BEGIN_DECLS\n",
                  values);
        text_fill(&source,
                  "/* Typed calls of the services in $N. Generated by protoc-gen-evener; do not edit. */\n"
                  "#"
                  "include \"$S.evener.h\"\n",
                  values);
        for (size_t i = 0; ok && i < file->n_service; i++) {
            ok = add_service(self, file, i, &taken, &header, &source);
        }
        text_add(&header, "\nEVENER_END_DECLS\n\n#endif\n");
        text_fill(&names[0], "$S.evener.h", values);
        text_fill(&names[1], "$S.evener.c", values);
    }
    if (taken.count > 0) {
        qsort(taken.names, taken.count, sizeof *taken.names, compare_names);
    }
    for (size_t i = 1; ok && i < taken.count; i++) {
        ok = strcmp(taken.names[i - 1], taken.names[i]) != 0 ||
             fail(self, file, "two methods need the C name $W; rename one of them", taken.names[i]);
    }
    ok = ok && !header.failed && !source.failed && !names[0].failed && !names[1].failed;
    code_file *files[2] = {NULL, NULL};
    for (size_t i = 0; ok && i < 2; i++) {
        files[i] = calloc(1, sizeof *files[i]);
        ok = files[i] != NULL;
    }
    if (ok) {
        for (size_t i = 0; i < 2; i++) {
            evener__plugin__code_generator_response__file__init(files[i]);
            files[i]->name = names[i].data;
            files[i]->content = i == 0 ? header.data : source.data;
            response->file[response->n_file++] = files[i]; /* owns its texts now */
        }
    } else {
        free(files[0]);
        free(files[1]);
        free(names[0].data);
        free(names[1].data);
        free(header.data);
        free(source.data);
    }
    for (size_t i = 0; i < taken.count; i++) {
        free(taken.names[i]);
    }
    free(taken.names);
    free(stem.data);
    free(guard.data);
    return ok;
}

static bool add_files(generator *self, code_response *response)
{
    const code_request *request = self->request;
    if (request->parameter != NULL && request->parameter[0] != '\0') {
        return fail(self, NULL, "unknown parameter \"$W\"; there are none", request->parameter);
    }
    for (size_t i = 0; i < request->n_file_to_generate; i++) {
        const file_descriptor *file = NULL;
        for (size_t j = 0; file == NULL && j < request->n_proto_file; j++) {
            const char *name = request->proto_file[j]->name;
            file = name != NULL && strcmp(name, request->file_to_generate[i]) == 0 ? request->proto_file[j] : NULL;
        }
        if (file == NULL) {
            return fail(self, NULL, "the file $W is not in the request", request->file_to_generate[i]);
        }
        if (!add_file(self, file, response)) {
            return false;
        }
    }
    return true;
}

bool generator_run(const uint8_t *request_data, size_t request_bytes, uint8_t **packed, size_t *packed_bytes,
                   const char **error)
{
    static const char no_memory[] = "out of memory";
    const ProtobufCMessageDescriptor *type = &evener__plugin__code_generator_request__descriptor;
    *error = "standard input is no CodeGeneratorRequest; protoc runs this program: protoc --evener_out=FOLDER FILE";
    if (!evener_protobuf_c_nesting_is_bounded(type, request_data, request_bytes, EVENER_PROTOBUF_DEPTH_MAX)) {
        return false;
    }
    code_request *request = evener__plugin__code_generator_request__unpack(NULL, request_bytes, request_data);
    if (request == NULL) {
        return false;
    }
    *error = no_memory;
    generator self = {.request = request};
    code_response response = EVENER__PLUGIN__CODE_GENERATOR_RESPONSE__INIT;
    response.has_supported_features = 1;
    response.supported_features = FEATURE_PROTO3_OPTIONAL;
    response.file = calloc(2 * request->n_file_to_generate + 1, sizeof *response.file);
    bool ok = response.file != NULL;
    if (ok && !add_files(&self, &response)) {
        ok = self.error.length > 0 && !self.error.failed;
        response.error = self.error.data;
    }
    if (ok) {
        code_response failed = response;
        failed.n_file = 0;
        const code_response *answer = response.error != NULL ? &failed : &response;
        *packed_bytes = evener__plugin__code_generator_response__get_packed_size(answer);
        *packed = malloc(*packed_bytes + 1);
        ok = *packed != NULL;
        if (ok) {
            evener__plugin__code_generator_response__pack(answer, *packed);
        }
    }
    for (size_t i = 0; i < response.n_file; i++) {
        free(response.file[i]->name);
        free(response.file[i]->content);
        free(response.file[i]);
    }
    free(response.file);
    free(self.error.data);
    evener__plugin__code_generator_request__free_unpacked(request, NULL);
    return ok;
}
