/* Descriptors: message types, enums and services that are known at run time, without generated code. In the library
 * libevener-protobuf-c (pkg-config `evener-protobuf-c`, CMake component `protobuf-c`).
 *
 *     evener_descriptors *types;
 *     evener_status status;
 *     evener_descriptors_create(&types, &status);
 *     if (evener_descriptors_add_set_file(types, "orders.protoset", &status) != EVENER_STATUS_OK)
 *         fprintf(stderr, "%s\n", status.message);
 *     const evener_method *method = evener_descriptors_method(types, "orders.Orders/Get");
 *     if (method != NULL)
 *         printf("%s takes %s\n", method->path, method->input->full_name);
 *     evener_descriptors_destroy(types);
 *
 * The source of descriptors is a FileDescriptorSet (`protoc --include_imports --descriptor_set_out=FILE`) or a server's
 * reflection service (evener/reflection.h).
 *
 * Ownership: the pool owns everything that its functions return and that the structs point to. It is constant, and
 * lives until evener_descriptors_destroy(): adding files moves and changes nothing of it. The structs are only made by
 * the library, and may get further fields at their ends.
 * Threads: one thread at a time may create, add to or destroy a pool, and none may look up meanwhile. While nobody
 * adds, any number of threads may look up and read.
 * Limits: the constants below. Bytes from an unknown source are fine: what is malformed or exceeds a limit is refused
 * with a message that names the file and the place, and the pool keeps what it had.
 *
 * proto2 and proto3 are supported (protobuf: src/google/protobuf/descriptor.proto). Editions are refused by name.
 * Extensions are read past: fields that extend a message are not part of its `fields`. */
#ifndef EVENER_DESCRIPTORS_H
#define EVENER_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/bytes.h>
#include <evener/export.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* ---- limits ---- */

#define EVENER_DESCRIPTORS_BYTES_MAX (64 * 1024 * 1024)   /* of a set, and of the files of one call together */
#define EVENER_DESCRIPTORS_MEMORY_MAX (512 * 1024 * 1024) /* of a pool */
#define EVENER_DESCRIPTORS_DEPTH_MAX 32                   /* of messages that are declared inside each other */
#define EVENER_DESCRIPTORS_NAME_BYTES_MAX 1024            /* of a full name */

/* ---- what descriptors say ---- */

typedef struct evener_file_type evener_file_type;
typedef struct evener_message_type evener_message_type;
typedef struct evener_field evener_field;
typedef struct evener_oneof evener_oneof;
typedef struct evener_enum_type evener_enum_type;
typedef struct evener_enum_value evener_enum_value;
typedef struct evener_service_type evener_service_type;
typedef struct evener_method evener_method;

/* The numbers of FieldDescriptorProto.Type. */
typedef enum evener_field_kind {
    EVENER_FIELD_DOUBLE = 1,
    EVENER_FIELD_FLOAT = 2,
    EVENER_FIELD_INT64 = 3,
    EVENER_FIELD_UINT64 = 4,
    EVENER_FIELD_INT32 = 5,
    EVENER_FIELD_FIXED64 = 6,
    EVENER_FIELD_FIXED32 = 7,
    EVENER_FIELD_BOOL = 8,
    EVENER_FIELD_STRING = 9,
    EVENER_FIELD_GROUP = 10, /* proto2 */
    EVENER_FIELD_MESSAGE = 11,
    EVENER_FIELD_BYTES = 12,
    EVENER_FIELD_UINT32 = 13,
    EVENER_FIELD_ENUM = 14,
    EVENER_FIELD_SFIXED32 = 15,
    EVENER_FIELD_SFIXED64 = 16,
    EVENER_FIELD_SINT32 = 17,
    EVENER_FIELD_SINT64 = 18
} evener_field_kind;

/* Bytes inside the descriptors: an options message as it was received, with all its extensions. Empty: no options. */
typedef struct evener_raw_options {
    const uint8_t *data;
    size_t length;
} evener_raw_options;

