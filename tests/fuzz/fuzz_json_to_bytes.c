/* JSON to bytes: any text gives a message or an error with a reason. What can be written again can be read again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <evener/json.h>

#include "tests/protobuf/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const evener_message_type *type, const char *text, size_t length, const evener_json_options *options)
{
    evener_status status;
    evener_bytes bytes, again;
    char *json;
    size_t json_length;
    if (evener_json_to_bytes(type, text, length, options, &bytes, &status) != EVENER_STATUS_OK) {
        assert(status.message[0] != '\0');
        return;
    }
    if (evener_json_from_bytes(type, &bytes, options, &json, &json_length, &status) == EVENER_STATUS_OK) {
        assert(strlen(json) == json_length);
        assert(evener_json_to_bytes(type, json, json_length, options, &again, &status) == EVENER_STATUS_OK);
        evener_bytes_clear(&again);
        free(json);
    } else { /* an Any of an Any, for example, may be too deep to be written, as may other forms */
        assert(status.message[0] != '\0');
    }
    evener_bytes_clear(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static evener_descriptors *types;
    types = types == NULL ? types_read() : types;
    const evener_json_options lenient = {
        .size = sizeof lenient, .ignore_unknown = true, .opaque_any = true, .bytes_max = 1 << 20, .indent = 1};
    char *text = malloc(size + 1); /* its exact size: reading beyond it is found */
    if (size > 0) {
        memcpy(text, data, size);
    }
    check(evener_descriptors_message(types, "evener.test.Everything"), text, size, NULL);
    check(evener_descriptors_message(types, "evener.test.Everything"), text, size, &lenient);
    check(evener_descriptors_message(types, "evener.legacy.Legacy"), text, size, &lenient);
    size_t start, end;
    if (evener_json_next(text, size, &start, &end, NULL) == EVENER_STATUS_OK) {
        assert(start <= end && end <= size);
    }
    free(text);
    return 0;
}
