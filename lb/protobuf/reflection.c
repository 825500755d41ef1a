/* Reflection: questions and answers on one stream. Its messages are few and small, and written here field by field
 * (grpc: src/proto/grpc/reflection/v1/reflection.proto; v1alpha has the same messages). */
#include <evener/reflection.h>

#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"
#include "lb/base/options.h"
#include "lb/protobuf/wire.h"

/* ServerReflectionRequest.message_request */
#define ASK_FILE_BY_NAME 3
#define ASK_FILE_WITH_SYMBOL 4
#define ASK_SERVICES 7
/* ServerReflectionResponse.message_response */
#define ANSWER_FILES 4
#define ANSWER_SERVICES 6
#define ANSWER_ERROR 7

static const char *const methods[] = {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};

typedef struct session {
    evener_channel *channel;
    evener_call_options options;
    evener_stream *stream; /* NULL: not open */
    unsigned version;      /* index in `methods` */
    bool answered;         /* the server has answered in this version */
    evener_status *status;
} session;

/* An answer: the content of one member of the oneof, inside `message`. */
typedef struct answer {
    evener_bytes message;
    uint32_t kind;
    const uint8_t *data;
    size_t length;
} answer;

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "server reflection: out of memory");
}

static evener_status_code not_reflection(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_INTERNAL, "server reflection: the answer is not well-formed");
}

static evener_status_code session_begin(session *s, evener_channel *channel, const evener_call_options *options,
                                        evener_status *status)
{
    *s = (session){.channel = channel, .status = status};
    const evener_status_code code = evener_options_read(&s->options, sizeof s->options, options, "reflection options",
                                                        "evener_call_options", status);
    s->options.size = sizeof s->options;
    s->options.details = NULL;
    s->options.timeout_ms = s->options.timeout_ms == 0 ? EVENER_REFLECTION_TIMEOUT_MS : s->options.timeout_ms;
    return code;
}

static void session_end(session *s)
{
    if (s->stream != NULL) {
        evener_stream_writes_done(s->stream);
        evener_stream_cancel(s->stream); /* nothing more is asked; a server may wait for it or not */
        evener_stream_unref(s->stream);
        s->stream = NULL;
    }
}

/* End the stream and store why it failed. Return the code, which is not OK. */
static evener_status_code stream_failed(session *s)
{
    evener_status_code code = evener_stream_finish(s->stream, s->status);
    evener_stream_unref(s->stream);
    s->stream = NULL;
    if (code == EVENER_STATUS_OK) {
        code = evener_status_set(s->status, EVENER_STATUS_INTERNAL,
                                 "server reflection: the server ended the stream without an answer");
    }
    return code;
}

static evener_status_code exchange_once(session *s, const evener_bytes *request, evener_bytes *response)
{
    if (s->stream == NULL) {
        const evener_status_code code =
            evener_stream_open(s->channel, methods[s->version], NULL, &s->options, &s->stream, s->status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    /* A write that fails is explained by the end of the stream, as is a missing answer. */
    if (!evener_stream_write(s->stream, request) || !evener_stream_read(s->stream, response)) {
        return stream_failed(s);
    }
    s->answered = true;
    return EVENER_STATUS_OK;
}

static bool find_answer(answer *a)
{
    evener_wire_reader reader = evener_wire_read(a->message.data, a->message.length);
    evener_wire_field f;
    evener_wire_result result;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.type == EVENER_WIRE_BYTES && f.number >= ANSWER_FILES && f.number <= ANSWER_ERROR) {
            a->kind = f.number;
            a->data = f.data;
            a->length = f.length;
        }
    }
    return result == EVENER_WIRE_END && a->kind != 0;
}

