/* Pools: names of all files together, in sorted lists. Files are added as a batch, which is complete in lists of its
 * own before it becomes visible: a batch that fails leaves no trace. */
#include <evener/descriptors.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"
#include "lb/base/read_file.h"
#include "lb/protobuf/pool.h"
#include "lb/protobuf/wire.h"

/* Everything visible of a pool: replaced as a whole. The arrays are malloc's, what they point to is the arena's. */
typedef struct tables {
    evener_symbol *symbols; /* sorted by name */
    size_t symbol_count;
    const evener_file_type **files; /* sorted by name */
    size_t file_count;
    const evener_service_type **services; /* sorted by full name */
    size_t service_count;
} tables;

struct evener_descriptors {
    evener_arena arena;
    tables tables;
};

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                             "descriptors: out of memory, or they need more than %d MiB",
                             EVENER_DESCRIPTORS_MEMORY_MAX / 1024 / 1024);
}

static void clear_tables(tables *t)
{
    free(t->symbols);
    free(t->files);
    free(t->services);
    *t = (tables){0};
}

evener_status_code evener_descriptors_create(evener_descriptors **descriptors, evener_status *status)
{
    evener_descriptors *created = calloc(1, sizeof *created);
    if (created == NULL) {
        return no_memory(status);
    }
    created->arena.bytes_max = EVENER_DESCRIPTORS_MEMORY_MAX;
    *descriptors = created;
    return evener_status_clear(status);
}

void evener_descriptors_destroy(evener_descriptors *descriptors)
{
    if (descriptors != NULL) {
        clear_tables(&descriptors->tables);
        evener_arena_reset(&descriptors->arena, NULL);
        free(descriptors);
    }
}

/* ---- finding ---- */

static int compare_symbols(const void *left, const void *right)
{
    const evener_symbol *l = left, *r = right;
    return strcmp(l->full_name, r->full_name);
}

static const evener_symbol *find_symbol(const tables *t, const char *name)
{
    const evener_symbol key = {.full_name = name};
    return t->symbol_count > 0 ? bsearch(&key, t->symbols, t->symbol_count, sizeof key, compare_symbols) : NULL;
}

static const void *find(const evener_descriptors *descriptors, const char *name, evener_symbol_kind kind)
{
    const evener_symbol *symbol = name != NULL ? find_symbol(&descriptors->tables, name) : NULL;
    return symbol != NULL && symbol->kind == kind ? symbol->thing : NULL;
}

static int compare_files(const void *left, const void *right)
{
    const evener_file_type *const *l = left, *const *r = right;
    return strcmp((*l)->name, (*r)->name);
}

static const evener_file_type *find_file(const tables *t, const char *name)
{
    const evener_file_type key = {.name = name}, *pointer = &key;
    const evener_file_type *const *found =
        t->file_count > 0 ? bsearch(&pointer, t->files, t->file_count, sizeof pointer, compare_files) : NULL;
    return found != NULL ? *found : NULL;
}

const evener_file_type *evener_descriptors_file(const evener_descriptors *descriptors, const char *name)
{
    return name != NULL ? find_file(&descriptors->tables, name) : NULL;
}

const evener_message_type *evener_descriptors_message(const evener_descriptors *descriptors, const char *full_name)
{
    return find(descriptors, full_name, EVENER_SYMBOL_MESSAGE);
}

const evener_enum_type *evener_descriptors_enum(const evener_descriptors *descriptors, const char *full_name)
{
    return find(descriptors, full_name, EVENER_SYMBOL_ENUM);
}

const evener_service_type *evener_descriptors_service(const evener_descriptors *descriptors, const char *full_name)
{
    return find(descriptors, full_name, EVENER_SYMBOL_SERVICE);
}

const evener_method *evener_descriptors_method(const evener_descriptors *descriptors, const char *name)
{
    char dotted[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 1];
    if (name == NULL) {
        return NULL;
    }
    name += name[0] == '/';
    const size_t length = strlen(name);
    if (length >= sizeof dotted) {
        return NULL;
    }
    memcpy(dotted, name, length + 1);
    char *slash = strchr(dotted, '/');
    if (slash != NULL) {
        *slash = '.';
    }
    return find(descriptors, dotted, EVENER_SYMBOL_METHOD);
}

const evener_file_type *const *evener_descriptors_files(const evener_descriptors *descriptors, size_t *count)
{
    *count = descriptors->tables.file_count;
    return descriptors->tables.files;
}

const evener_service_type *const *evener_descriptors_services(const evener_descriptors *descriptors, size_t *count)
{
    *count = descriptors->tables.service_count;
    return descriptors->tables.services;
}

