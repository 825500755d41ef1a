/* Descriptor sets: any bytes give a pool whose types can be used, or an error with a reason and an empty pool. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <evener/descriptors.h>
#include <evener/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_message(const evener_descriptors *types, const evener_message_type *message)
{
    const evener_json_options options = {.size = sizeof options, .emit_defaults = true, .depth_max = 8};
    const evener_bytes nothing = {0};
    char *json;
    evener_bytes bytes;
    assert(evener_descriptors_message(types, message->full_name) == message);
    for (size_t i = 0; i < message->field_count; i++) {
        const evener_field *field = message->fields[i];
        assert(evener_message_type_field(message, field->number) == field);
        assert(evener_message_type_field_by_name(message, field->name, strlen(field->name)) == field);
        assert(field->parent == message && field->index == i && field->comments.leading != NULL);
        assert((field->kind == EVENER_FIELD_ENUM) == (field->enumeration != NULL));
        assert((field->kind == EVENER_FIELD_MESSAGE || field->kind == EVENER_FIELD_GROUP) == (field->message != NULL));
    }
    if (evener_json_from_bytes(message, &nothing, &options, &json, NULL, NULL) == EVENER_STATUS_OK) {
        if (evener_json_to_bytes(message, json, strlen(json), &options, &bytes, NULL) == EVENER_STATUS_OK) {
            evener_bytes_clear(&bytes);
        }
        free(json);
    }
    for (size_t i = 0; i < message->message_count; i++) {
        use_message(types, message->messages[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    evener_descriptors *types;
    evener_status status;
    size_t files, services;
    assert(evener_descriptors_create(&types, NULL) == EVENER_STATUS_OK);
    uint8_t *copy = malloc(size + 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    const evener_status_code code = evener_descriptors_add_set(types, copy, size, &status);
    free(copy); /* the pool has its own */
    const evener_file_type *const *list = evener_descriptors_files(types, &files);
    const evener_service_type *const *all = evener_descriptors_services(types, &services);
    assert(code == EVENER_STATUS_OK || (status.message[0] != '\0' && files == 0 && services == 0));
    for (size_t i = 0; i < files; i++) {
        for (size_t k = 0; k < list[i]->message_count; k++) {
            use_message(types, list[i]->messages[k]);
        }
    }
    for (size_t i = 0; i < services; i++) {
        for (size_t k = 0; k < all[i]->method_count; k++) {
            assert(evener_descriptors_method(types, all[i]->methods[k]->path) == all[i]->methods[k]);
            assert(all[i]->methods[k]->input != NULL && all[i]->methods[k]->output != NULL);
        }
    }
    evener_descriptors_destroy(types);
    return 0;
}