/* Fail with what the server says of `text`. */
static evener_status_code error_of(const answer *a, const char *text, evener_status *status)
{
    evener_wire_reader reader = evener_wire_read(a->data, a->length);
    evener_wire_field f;
    uint64_t code = EVENER_STATUS_UNKNOWN;
    int length = 0;
    const char *message = "";
    while (evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 1 && f.type == EVENER_WIRE_VARINT) { /* error_code */
            code = f.value;
        } else if (f.number == 2 && f.type == EVENER_WIRE_BYTES) { /* error_message */
            message = (const char *)f.data;
            length = f.length < 256 ? (int)f.length : 256;
        }
    }
    code = code > 0 && code <= EVENER_STATUS_UNAUTHENTICATED ? code : EVENER_STATUS_UNKNOWN;
    return evener_status_set(status, (evener_status_code)code, "server reflection: %.128s: %.*s", text, length,
                             length > 0 ? message : "");
}

/* Ask one question. On OK the answer is of `wanted`, and a->message is to be cleared. */
static evener_status_code ask(session *s, uint32_t question, const char *text, uint32_t wanted, answer *a)
{
    evener_wire_buffer request = {0};
    *a = (answer){0};
    evener_wire_put_bytes(&request, question, text, strlen(text));
    if (request.failed) {
        evener_wire_clear(&request);
        return no_memory(s->status);
    }
    const evener_bytes bytes = {.data = request.data, .length = request.length};
    evener_status_code code = exchange_once(s, &bytes, &a->message);
    if (code == EVENER_STATUS_UNIMPLEMENTED && !s->answered && s->version == 0) {
        s->version = 1;
        code = exchange_once(s, &bytes, &a->message);
    }
    evener_wire_clear(&request);
    if (code == EVENER_STATUS_UNIMPLEMENTED && !s->answered) {
        evener_status_set(s->status, code, "the server offers no reflection (%.256s)", s->status->message);
    }
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    const bool found = find_answer(a);
    if (found && a->kind == ANSWER_ERROR) {
        code = error_of(a, text, s->status);
    } else if (!found || a->kind != wanted) {
        code = not_reflection(s->status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_bytes_clear(&a->message);
    }
    return code;
}

/* ---- services ---- */

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Find the name in a ServiceResponse. */
static bool service_name(const evener_wire_field *from, evener_wire_field *name)
{
    evener_wire_reader reader = evener_wire_read(from->data, from->length);
    evener_wire_field f;
    evener_wire_result result;
    bool found = false;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == 1 && f.type == EVENER_WIRE_BYTES) {
            *name = f;
            found = true;
        }
    }
    return result == EVENER_WIRE_END && found && evener_utf8_is_valid(name->data, name->length);
}

/* Count the services, or, with `names`, copy their names behind the array. False: malformed. */
static bool read_services(const answer *a, size_t *count, size_t *bytes, char **names)
{
    evener_wire_reader reader = evener_wire_read(a->data, a->length);
    evener_wire_field f, name;
    evener_wire_result result;
    char *to = names != NULL ? (char *)(names + *count) : NULL;
    *count = *bytes = 0;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number != 1 || f.type != EVENER_WIRE_BYTES) { /* service */
            continue;
        }
        if (!service_name(&f, &name)) {
            return false;
        }
        if (names != NULL) {
            names[*count] = to;
            memcpy(to, name.data, name.length);
            to[name.length] = '\0';
            to += name.length + 1;
        }
        (*count)++;
        *bytes += name.length + 1;
    }
    return result == EVENER_WIRE_END;
}

evener_status_code evener_reflection_services(evener_channel *channel, const evener_call_options *options,
                                              char ***names, size_t *count, evener_status *status)
{
    evener_status own;
    session s;
    answer a;
    evener_status_code code = session_begin(&s, channel, options, status != NULL ? status : &own);
    if (code != EVENER_STATUS_OK || (code = ask(&s, ASK_SERVICES, "*", ANSWER_SERVICES, &a)) != EVENER_STATUS_OK) {
        session_end(&s);
        return code;
    }
    size_t found, bytes;
    if (!read_services(&a, &found, &bytes, NULL)) {
        code = not_reflection(s.status);
    } else if (found > EVENER_REFLECTION_SERVICES_MAX) {
        code = evener_status_set(s.status, EVENER_STATUS_RESOURCE_EXHAUSTED, "server reflection: more than %d services",
                                 EVENER_REFLECTION_SERVICES_MAX);
    } else {
        char **list = malloc(found * sizeof *list + bytes + 1);
        if (list == NULL) {
            code = no_memory(s.status);
        } else {
            read_services(&a, &found, &bytes, list);
            if (found > 0) {
                qsort(list, found, sizeof *list, compare_names);
            }
            *names = list;
            *count = found;
            evener_status_clear(s.status);
        }
    }
    evener_bytes_clear(&a.message);
    session_end(&s);
    return code;
}