/* ---- resolving types ---- */

/* Return what a reference names: ".full.name", or a name relative to a scope, the innermost first. */
static const evener_symbol *resolve(const tables *t, const evener_type_reference *reference)
{
    char name[2 * EVENER_DESCRIPTORS_NAME_BYTES_MAX + 2];
    const size_t type_bytes = strlen(reference->type_name);
    size_t scope_bytes = strlen(reference->scope);
    if (reference->type_name[0] == '.') {
        return find_symbol(t, reference->type_name + 1);
    }
    if (type_bytes > EVENER_DESCRIPTORS_NAME_BYTES_MAX || scope_bytes > EVENER_DESCRIPTORS_NAME_BYTES_MAX) {
        return NULL;
    }
    for (;;) {
        snprintf(name, sizeof name, "%.*s%s%s", (int)scope_bytes, reference->scope, scope_bytes > 0 ? "." : "",
                 reference->type_name);
        const evener_symbol *symbol = find_symbol(t, name);
        if (symbol != NULL || scope_bytes == 0) {
            return symbol;
        }
        while (scope_bytes > 0 && reference->scope[scope_bytes - 1] != '.') {
            scope_bytes--;
        }
        scope_bytes -= scope_bytes > 0; /* the dot */
    }
}

/* Fail with the missing type, its user, and the imports that the pool does not have. */
static evener_status_code unresolved(const tables *t, const evener_type_reference *reference, evener_status *status)
{
    char missing[256] = "";
    size_t used = 0;
    const evener_file_type *file = reference->file;
    for (size_t i = 0; i < file->import_count && used < sizeof missing; i++) {
        if (find_file(t, file->imports[i]) == NULL) {
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%s",
                                     used == 0 ? "; missing imports: " : ", ", file->imports[i]);
        }
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                             "%.128s: %.128s.%.64s: the type %.128s is unknown%s", file->name, reference->scope,
                             reference->user, reference->type_name, missing);
}

static evener_status_code set_field_type(evener_field *field, const evener_symbol *symbol,
                                         const evener_type_reference *reference, evener_status *status)
{
    const bool is_message = symbol->kind == EVENER_SYMBOL_MESSAGE;
    if (field->kind == 0) {
        field->kind = is_message ? EVENER_FIELD_MESSAGE : EVENER_FIELD_ENUM;
    }
    if ((!is_message && symbol->kind != EVENER_SYMBOL_ENUM) || (field->kind == EVENER_FIELD_ENUM) == is_message) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%.128s: %.128s.%.64s: %.128s is not of the kind of type that is needed here",
                                 reference->file->name, reference->scope, reference->user, reference->type_name);
    }
    if (is_message) {
        field->message = symbol->thing;
        field->packed = false;
        field->has_presence = !field->repeated;
    } else {
        field->enumeration = symbol->thing;
    }
    return EVENER_STATUS_OK;
}

static evener_status_code resolve_all(const evener_batch *batch, const tables *t, evener_status *status)
{
    for (const evener_type_reference *r = batch->references; r != NULL; r = r->next) {
        const evener_symbol *symbol = resolve(t, r);
        if (symbol == NULL) {
            return unresolved(t, r, status);
        }
        if (r->field != NULL) {
            if (set_field_type(r->field, symbol, r, status) != EVENER_STATUS_OK) {
                return EVENER_STATUS_INVALID_ARGUMENT;
            }
        } else if (symbol->kind != EVENER_SYMBOL_MESSAGE) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "%.128s: %.128s.%.64s: %.128s is no message", r->file->name, r->scope, r->user,
                                     r->type_name);
        } else {
            *r->message = symbol->thing;
        }
    }
    for (size_t i = 0; i < batch->symbol_count; i++) {
        if (batch->symbols[i].kind == EVENER_SYMBOL_MESSAGE) {
            evener_message_classify((evener_message_node *)(uintptr_t)batch->symbols[i].thing);
        }
    }
    return EVENER_STATUS_OK;
}

/* ---- adding ---- */

/* Merge the sorted lists `old` and `added` of elements of `bytes`, malloc; NULL: no memory. */
static void *merge(const void *old, size_t old_count, const void *added, size_t added_count, size_t bytes,
                   int (*compare)(const void *, const void *))
{
    char *merged = malloc((old_count + added_count) * bytes + 1);
    const char *left = old, *right = added;
    char *to = merged;
    while (merged != NULL && old_count + added_count > 0) {
        const bool take_left = added_count == 0 || (old_count > 0 && compare(left, right) <= 0);
        memcpy(to, take_left ? left : right, bytes);
        to += bytes;
        if (take_left) {
            left += bytes;
            old_count--;
        } else {
            right += bytes;
            added_count--;
        }
    }
    return merged;
}

