/* The plugin's input: any bytes are refused, or answered with files or an error. Nothing of the input gets into the
 * code as code: comments do not end, and lines have no control characters. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <evener_plugin/plugin.pb-c.h>

#include "lb/protobuf/plugin/generator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Check that each comment ends where a comment of the templates ends: before a newline. */
static void check_code(const char *code)
{
    for (const char *at = code; (at = strstr(at, "/*")) != NULL;) {
        const char *end = strstr(at, "*/");
        assert(end != NULL && end[2] == '\n');
        const char *inner = strstr(at + 2, "/*");
        assert(inner == NULL || inner > end);
        at = end + 2;
    }
    for (const char *c = code; *c != '\0'; c++) {
        assert((unsigned char)*c >= ' ' || *c == '\n');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *answer;
    size_t answer_bytes;
    const char *error;
    if (!generator_run(data, size, &answer, &answer_bytes, &error)) {
        assert(error[0] != '\0');
        return 0;
    }
    Evener__Plugin__CodeGeneratorResponse *response =
        evener__plugin__code_generator_response__unpack(NULL, answer_bytes, answer);
    free(answer);
    assert(response != NULL);
    assert(response->error == NULL || (response->error[0] != '\0' && response->n_file == 0));
    for (size_t i = 0; i < response->n_file; i++) {
        check_code(response->file[i]->content);
    }
    evener__plugin__code_generator_response__free_unpacked(response, NULL);
    return 0;
}