/* The comment of a declaration, from the source info of its file: the text without comment marks, as protoc wrote it,
 * usually with a space at the beginning of each line and "\n" at its end. "" when the file has no source info
 * (protoc --include_source_info) or the declaration no comment. */
typedef struct evener_comments {
    const char *leading;
    const char *trailing;
} evener_comments;

struct evener_file_type {
    const char *name;    /* "orders/v1/orders.proto" */
    const char *package; /* "" : none */
    bool proto3;
    const char *const *imports; /* names of files, which need not be in the pool */
    size_t import_count;
    const evener_message_type *const *messages; /* of the top level, in the order of the file, as all lists here */
    size_t message_count;
    const evener_enum_type *const *enums;
    size_t enum_count;
    const evener_service_type *const *services;
    size_t service_count;
    evener_raw_options options;
    const uint8_t *data; /* the FileDescriptorProto itself */
    size_t length;
};

struct evener_message_type {
    const char *name;      /* "Order" */
    const char *full_name; /* "orders.v1.Order" */
    const evener_file_type *file;
    const evener_message_type *parent; /* NULL: of the top level */
    const evener_field *const *fields;
    size_t field_count;
    const evener_oneof *const *oneofs; /* without those that `optional` in proto3 stands for */
    size_t oneof_count;
    const evener_message_type *const *messages; /* declared inside it, entries of maps too */
    size_t message_count;
    const evener_enum_type *const *enums;
    size_t enum_count;
    bool map_entry; /* the message that a map field consists of: fields[0] is the key, fields[1] the value */
    evener_raw_options options;
    evener_comments comments;
};

struct evener_field {
    const char *name;      /* "order_id" */
    const char *json_name; /* "orderId", or what the .proto says */
    uint32_t number;
    evener_field_kind kind;
    bool repeated;     /* maps too */
    bool required;     /* proto2 */
    bool packed;       /* how a writer writes it; a reader accepts both forms */
    bool has_presence; /* whether "not set" differs from the default: message, in a oneof, `optional`, proto2 */
    bool optional;     /* proto3's keyword */
    const evener_message_type *message; /* of EVENER_FIELD_MESSAGE and EVENER_FIELD_GROUP, or NULL */
    const evener_enum_type *enumeration;
    const evener_oneof *oneof; /* or NULL */
    const evener_message_type *parent;
    const char *default_text; /* proto2, as in FieldDescriptorProto.default_value; NULL: none */
    evener_raw_options options;
    evener_comments comments;
    uint32_t index; /* in parent->fields */
};

struct evener_oneof {
    const char *name;
    const evener_field *const *fields;
    size_t field_count;
    evener_comments comments;
    uint32_t index; /* in the message's oneofs */
};

struct evener_enum_type {
    const char *name;
    const char *full_name;
    const evener_file_type *file;
    const evener_message_type *parent;
    const evener_enum_value *const *values; /* at least one */
    size_t value_count;
    bool closed; /* proto2: a number without a name is not a value of it */
    evener_raw_options options;
    evener_comments comments;
};

struct evener_enum_value {
    const char *name;
    int32_t number;
    evener_raw_options options;
    evener_comments comments;
};

struct evener_service_type {
    const char *name;
    const char *full_name; /* "orders.v1.Orders" */
    const evener_file_type *file;
    const evener_method *const *methods;
    size_t method_count;
    evener_raw_options options;
    evener_comments comments;
};

struct evener_method {
    const char *name;      /* "Get" */
    const char *full_name; /* "orders.v1.Orders.Get" */
    const char *path;      /* "/orders.v1.Orders/Get", as evener/call.h takes it */
    const evener_service_type *service;
    const evener_message_type *input;
    const evener_message_type *output;
    bool client_streaming;
    bool server_streaming;
    evener_raw_options options; /* google.api.http is field 72295728 of it */
    evener_comments comments;
};

/* ---- pools ---- */

/* A pool of descriptors. */
typedef struct evener_descriptors evener_descriptors;

