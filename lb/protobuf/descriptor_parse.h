/* Parsing of descriptors: what descriptor_file.c (files, services) and descriptor_type.c (messages, enums) share. */
#ifndef EVENER_LB_PROTOBUF_DESCRIPTOR_PARSE_H
#define EVENER_LB_PROTOBUF_DESCRIPTOR_PARSE_H

#include "lb/protobuf/pool.h"
#include "lb/protobuf/source_info.h"
#include "lb/protobuf/wire.h"

/* The bytes of a message. */
typedef struct evener_parse_span {
    const uint8_t *data;
    size_t length;
} evener_parse_span;

/* One file that is being parsed. Functions set `status` when they fail. */
typedef struct evener_descriptor_parser {
    evener_batch *batch;
    evener_file_type *file;
    evener_source_info comments;
    evener_status *status;
    unsigned depth; /* of messages inside each other */
} evener_descriptor_parser;

/* ---- errors ---- */

evener_status_code evener_parse_no_memory(evener_descriptor_parser *p);
/* Fail with "FILE: SCOPE.NAME: REASON". */
evener_status_code evener_parse_wrong(evener_descriptor_parser *p, const char *scope, const char *name,
                                      const char *reason);
evener_status_code evener_parse_malformed(evener_descriptor_parser *p, const char *where);

/* ---- values ---- */

/* Whether `text` is an identifier, or with `dots` several ones joined by dots. */
bool evener_parse_is_name(const char *text, bool dots);

/* Copy text; what is not UTF-8 or holds NUL fails. */
evener_status_code evener_parse_text(evener_descriptor_parser *p, const char *where, const evener_wire_field *f,
                                     const char **text);

/* Append to options: several occurrences of a message field are merged, which concatenation does. */
evener_status_code evener_parse_options(evener_descriptor_parser *p, const char *where, const evener_wire_field *f,
                                        evener_raw_options *options);

/* Return "SCOPE.NAME"; NULL with *code: it failed. */
const char *evener_parse_full_name(evener_descriptor_parser *p, const char *scope, const char *name,
                                   evener_status_code *code);

/* Note that the file declares something. */
evener_status_code evener_parse_add_symbol(evener_descriptor_parser *p, const char *name, evener_symbol_kind kind,
                                           const void *thing);

/* Note a use of a type, to be resolved when all files are parsed. NULL: out of memory. */
evener_type_reference *evener_parse_add_reference(evener_descriptor_parser *p, const char *scope, const char *user,
                                                  const char *type_name);

/* Find the comments of the declaration that is being parsed. */
evener_status_code evener_parse_comments(evener_descriptor_parser *p, evener_comments *comments);

/* Read the name of a declaration, field 1 of all of them, so that errors can name it. */
evener_status_code evener_parse_name(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                     const char **name);

/* ---- lists ---- */

/* Parse one element into `node`. `scope`: the full name of what contains it; `owner`: its struct. */
typedef evener_status_code evener_parse_element(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                                void *owner, void *node);

/* Parse all elements of field `number` into nodes of `node_bytes`, which are adjacent, and store a list of pointers to
 * them: a public struct is the first member of its node. */
evener_status_code evener_parse_list(evener_descriptor_parser *p, evener_parse_span from, uint32_t number,
                                     size_t node_bytes, evener_parse_element *parse, const char *scope, void *owner,
                                     void *list, size_t *count);

/* ---- declarations (descriptor_type.c) ---- */

evener_parse_element evener_parse_message; /* into an evener_message_node */
evener_parse_element evener_parse_enum;    /* into an evener_enum_node */

#endif