/* ---- files ---- */

/* The files of one question and of what they import. */
typedef struct collection {
    evener_bytes *files; /* each with a reference to the answer that it lies in */
    size_t count, room;
    size_t bytes;
    char **names; /* that came or were asked for, sorted; owned */
    size_t name_count, name_room;
    size_t questions;
} collection;

static void collection_clear(collection *c)
{
    for (size_t i = 0; i < c->count; i++) {
        evener_bytes_clear(&c->files[i]);
    }
    for (size_t i = 0; i < c->name_count; i++) {
        free(c->names[i]);
    }
    free(c->files);
    free(c->names);
}

static void *grow(void *list, size_t count, size_t *room, size_t bytes)
{
    if (count < *room) {
        return list;
    }
    const size_t larger = *room == 0 ? 16 : 2 * *room;
    void *grown = realloc(list, larger * bytes);
    *room = grown != NULL ? larger : *room;
    return grown;
}

/* Add a name. *added: false if it was there. False: no memory. */
static bool add_name(collection *c, const uint8_t *text, size_t length, bool *added)
{
    size_t low = 0, high = c->name_count;
    char *name = evener_text_copy(text, length);
    char **names = name != NULL ? grow(c->names, c->name_count, &c->name_room, sizeof *c->names) : NULL;
    if (names == NULL) {
        free(name);
        return false;
    }
    c->names = names;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(names[middle], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *added = low == c->name_count || strcmp(names[low], name) != 0;
    if (!*added) {
        free(name);
        return true;
    }
    memmove(names + low + 1, names + low, (c->name_count - low) * sizeof *names);
    names[low] = name;
    c->name_count++;
    return true;
}

/* Find a file's name, field 1 of FileDescriptorProto. */
static bool file_name(const evener_wire_field *file, evener_wire_field *name)
{
    return service_name(file, name); /* of both, field 1 is a string called name */
}

static bool has_file(const collection *c, const evener_wire_field *name)
{
    for (size_t i = 0; i < c->count; i++) {
        const evener_wire_field file = {.data = c->files[i].data, .length = c->files[i].length};
        evener_wire_field other;
        if (file_name(&file, &other) && other.length == name->length &&
            (name->length == 0 || memcmp(other.data, name->data, name->length) == 0)) {
            return true;
        }
    }
    return false;
}

/* Take the files of an answer that are new. */
static evener_status_code take_files(session *s, const answer *a, collection *c)
{
    evener_wire_reader reader = evener_wire_read(a->data, a->length);
    evener_wire_field f, name;
    evener_wire_result result;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        bool added;
        if (f.number != 1 || f.type != EVENER_WIRE_BYTES) { /* file_descriptor_proto */
            continue;
        }
        if (!file_name(&f, &name)) {
            return not_reflection(s->status);
        }
        c->bytes += f.length;
        if (c->count >= EVENER_REFLECTION_FILES_MAX || c->bytes > EVENER_DESCRIPTORS_BYTES_MAX) {
            return evener_status_set(s->status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                     "server reflection: more than %d files, or %d MiB of them",
                                     EVENER_REFLECTION_FILES_MAX, EVENER_DESCRIPTORS_BYTES_MAX / 1024 / 1024);
        }
        if (has_file(c, &name)) {
            continue;
        }
        evener_bytes *files = grow(c->files, c->count, &c->room, sizeof *c->files);
        evener_bytes held = files != NULL ? evener_bytes_ref(&a->message) : (evener_bytes){0};
        c->files = files != NULL ? files : c->files;
        if (held.length == 0) {
            return no_memory(s->status);
        }
        const size_t at = (size_t)(f.data - a->message.data); /* without an owner, `held` would be a copy */
        c->files[c->count++] = (evener_bytes){held.data + at, f.length, held.owner};
        if (!add_name(c, name.data, name.length, &added)) {
            return no_memory(s->status);
        }
    }
    return result == EVENER_WIRE_END ? EVENER_STATUS_OK : not_reflection(s->status);
}