/* Return the first pair of symbols with one name, or NULL. */
static const evener_symbol *find_twice(const tables *t)
{
    for (size_t i = 1; i < t->symbol_count; i++) {
        if (strcmp(t->symbols[i - 1].full_name, t->symbols[i].full_name) == 0) {
            return &t->symbols[i - 1];
        }
    }
    return NULL;
}

static int compare_services(const void *left, const void *right)
{
    const evener_service_type *const *l = left, *const *r = right;
    return strcmp((*l)->full_name, (*r)->full_name);
}

/* Make the lists that are visible with the batch. Errors: ALREADY_EXISTS, RESOURCE_EXHAUSTED. */
static evener_status_code make_tables(const tables *old, evener_batch *batch, const evener_file_type **files,
                                      size_t file_count, tables *made, evener_status *status)
{
    if (batch->symbol_count > 0) {
        qsort(batch->symbols, batch->symbol_count, sizeof batch->symbols[0], compare_symbols);
    }
    made->symbols = merge(old->symbols, old->symbol_count, batch->symbols, batch->symbol_count, sizeof(evener_symbol),
                          compare_symbols);
    made->files = merge(old->files, old->file_count, files, file_count, sizeof(void *), compare_files);
    if (made->symbols == NULL || made->files == NULL) {
        return no_memory(status);
    }
    made->symbol_count = old->symbol_count + batch->symbol_count;
    made->file_count = old->file_count + file_count;
    for (size_t i = 0; i < made->file_count; i++) {
        made->service_count += made->files[i]->service_count;
    }
    made->services = malloc(made->service_count * sizeof(void *) + 1);
    if (made->services == NULL) {
        return no_memory(status);
    }
    size_t used = 0;
    for (size_t i = 0; i < made->file_count; i++) {
        for (size_t k = 0; k < made->files[i]->service_count; k++) {
            made->services[used++] = made->files[i]->services[k];
        }
    }
    if (used > 0) {
        qsort(made->services, used, sizeof(void *), compare_services);
    }
    const evener_symbol *twice = find_twice(made);
    return twice == NULL
               ? EVENER_STATUS_OK
               : evener_status_set(status, EVENER_STATUS_ALREADY_EXISTS, "%.256s is declared in %.100s and in %.100s",
                                   twice[0].full_name, twice[0].file->name, twice[1].file->name);
}

/* Order a name in the bytes of a file and a file of the pool, as compare_files(). */
static int compare_name(const void *key, const void *element)
{
    const evener_wire_field *name = key;
    const evener_file_type *const *file = element;
    const size_t length = strlen((*file)->name);
    const int order = memcmp(name->data, (*file)->name, name->length < length ? name->length : length);
    return order != 0 ? order : (name->length > length) - (name->length < length);
}

/* Return whether the pool has a file of exactly these bytes. */
static bool has_file(const tables *t, const evener_bytes *file)
{
    evener_wire_reader reader = evener_wire_read(file->data, file->length);
    evener_wire_field f, name = {0};
    while (evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 1 && f.type == EVENER_WIRE_BYTES) { /* name; the last one counts */
            name = f;
        }
    }
    const evener_file_type *const *found =
        name.data != NULL && t->file_count > 0
            ? bsearch(&name, t->files, t->file_count, sizeof(*t->files), compare_name)
            : NULL;
    return found != NULL && (*found)->length == file->length && memcmp((*found)->data, file->data, file->length) == 0;
}

