/* Endpoint files with one endpoint per line: any input gives valid entries or an error with place and reason. */
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
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_status status = {.code = EVENER_STATUS_OK};
    if (evener_file_parse_lines("f", text, size, &endpoints, &status) != EVENER_STATUS_OK) {
        assert(strncmp(status.message, "file f:", 7) == 0);
    }
    for (size_t i = 0; i < endpoints.count; i++) {
        const evener_file_entry *entry = &endpoints.entries[i];
        assert(entry->address != NULL && entry->line > 0);
        assert(i == 0 || entry->line > endpoints.entries[i - 1].line);
        assert(entry->host == NULL || strchr(entry->host, ':') != NULL);
    }
    assert(evener_file_endpoints_equal(&endpoints, &endpoints));
    evener_file_endpoints_clear(&endpoints);
    free(text);
    return 0;
}
