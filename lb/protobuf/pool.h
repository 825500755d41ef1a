/* Pool: what evener/descriptors.h does not show of descriptors. Files are parsed one by one (descriptor_file.c), then
 * the names in all of them are resolved (descriptors.c). */
#ifndef EVENER_LB_PROTOBUF_POOL_H
#define EVENER_LB_PROTOBUF_POOL_H

#include <evener/descriptors.h>

#include "lb/base/memory.h"
#include "lb/protobuf/arena.h"
#include "lb/protobuf/wire.h"

/* Messages of google/protobuf/ with a JSON form of their own. */
typedef enum evener_known_type {
    EVENER_KNOWN_NONE,
    EVENER_KNOWN_ANY,
    EVENER_KNOWN_DURATION,
    EVENER_KNOWN_EMPTY,
    EVENER_KNOWN_FIELD_MASK,
    EVENER_KNOWN_LIST_VALUE,
    EVENER_KNOWN_STRUCT,
    EVENER_KNOWN_TIMESTAMP,
    EVENER_KNOWN_VALUE,
    EVENER_KNOWN_WRAPPER
} evener_known_type;

typedef struct evener_message_node {
    evener_message_type type;
    const evener_field **by_number, **by_name, **by_json_name; /* sorted */
    evener_known_type known;                                   /* only if the fields are as that type's */
    const evener_descriptors *descriptors;                     /* the pool, for the types of Any */
} evener_message_node;

typedef struct evener_enum_node {
    evener_enum_type type;
    const evener_enum_value **by_number, **by_name;
} evener_enum_node;

static inline const evener_message_node *evener_message_node_of(const evener_message_type *type)
{
    return EVENER_CONTAINER_OF(type, const evener_message_node, type);
}

typedef enum evener_symbol_kind {
    EVENER_SYMBOL_MESSAGE,
    EVENER_SYMBOL_ENUM,
    EVENER_SYMBOL_SERVICE,
    EVENER_SYMBOL_METHOD
} evener_symbol_kind;

typedef struct evener_symbol {
    const char *full_name;
    evener_symbol_kind kind;
    const void *thing;            /* the struct of evener/descriptors.h */
    const evener_file_type *file; /* that declares it */
} evener_symbol;

/* A reference to a type by its name. */
typedef struct evener_type_reference {
    struct evener_type_reference *next;
    const evener_file_type *file;
    const char *scope;     /* full name of what contains the reference, for names without a dot in front */
    const char *user;      /* the field's or method's name */
    const char *type_name; /* ".orders.v1.Order" */
    evener_field *field;   /* or NULL: a method's */
    const evener_message_type **message; /* where a method's message goes */
} evener_type_reference;

/* Files that are being added. */
typedef struct evener_batch {
    evener_arena *arena;
    const evener_descriptors *descriptors;
    evener_symbol *symbols; /* malloc */
    size_t symbol_count, symbol_room;
    evener_type_reference *references;
} evener_batch;

/* Parse a FileDescriptorProto into `file`, which is zeroed. Everything is allocated in the batch's arena. Errors:
 * INVALID_ARGUMENT, RESOURCE_EXHAUSTED. */
evener_status_code evener_file_parse(evener_batch *batch, const uint8_t *data, size_t length, evener_file_type *file,
                                     evener_status *status);

/* Set what can be said of a message once the types of its fields are known. */
void evener_message_classify(evener_message_node *node);

/* Return how a value of that kind is encoded, if it is not packed. */
evener_wire_type evener_field_wire_type(evener_field_kind kind);

#endif
