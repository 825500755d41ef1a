/* Endpoint files in libconfig format: any input gives valid entries or an error with a reason. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/file_endpoints.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    (void)evener_file_looks_like_config(text);
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_status status = {.code = EVENER_STATUS_OK};
    if (evener_file_parse_config("f", text, size, &endpoints, &status) != EVENER_STATUS_OK) {
        assert(strncmp(status.message, "file f:", 7) == 0);
    }
    for (size_t i = 0; i < endpoints.count; i++) {
        assert(endpoints.entries[i].address != NULL);
    }
    evener_file_endpoints_clear(&endpoints);
    free(text);
    return 0;
}
