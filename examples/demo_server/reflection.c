/* Server reflection (grpc: doc/server-reflection.md) over the descriptor set that the build embeds. v1 and v1alpha have
 * the same messages. A file is answered alone; the client asks for what it imports. */
#include "demo_server/service.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <demo_server/types.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>

typedef DemoServer__File file_type;
typedef DemoServer__Message message_type;
typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;

extern const unsigned char demo_server_types[];
extern const size_t demo_server_types_bytes;

/* The embedded files: as they are, and parsed. They live as long as the process. */
static DemoServer__FileSet *set;
static file_type **files;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_types(void)
{
    set = demo_server__file_set__unpack(NULL, demo_server_types_bytes, demo_server_types);
    files = set != NULL ? calloc(set->n_file + 1, sizeof(file_type *)) : NULL;
    for (size_t i = 0; files != NULL && i < set->n_file; i++) {
        files[i] = demo_server__file__unpack(NULL, set->file[i].len, set->file[i].data);
        if (files[i] == NULL) {
            files = NULL; /* out of memory: no reflection */
        }
    }
}

static void reply(demo_call *call, const response_message *response)
{
    const size_t bytes = protobuf_c_message_get_packed_size(&response->base);
    uint8_t *packed = malloc(bytes + 1);
    if (packed == NULL) {
        demo_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    protobuf_c_message_pack(&response->base, packed);
    demo_call_reply(call, packed, bytes);
    free(packed);
}

static void reply_error(demo_call *call, response_message *response, grpc_status_code code, const char *message)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = (int32_t)code;
    error.error_message = (char *)message; /* protobuf-c has no const; packing only reads */
    response->message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = &error;
    reply(call, response);
}

/* Answer with file `index`; n_file: there is none. */
static void reply_file(demo_call *call, response_message *response, size_t index)
{
    if (index == set->n_file) {
        reply_error(call, response, GRPC_STATUS_NOT_FOUND, "unknown here");
        return;
    }
    Grpc__Reflection__V1__FileDescriptorResponse answer = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    answer.n_file_descriptor_proto = 1;
    answer.file_descriptor_proto = &set->file[index];
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = &answer;
    reply(call, response);
}

static void reply_services(demo_call *call, response_message *response)
{
    enum { SERVICES_MAX = 32, NAME_BYTES = 128 };
    char names[SERVICES_MAX][NAME_BYTES];
    Grpc__Reflection__V1__ServiceResponse services[SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *pointers[SERVICES_MAX];
    Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    for (size_t i = 0; i < set->n_file; i++) {
        for (size_t k = 0; k < files[i]->n_service && list.n_service < SERVICES_MAX; k++) {
            const size_t at = list.n_service++;
            snprintf(names[at], NAME_BYTES, "%s.%s", files[i]->package, files[i]->service[k]->name);
            grpc__reflection__v1__service_response__init(&services[at]);
            services[at].name = names[at];
            pointers[at] = &services[at];
        }
    }
    list.service = pointers;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = &list;
    reply(call, response);
}

/* Step over `name` and a dot, or to the end, at the beginning of a symbol. NULL: it begins with something else. */
static const char *after(const char *symbol, const char *name)
{
    const size_t bytes = strlen(name);
    if (strncmp(symbol, name, bytes) != 0 || (symbol[bytes] != '.' && symbol[bytes] != '\0')) {
        return NULL;
    }
    return symbol + bytes + (symbol[bytes] == '.');
}

static bool enum_has(DemoServer__Enum *const *enums, size_t count, const char *symbol)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(enums[i]->name, symbol) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether messages declare a symbol: themselves, what is inside them, their fields. */
static bool messages_have(message_type *const *messages, size_t count, const char *symbol)
{
    for (size_t i = 0; i < count; i++) {
        const char *rest = after(symbol, messages[i]->name);
        bool found = rest != NULL &&
                     (*rest == '\0' || messages_have(messages[i]->nested_type, messages[i]->n_nested_type, rest) ||
                      enum_has(messages[i]->enum_type, messages[i]->n_enum_type, rest));
        for (size_t k = 0; rest != NULL && !found && k < messages[i]->n_field; k++) {
            found = strcmp(messages[i]->field[k]->name, rest) == 0;
        }
        if (found) {
            return true;
        }
    }
    return false;
}

static bool services_have(const file_type *file, const char *symbol)
{
    for (size_t i = 0; i < file->n_service; i++) {
        const char *rest = after(symbol, file->service[i]->name);
        if (rest != NULL && *rest == '\0') {
            return true;
        }
        for (size_t k = 0; rest != NULL && k < file->service[i]->n_method; k++) {
            if (strcmp(file->service[i]->method[k]->name, rest) == 0) {
                return true;
            }
        }
    }
    return false;
}

static size_t find_symbol(const char *symbol)
{
    size_t i = 0;
    for (; i < set->n_file; i++) {
        const file_type *file = files[i];
        const char *rest = after(symbol, file->package);
        if (rest != NULL &&
            (services_have(file, rest) || messages_have(file->message_type, file->n_message_type, rest) ||
             enum_has(file->enum_type, file->n_enum_type, rest))) {
            break;
        }
    }
    return i;
}

static size_t find_name(const char *name)
{
    size_t i = 0;
    while (i < set->n_file && strcmp(files[i]->name, name) != 0) {
        i++;
    }
    return i;
}

void demo_reflect(demo_call *call, const uint8_t *data, size_t data_bytes)
{
    request_message *request = grpc__reflection__v1__server_reflection_request__unpack(NULL, data_bytes, data);
    response_message response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    (void)pthread_once(&once, read_types);
    if (request == NULL || files == NULL) {
        demo_call_finish(call, GRPC_STATUS_INVALID_ARGUMENT, "the request is not the message of this method");
        if (request != NULL) {
            grpc__reflection__v1__server_reflection_request__free_unpacked(request, NULL);
        }
        return;
    }
    response.valid_host = request->host;
    response.original_request = request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        reply_file(call, &response, find_name(request->file_by_filename));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        reply_file(call, &response, find_symbol(request->file_containing_symbol));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        reply_services(call, &response);
        break;
    default:
        reply_error(call, &response, GRPC_STATUS_UNIMPLEMENTED, "extensions are not served");
        break;
    }
    grpc__reflection__v1__server_reflection_request__free_unpacked(request, NULL);
}
