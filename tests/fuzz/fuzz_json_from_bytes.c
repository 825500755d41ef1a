/* Bytes to JSON: any bytes give JSON or an error with a reason; the JSON can be read, and written as the same text. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/json.h>

#include "tests/protobuf/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const evener_message_type *type, const evener_bytes *bytes, const evener_json_options *options)
{
    evener_status status;
    evener_bytes back;
    char *json, *again;
    size_t length;
    if (evener_json_from_bytes(type, bytes, options, &json, &length, &status) != EVENER_STATUS_OK) {
        assert(status.message[0] != '\0');
        return;
    }
    assert(strlen(json) == length);
    const evener_status_code code = evener_json_to_bytes(type, json, length, options, &back, &status);
    if (code != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n%s\n", status.message, json);
        abort();
    }
    assert(evener_json_from_bytes(type, &back, options, &again, NULL, &status) == EVENER_STATUS_OK);
    assert(strcmp(json, again) == 0);
    evener_bytes_clear(&back);
    free(json);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static evener_descriptors *types;
    types = types == NULL ? types_read() : types;
    const evener_json_options lenient = {.size = sizeof lenient, .opaque_any = true, .bytes_max = 1 << 20};
    const evener_json_options defaults = {.size = sizeof defaults, .emit_defaults = true, .bytes_max = 1 << 20};
    uint8_t *copy = malloc(size + 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    const evener_bytes bytes = {.data = copy, .length = size};
    check(evener_descriptors_message(types, "evener.test.Everything"), &bytes, NULL);
    check(evener_descriptors_message(types, "evener.test.Everything"), &bytes, &lenient);
    check(evener_descriptors_message(types, "evener.test.Everything"), &bytes, &defaults);
    check(evener_descriptors_message(types, "evener.legacy.Legacy"), &bytes, &lenient);
    free(copy);
    return 0;
}
