/* FileDescriptorProto to the structs of evener/descriptors.h (protobuf: src/google/protobuf/descriptor.proto): services
 * and the file; messages and enums are in descriptor_type.c. Numbers of fields stand where they are read, named as
 * there. */
#include <stdio.h>
#include <string.h>

#include "lb/protobuf/descriptor_parse.h"

/* ---- services ---- */

static evener_status_code parse_method(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                       void *owner, void *node)
{
    evener_method *method = node;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    const char *types[2] = {NULL, NULL}; /* input, output */
    evener_status_code code = evener_parse_name(p, from, scope, &method->name);
    if (code != EVENER_STATUS_OK ||
        (method->full_name = evener_parse_full_name(p, scope, method->name, &code)) == NULL) {
        return code;
    }
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 2 || f.number == 3) { /* input_type, output_type */
            code = evener_parse_text(p, method->full_name, &f, &types[f.number - 2]);
        } else if (f.number == 4) { /* options */
            code = evener_parse_options(p, method->full_name, &f, &method->options);
        } else if (f.number == 5) { /* client_streaming */
            method->client_streaming = f.value != 0;
        } else if (f.number == 6) { /* server_streaming */
            method->server_streaming = f.value != 0;
        }
    }
    if (code != EVENER_STATUS_OK || (code = evener_parse_comments(p, &method->comments)) != EVENER_STATUS_OK) {
        return code;
    }
    if (types[0] == NULL || types[1] == NULL) {
        return evener_parse_wrong(p, scope, method->name, "the method has no input or output type");
    }
    const size_t path_bytes = strlen(method->full_name) + 2;
    char *path = evener_arena_alloc(p->batch->arena, path_bytes);
    evener_type_reference *input = evener_parse_add_reference(p, scope, method->name, types[0]);
    evener_type_reference *output = evener_parse_add_reference(p, scope, method->name, types[1]);
    if (path == NULL || input == NULL || output == NULL) {
        return evener_parse_no_memory(p);
    }
    input->message = &method->input;
    output->message = &method->output;
    snprintf(path, path_bytes, "/%s/%s", scope, method->name);
    method->path = path;
    method->service = owner;
    return evener_parse_add_symbol(p, method->full_name, EVENER_SYMBOL_METHOD, method);
}

static evener_status_code parse_service(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                        void *owner, void *node)
{
    evener_service_type *service = node;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    (void)owner;
    evener_status_code code = evener_parse_name(p, from, scope, &service->name);
    if (code != EVENER_STATUS_OK ||
        (service->full_name = evener_parse_full_name(p, scope, service->name, &code)) == NULL) {
        return code;
    }
    service->file = p->file;
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 3) { /* options */
            code = evener_parse_options(p, service->full_name, &f, &service->options);
        }
    }
    if (code != EVENER_STATUS_OK || (code = evener_parse_comments(p, &service->comments)) != EVENER_STATUS_OK ||
        (code = evener_parse_add_symbol(p, service->full_name, EVENER_SYMBOL_SERVICE, service)) != EVENER_STATUS_OK) {
        return code;
    }
    return evener_parse_list(p, from, 2, sizeof(evener_method), parse_method, service->full_name, service,
                             &service->methods, &service->method_count);
}

/* ---- files ---- */

static evener_status_code parse_import(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                       void *owner, void *node)
{
    (void)scope;
    (void)owner;
    const evener_wire_field f = {.type = EVENER_WIRE_BYTES, .data = from.data, .length = from.length};
    const char *name;
    const evener_status_code code = evener_parse_text(p, "", &f, &name);
    if (code == EVENER_STATUS_OK) {
        memcpy(node, &name, sizeof name);
    }
    return code;
}

static evener_status_code read_file_facts(evener_descriptor_parser *p, evener_parse_span from)
{
    evener_file_type *file = p->file;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    const char *syntax = "";
    evener_status_code code = EVENER_STATUS_OK;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD && code == EVENER_STATUS_OK) {
        switch (f.number) {
        case 1: /* name */
            code = evener_parse_text(p, "", &f, &file->name);
            break;
        case 2: /* package */
            code = evener_parse_text(p, "", &f, &file->package);
            break;
        case 8: /* options */
            code = evener_parse_options(p, "", &f, &file->options);
            break;
        case 9: /* source_code_info */
            code = f.type == EVENER_WIRE_BYTES ? evener_source_info_read(&p->comments, f.data, f.length)
                                               : EVENER_STATUS_INVALID_ARGUMENT;
            if (code != EVENER_STATUS_OK) {
                code = code == EVENER_STATUS_RESOURCE_EXHAUSTED ? evener_parse_no_memory(p)
                                                                : evener_parse_malformed(p, "source info");
            }
            break;
        case 12: /* syntax */
            code = evener_parse_text(p, "", &f, &syntax);
            break;
        default:
            break;
        }
    }
    if (code != EVENER_STATUS_OK || result == EVENER_WIRE_MALFORMED) {
        return code != EVENER_STATUS_OK ? code : evener_parse_malformed(p, file->name);
    }
    if (file->name[0] == '\0') {
        return evener_status_set(p->status, EVENER_STATUS_INVALID_ARGUMENT, "a file descriptor has no name");
    }
    if (strcmp(syntax, "") != 0 && strcmp(syntax, "proto2") != 0 && strcmp(syntax, "proto3") != 0) {
        return evener_status_set(p->status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: syntax \"%.32s\" is not supported, only proto2 and proto3", file->name, syntax);
    }
    file->proto3 = strcmp(syntax, "proto3") == 0;
    if (file->package[0] != '\0' &&
        (!evener_parse_is_name(file->package, true) || strlen(file->package) > EVENER_DESCRIPTORS_NAME_BYTES_MAX)) {
        return evener_parse_wrong(p, "package", "", "the name is not valid");
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_file_parse(evener_batch *batch, const uint8_t *data, size_t length, evener_file_type *file,
                                     evener_status *status)
{
    evener_status own;
    evener_descriptor_parser p = {.batch = batch, .file = file, .status = status != NULL ? status : &own};
    const evener_parse_span from = {data, length};
    struct import_node {
        const char *name;
    };
    struct import_node *const *imports = NULL;
    file->name = "";
    file->package = "";
    evener_status_code code = read_file_facts(&p, from);
    if (code == EVENER_STATUS_OK &&
        (code = evener_parse_list(&p, from, 3, sizeof(struct import_node), parse_import, "", NULL, &imports,
                                  &file->import_count)) == EVENER_STATUS_OK &&
        (code = evener_parse_list(&p, from, 4, sizeof(evener_message_node), evener_parse_message, file->package, NULL,
                                  &file->messages, &file->message_count)) == EVENER_STATUS_OK &&
        (code = evener_parse_list(&p, from, 5, sizeof(evener_enum_node), evener_parse_enum, file->package, NULL,
                                  &file->enums, &file->enum_count)) == EVENER_STATUS_OK) {
        code = evener_parse_list(&p, from, 6, sizeof(evener_service_type), parse_service, file->package, NULL,
                                 &file->services, &file->service_count);
    }
    if (imports != NULL) { /* nodes are adjacent: they are the list of names */
        file->imports = &imports[0]->name;
    }
    evener_source_info_clear(&p.comments);
    return code;
}
