/* Path templates and paths: any two lines are refused, do not match, or give values that are parts of the path. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/path_template.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    char *path = strchr(text, '\n');
    if (path != NULL) {
        *path++ = '\0';
    }
    evener_path_template parsed;
    evener_status status;
    if (evener_path_template_parse(text, &parsed, &status) != EVENER_STATUS_OK) {
        assert(status.message[0] != '\0');
    } else {
        assert(parsed.segment_count <= EVENER_PATH_SEGMENTS_MAX && evener_path_template_compare(&parsed, &parsed) == 0);
        evener_path_value values[EVENER_PATH_VARIABLES_MAX];
        char *memory;
        if (path != NULL && evener_path_template_match(&parsed, path, values, &memory) == EVENER_STATUS_OK) {
            assert(path[0] == '/');
            for (size_t i = 0; i < parsed.variable_count; i++) {
                assert(parsed.variables[i].first <= parsed.variables[i].end);
                assert(strlen(values[i].value) == values[i].length && values[i].length <= strlen(path));
            }
            free(memory);
        }
        evener_path_template_clear(&parsed);
    }
    free(text);
    return 0;
}