/* Parse the files that the pool does not have yet. */
static evener_status_code parse_files(evener_descriptors *descriptors, evener_batch *batch, const evener_bytes *files,
                                      size_t count, const evener_file_type **parsed, size_t *parsed_count,
                                      evener_status *status)
{
    for (size_t i = 0; i < count; i++) {
        if (has_file(&descriptors->tables, &files[i])) { /* the arena keeps nothing of it */
            continue;
        }
        evener_file_type *file = evener_arena_alloc(&descriptors->arena, sizeof *file);
        char *data = evener_arena_text(&descriptors->arena, files[i].data, files[i].length);
        if (file == NULL || data == NULL) {
            return no_memory(status);
        }
        file->data = (const uint8_t *)data;
        file->length = files[i].length;
        const evener_status_code code = evener_file_parse(batch, file->data, file->length, file, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        if (find_file(&descriptors->tables, file->name) != NULL) {
            return evener_status_set(status, EVENER_STATUS_ALREADY_EXISTS,
                                     "%.256s: the file was added before, with other content", file->name);
        }
        parsed[(*parsed_count)++] = file;
    }
    return EVENER_STATUS_OK;
}

/* Drop the second of equal files in a sorted list; different files of one name fail. */
static evener_status_code refuse_equal_names(const evener_file_type **files, size_t count, evener_status *status)
{
    for (size_t i = 1; i < count; i++) {
        if (strcmp(files[i - 1]->name, files[i]->name) == 0) {
            return evener_status_set(status, EVENER_STATUS_ALREADY_EXISTS, "%.256s: the file is in the set twice",
                                     files[i]->name);
        }
    }
    return EVENER_STATUS_OK;
}

static evener_status_code add_batch(evener_descriptors *descriptors, evener_batch *batch, const evener_bytes *files,
                                    size_t count, const evener_file_type **parsed, evener_status *status)
{
    tables made = {0};
    size_t parsed_count = 0;
    evener_status_code code = parse_files(descriptors, batch, files, count, parsed, &parsed_count, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (parsed_count > 0) {
        qsort(parsed, parsed_count, sizeof *parsed, compare_files);
    }
    if ((code = refuse_equal_names(parsed, parsed_count, status)) != EVENER_STATUS_OK ||
        (code = make_tables(&descriptors->tables, batch, parsed, parsed_count, &made, status)) != EVENER_STATUS_OK ||
        (code = resolve_all(batch, &made, status)) != EVENER_STATUS_OK) {
        clear_tables(&made);
        return code;
    }
    clear_tables(&descriptors->tables);
    descriptors->tables = made;
    return EVENER_STATUS_OK;
}

evener_status_code evener_descriptors_add_files(evener_descriptors *descriptors, const evener_bytes *files,
                                                size_t count, evener_status *status)
{
    evener_status own;
    status = status != NULL ? status : &own;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (files[i].length > EVENER_DESCRIPTORS_BYTES_MAX - bytes) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "descriptors: larger than %d MiB",
                                     EVENER_DESCRIPTORS_BYTES_MAX / 1024 / 1024);
        }
        bytes += files[i].length;
    }
    struct evener_arena_block *mark = evener_arena_mark(&descriptors->arena);
    evener_batch batch = {.arena = &descriptors->arena, .descriptors = descriptors};
    const evener_file_type **parsed = malloc(count * sizeof *parsed + 1);
    const evener_status_code code =
        parsed != NULL ? add_batch(descriptors, &batch, files, count, parsed, status) : no_memory(status);
    free(parsed);
    free(batch.symbols);
    if (code != EVENER_STATUS_OK) {
        evener_arena_reset(&descriptors->arena, mark);
        return code;
    }
    return evener_status_clear(status);
}

evener_status_code evener_descriptors_add_set(evener_descriptors *descriptors, const void *data, size_t length,
                                              evener_status *status)
{
    const uint8_t *bytes = data;
    evener_wire_reader reader = evener_wire_read(bytes, length);
    evener_wire_field f;
    evener_wire_result result;
    evener_bytes *files = NULL;
    size_t count = 0, room = 0;
    if (length > EVENER_DESCRIPTORS_BYTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "descriptor set: larger than %d MiB",
                                 EVENER_DESCRIPTORS_BYTES_MAX / 1024 / 1024);
    }
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number != 1 || f.type != EVENER_WIRE_BYTES) { /* file */
            continue;
        }
        if (count == room) {
            room = room == 0 ? 16 : 2 * room;
            evener_bytes *grown = realloc(files, room * sizeof *grown);
            if (grown == NULL) {
                free(files);
                return no_memory(status);
            }
            files = grown;
        }
        files[count++] = (evener_bytes){.data = f.data, .length = f.length};
    }
    const evener_status_code code =
        result == EVENER_WIRE_END && count > 0
            ? evener_descriptors_add_files(descriptors, files, count, status)
            : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                count == 0 ? "descriptor set: no file in it: a FileDescriptorSet is needed, as protoc "
                                             "--include_imports --descriptor_set_out=FILE writes it"
                                           : "descriptor set: not well-formed");
    free(files);
    return code;
}

evener_status_code evener_descriptors_add_set_file(evener_descriptors *descriptors, const char *path,
                                                   evener_status *status)
{
    evener_status own;
    status = status != NULL ? status : &own;
    char *text;
    size_t bytes;
    evener_status_code code = evener_read_regular_file(path, EVENER_DESCRIPTORS_BYTES_MAX, &text, &bytes, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    code = evener_descriptors_add_set(descriptors, text, bytes, status);
    free(text);
    return code == EVENER_STATUS_OK ? code : evener_status_set(status, code, "%s: %s", path, status->message);
}