/* Create an empty pool and store it in *descriptors, to be destroyed. RESOURCE_EXHAUSTED: out of memory. */
EVENER_API evener_status_code evener_descriptors_create(evener_descriptors **descriptors, evener_status *status);

/* Add the files of a FileDescriptorSet, in any order; all of them or, after an error, none. `data` is copied. A file
 * that the pool has with the same content is skipped and takes no memory. An import that is in neither set nor pool is
 * only an error if a type is missing: the message names that type, its user, and the missing imports. Errors:
 * INVALID_ARGUMENT (malformed, a type is missing, editions), ALREADY_EXISTS (a file or a name that the pool has with
 * other content), RESOURCE_EXHAUSTED (a limit, or memory). */
EVENER_API evener_status_code evener_descriptors_add_set(evener_descriptors *descriptors, const void *data,
                                                         size_t length, evener_status *status);

/* Add the FileDescriptorSet in the regular file `path`. Errors: as evener_descriptors_add_set(), and NOT_FOUND,
 * PERMISSION_DENIED, UNAVAILABLE for the file; each message begins with `path`. */
EVENER_API evener_status_code evener_descriptors_add_set_file(evener_descriptors *descriptors, const char *path,
                                                              evener_status *status);

/* Add files, each of them a FileDescriptorProto, as reflection has them. Everything as in
 * evener_descriptors_add_set(). */
EVENER_API evener_status_code evener_descriptors_add_files(evener_descriptors *descriptors, const evener_bytes *files,
                                                           size_t count, evener_status *status);

/* Free the pool and all that it returned. NULL is allowed. */
EVENER_API void evener_descriptors_destroy(evener_descriptors *descriptors);

/* ---- lookups: they allocate nothing, cannot fail, and return NULL if there is no such thing ---- */

/* Return the file of that name. */
EVENER_API const evener_file_type *evener_descriptors_file(const evener_descriptors *descriptors, const char *name);

/* Return the message type of a full name, "orders.v1.Order". */
EVENER_API const evener_message_type *evener_descriptors_message(const evener_descriptors *descriptors,
                                                                 const char *full_name);

/* Return the enum of a full name. */
EVENER_API const evener_enum_type *evener_descriptors_enum(const evener_descriptors *descriptors,
                                                           const char *full_name);

/* Return the service of a full name. */
EVENER_API const evener_service_type *evener_descriptors_service(const evener_descriptors *descriptors,
                                                                 const char *full_name);

/* Return the method of a name: "orders.v1.Orders/Get", "/orders.v1.Orders/Get" or "orders.v1.Orders.Get". */
EVENER_API const evener_method *evener_descriptors_method(const evener_descriptors *descriptors, const char *name);

/* Return all files, sorted by name, and store their number. The list itself is valid until files are added. */
EVENER_API const evener_file_type *const *evener_descriptors_files(const evener_descriptors *descriptors,
                                                                   size_t *count);

/* Return all services, sorted by full name, and store their number. The list itself is valid until files are added. */
EVENER_API const evener_service_type *const *evener_descriptors_services(const evener_descriptors *descriptors,
                                                                         size_t *count);

/* Return the field of that number. */
EVENER_API const evener_field *evener_message_type_field(const evener_message_type *message, uint32_t number);

/* Return the field whose `name` is the `length` bytes at `name`. */
EVENER_API const evener_field *evener_message_type_field_by_name(const evener_message_type *message, const char *name,
                                                                 size_t length);

/* Return the field whose `json_name` is the `length` bytes at `name`, or else its `name`. */
EVENER_API const evener_field *evener_message_type_field_by_json_name(const evener_message_type *message,
                                                                      const char *name, size_t length);

/* Return the value of that number; with aliases, the one that is declared first. */
EVENER_API const evener_enum_value *evener_enum_type_value(const evener_enum_type *enumeration, int32_t number);

/* Return the value whose `name` is the `length` bytes at `name`. */
EVENER_API const evener_enum_value *evener_enum_type_value_by_name(const evener_enum_type *enumeration,
                                                                   const char *name, size_t length);

EVENER_END_DECLS

#endif
