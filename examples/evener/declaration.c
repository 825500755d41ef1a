#include "examples/evener/declaration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_indent(FILE *to, unsigned level)
{
    for (unsigned i = 0; i < level; i++) {
        fputs("    ", to);
    }
}

/* Put the lines of a comment in front of a declaration. */
static void put_comment(FILE *to, unsigned level, const char *comment)
{
    while (*comment != '\0') {
        const size_t length = strcspn(comment, "\n");
        put_indent(to, level);
        fprintf(to, "//%.*s\n", (int)length, comment);
        comment += length + (comment[length] == '\n');
    }
}

static void put_comments(FILE *to, unsigned level, const evener_comments *comments)
{
    put_comment(to, level, comments->leading);
    put_comment(to, level, comments->trailing);
}

static void put_method(FILE *to, unsigned level, const evener_method *method)
{
    put_comments(to, level, &method->comments);
    put_indent(to, level);
    fprintf(to, "rpc %s(%s.%s) returns (%s.%s);\n", method->name, method->client_streaming ? "stream " : "",
            method->input->full_name, method->server_streaming ? "stream " : "", method->output->full_name);
}

static void put_service(FILE *to, const evener_service_type *service)
{
    put_comments(to, 0, &service->comments);
    fprintf(to, "service %s {\n", service->name);
    for (size_t i = 0; i < service->method_count; i++) {
        put_method(to, 1, service->methods[i]);
    }
    fputs("}\n", to);
}

static void put_enum(FILE *to, unsigned level, const evener_enum_type *enumeration)
{
    put_comments(to, level, &enumeration->comments);
    put_indent(to, level);
    fprintf(to, "enum %s {\n", enumeration->name);
    for (size_t i = 0; i < enumeration->value_count; i++) {
        const evener_enum_value *value = enumeration->values[i];
        put_comments(to, level + 1, &value->comments);
        put_indent(to, level + 1);
        fprintf(to, "%s = %d;\n", value->name, value->number);
    }
    put_indent(to, level);
    fputs("}\n", to);
}

static void put_type(FILE *to, const evener_field *field)
{
    static const char *const names[] = {"",        "double",   "float",    "int64",  "uint64", "int32", "fixed64",
                                        "fixed32", "bool",     "string",   "group",  "",       "bytes", "uint32",
                                        "",        "sfixed32", "sfixed64", "sint32", "sint64"};
    if (field->message != NULL) {
        fprintf(to, "%s.%s", field->kind == EVENER_FIELD_GROUP ? "group " : "", field->message->full_name);
    } else if (field->enumeration != NULL) {
        fprintf(to, ".%s", field->enumeration->full_name);
    } else {
        fputs(names[field->kind], to);
    }
}

/* Return whether the .proto gives a json_name of its own, which the derived one is not. */
static bool has_own_json_name(const evener_field *field)
{
    const char *json = field->json_name;
    bool upper = false;
    for (const char *c = field->name; *c != '\0'; c++) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        const char expected = (char)(upper && *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
        if (*json != expected) {
            return true;
        }
        json++;
        upper = false;
    }
    return *json != '\0';
}

static void put_field(FILE *to, unsigned level, const evener_field *field)
{
    put_comments(to, level, &field->comments);
    put_indent(to, level);
    if (field->repeated && field->message != NULL && field->message->map_entry) {
        fputs("map<", to);
        put_type(to, field->message->fields[0]);
        fputs(", ", to);
        put_type(to, field->message->fields[1]);
        fputs(">", to);
    } else {
        fputs(field->repeated                                                             ? "repeated "
              : field->required                                                           ? "required "
              : field->optional || (!field->parent->file->proto3 && field->oneof == NULL) ? "optional "
                                                                                          : "",
              to);
        put_type(to, field);
    }
    fprintf(to, " %s = %u", field->name, field->number);
    const char *open = " [";
    if (field->default_text != NULL) {
        fprintf(to, "%sdefault = %s", open, field->default_text);
        open = ", ";
    }
    if (has_own_json_name(field)) {
        fprintf(to, "%sjson_name = \"%s\"", open, field->json_name);
        open = ", ";
    }
    fputs(open[0] == ',' ? "];\n" : ";\n", to);
}

static void put_message(FILE *to, unsigned level, const evener_message_type *message)
{
    put_comments(to, level, &message->comments);
    put_indent(to, level);
    fprintf(to, "message %s {\n", message->name);
    for (size_t i = 0; i < message->field_count; i++) {
        const evener_field *field = message->fields[i];
        if (field->oneof == NULL) {
            put_field(to, level + 1, field);
        } else if (field == field->oneof->fields[0]) {
            put_comments(to, level + 1, &field->oneof->comments);
            put_indent(to, level + 1);
            fprintf(to, "oneof %s {\n", field->oneof->name);
            for (size_t k = 0; k < field->oneof->field_count; k++) {
                put_field(to, level + 2, field->oneof->fields[k]);
            }
            put_indent(to, level + 1);
            fputs("}\n", to);
        }
    }
    for (size_t i = 0; i < message->message_count; i++) {
        if (!message->messages[i]->map_entry) {
            put_message(to, level + 1, message->messages[i]);
        }
    }
    for (size_t i = 0; i < message->enum_count; i++) {
        put_enum(to, level + 1, message->enums[i]);
    }
    put_indent(to, level);
    fputs("}\n", to);
}

/* End a text that was written to memory. */
static char *finish(FILE *to, char **text)
{
    if (to == NULL) {
        return NULL;
    }
    const bool failed = ferror(to) != 0;
    if (fclose(to) != 0 || failed) {
        free(*text);
        return NULL;
    }
    return *text;
}

#define DECLARATION(write)                                                                                             \
    do {                                                                                                               \
        char *text = NULL;                                                                                             \
        size_t bytes;                                                                                                  \
        FILE *to = open_memstream(&text, &bytes);                                                                      \
        if (to != NULL) {                                                                                              \
            write;                                                                                                     \
        }                                                                                                              \
        return finish(to, &text);                                                                                      \
    } while (0)

char *declaration_of_service(const evener_service_type *service)
{
    DECLARATION(put_service(to, service));
}

char *declaration_of_method(const evener_method *method)
{
    DECLARATION(put_method(to, 0, method));
}

char *declaration_of_message(const evener_message_type *message)
{
    DECLARATION(put_message(to, 0, message));
}

char *declaration_of_enum(const evener_enum_type *enumeration)
{
    DECLARATION(put_enum(to, 0, enumeration));
}