/* Ask for one file of which neither the pool nor the collection knows. */
static evener_status_code ask_for_import(session *s, const evener_descriptors *descriptors, const uint8_t *text,
                                         size_t length, collection *c)
{
    char name[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 1];
    bool added;
    answer a;
    if (length >= sizeof name || memchr(text, '\0', length) != NULL) {
        return not_reflection(s->status);
    }
    memcpy(name, text, length);
    name[length] = '\0';
    if (evener_descriptors_file(descriptors, name) != NULL) {
        return EVENER_STATUS_OK;
    }
    if (!add_name(c, text, length, &added)) {
        return no_memory(s->status);
    }
    if (!added) {
        return EVENER_STATUS_OK;
    }
    if (++c->questions > EVENER_REFLECTION_FILES_MAX) {
        return evener_status_set(s->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "server reflection: more than %d files",
                                 EVENER_REFLECTION_FILES_MAX);
    }
    const evener_status_code code = ask(s, ASK_FILE_BY_NAME, name, ANSWER_FILES, &a);
    if (code != EVENER_STATUS_OK) {
        /* The server lives and does not have it: it may be an import that no type needs. */
        return s->stream != NULL && code != EVENER_STATUS_INTERNAL ? EVENER_STATUS_OK : code;
    }
    const evener_status_code taken = take_files(s, &a, c);
    evener_bytes_clear(&a.message);
    return taken;
}

static evener_status_code ask_for_imports(session *s, const evener_descriptors *descriptors, size_t index,
                                          collection *c)
{
    const evener_bytes *file = &c->files[index];
    evener_wire_reader reader = evener_wire_read(file->data, file->length);
    evener_wire_field f;
    evener_wire_result result;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == 3 && f.type == EVENER_WIRE_BYTES && f.length > 0) { /* dependency */
            const evener_status_code code = ask_for_import(s, descriptors, f.data, f.length, c);
            if (code != EVENER_STATUS_OK) {
                return code;
            }
        }
    }
    return result == EVENER_WIRE_END ? EVENER_STATUS_OK : not_reflection(s->status);
}

static evener_status_code collect(session *s, const char *symbol, const evener_descriptors *descriptors, collection *c)
{
    answer a;
    evener_status_code code = ask(s, ASK_FILE_WITH_SYMBOL, symbol, ANSWER_FILES, &a);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    code = take_files(s, &a, c);
    evener_bytes_clear(&a.message);
    for (size_t i = 0; code == EVENER_STATUS_OK && i < c->count; i++) {
        code = ask_for_imports(s, descriptors, i, c);
    }
    return code;
}

evener_status_code evener_reflection_add(evener_channel *channel, const char *symbol,
                                         const evener_call_options *options, evener_descriptors *descriptors,
                                         evener_status *status)
{
    evener_status own;
    session s;
    collection c = {0};
    evener_status_code code = session_begin(&s, channel, options, status != NULL ? status : &own);
    if (code == EVENER_STATUS_OK) {
        code = collect(&s, symbol, descriptors, &c);
    }
    session_end(&s);
    if (code == EVENER_STATUS_OK) {
        code = evener_descriptors_add_files(descriptors, c.files, c.count, s.status);
    }
    collection_clear(&c);
    return code;
}
