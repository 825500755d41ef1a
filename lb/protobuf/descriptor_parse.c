#include "lb/protobuf/descriptor_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---- */

evener_status_code evener_parse_no_memory(evener_descriptor_parser *p)
{
    return evener_status_set(p->status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                             "%s: out of memory, or the descriptors need more than %d MiB", p->file->name,
                             EVENER_DESCRIPTORS_MEMORY_MAX / 1024 / 1024);
}

evener_status_code evener_parse_wrong(evener_descriptor_parser *p, const char *scope, const char *name,
                                      const char *reason)
{
    const bool both = scope[0] != '\0' && name[0] != '\0';
    const bool none = scope[0] == '\0' && name[0] == '\0';
    return evener_status_set(p->status, EVENER_STATUS_INVALID_ARGUMENT, "%s: %s%s%s%s%s", p->file->name, scope,
                             both ? "." : "", name, none ? "" : ": ", reason);
}

evener_status_code evener_parse_malformed(evener_descriptor_parser *p, const char *where)
{
    return evener_parse_wrong(p, where, "", "the descriptor is not well-formed");
}

/* ---- values ---- */

bool evener_parse_is_name(const char *text, bool dots)
{
    bool begins = true;
    for (const char *c = text; *c != '\0'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!(letter || (!begins && *c >= '0' && *c <= '9') || (dots && !begins && *c == '.'))) {
            return false;
        }
        begins = *c == '.';
    }
    return !begins;
}

evener_status_code evener_parse_text(evener_descriptor_parser *p, const char *where, const evener_wire_field *f,
                                     const char **text)
{
    if (f->type != EVENER_WIRE_BYTES || !evener_utf8_is_valid(f->data, f->length) ||
        (f->length > 0 && memchr(f->data, '\0', f->length) != NULL)) {
        return evener_parse_malformed(p, where);
    }
    *text = evener_arena_text(p->batch->arena, f->data, f->length);
    return *text != NULL ? EVENER_STATUS_OK : evener_parse_no_memory(p);
}

evener_status_code evener_parse_options(evener_descriptor_parser *p, const char *where, const evener_wire_field *f,
                                        evener_raw_options *options)
{
    if (f->type != EVENER_WIRE_BYTES) {
        return evener_parse_malformed(p, where);
    }
    uint8_t *joined = evener_arena_alloc(p->batch->arena, options->length + f->length);
    if (joined == NULL) {
        return evener_parse_no_memory(p);
    }
    if (options->length > 0) {
        memcpy(joined, options->data, options->length);
    }
    if (f->length > 0) {
        memcpy(joined + options->length, f->data, f->length);
    }
    *options = (evener_raw_options){joined, options->length + f->length};
    return EVENER_STATUS_OK;
}

const char *evener_parse_full_name(evener_descriptor_parser *p, const char *scope, const char *name,
                                   evener_status_code *code)
{
    const size_t scope_bytes = strlen(scope);
    const size_t bytes = scope_bytes + strlen(name) + 1;
    if (bytes > EVENER_DESCRIPTORS_NAME_BYTES_MAX) {
        *code =
            evener_status_set(p->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: a name is longer than %d bytes: %.64s",
                              p->file->name, EVENER_DESCRIPTORS_NAME_BYTES_MAX, name);
        return NULL;
    }
    char *joined = evener_arena_alloc(p->batch->arena, bytes + 1);
    if (joined == NULL) {
        *code = evener_parse_no_memory(p);
        return NULL;
    }
    snprintf(joined, bytes + 1, "%s%s%s", scope, scope_bytes > 0 ? "." : "", name);
    *code = EVENER_STATUS_OK;
    return joined;
}

evener_status_code evener_parse_add_symbol(evener_descriptor_parser *p, const char *name, evener_symbol_kind kind,
                                           const void *thing)
{
    evener_batch *batch = p->batch;
    if (batch->symbol_count == batch->symbol_room) {
        const size_t room = batch->symbol_room == 0 ? 64 : 2 * batch->symbol_room;
        evener_symbol *grown = realloc(batch->symbols, room * sizeof *grown);
        if (grown == NULL) {
            return evener_parse_no_memory(p);
        }
        batch->symbols = grown;
        batch->symbol_room = room;
    }
    batch->symbols[batch->symbol_count++] = (evener_symbol){name, kind, thing, p->file};
    return EVENER_STATUS_OK;
}

evener_type_reference *evener_parse_add_reference(evener_descriptor_parser *p, const char *scope, const char *user,
                                                  const char *type_name)
{
    evener_type_reference *reference = evener_arena_alloc(p->batch->arena, sizeof *reference);
    if (reference != NULL) {
        *reference = (evener_type_reference){
            .next = p->batch->references, .file = p->file, .scope = scope, .user = user, .type_name = type_name};
        p->batch->references = reference;
    }
    return reference;
}

/* ---- lists ---- */

evener_status_code evener_parse_list(evener_descriptor_parser *p, evener_parse_span from, uint32_t number,
                                     size_t node_bytes, evener_parse_element *parse, const char *scope, void *owner,
                                     void *list, size_t *count)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    size_t elements = 0;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == number) {
            if (f.type != EVENER_WIRE_BYTES) {
                return evener_parse_malformed(p, scope);
            }
            elements++;
        }
    }
    if (result == EVENER_WIRE_MALFORMED) {
        return evener_parse_malformed(p, scope);
    }
    if (elements == 0) {
        return EVENER_STATUS_OK;
    }
    if (elements > EVENER_DESCRIPTORS_MEMORY_MAX / node_bytes) {
        return evener_parse_no_memory(p);
    }
    char *nodes = evener_arena_alloc(p->batch->arena, elements * node_bytes);
    void **pointers = evener_arena_alloc(p->batch->arena, elements * sizeof *pointers);
    if (nodes == NULL || pointers == NULL) {
        return evener_parse_no_memory(p);
    }
    reader = evener_wire_read(from.data, from.length);
    for (size_t i = 0; i < elements;) {
        evener_wire_next(&reader, &f);
        if (f.number != number) {
            continue;
        }
        pointers[i] = nodes + i * node_bytes;
        evener_source_info_enter(&p->comments, number, (uint32_t)i);
        const evener_status_code code = parse(p, (evener_parse_span){f.data, f.length}, scope, owner, pointers[i]);
        evener_source_info_leave(&p->comments);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        i++;
    }
    memcpy(list, &pointers, sizeof pointers);
    *count = elements;
    return EVENER_STATUS_OK;
}

evener_status_code evener_parse_comments(evener_descriptor_parser *p, evener_comments *comments)
{
    return evener_source_info_find(&p->comments, p->batch->arena, comments) ? EVENER_STATUS_OK
                                                                            : evener_parse_no_memory(p);
}

evener_status_code evener_parse_name(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                     const char **name)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == 1 && evener_parse_text(p, scope, &f, name) != EVENER_STATUS_OK) {
            return p->status->code;
        }
    }
    if (result == EVENER_WIRE_MALFORMED) {
        return evener_parse_malformed(p, scope);
    }
    return *name != NULL && evener_parse_is_name(*name, false)
               ? EVENER_STATUS_OK
               : evener_parse_wrong(p, scope, "", "a declaration has no valid name");
}
