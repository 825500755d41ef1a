/* TXT choices (A2, service configs in DNS): any input gives a JSON object, nothing, or an error with a reason. */
#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "resolver/dns/choice.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    for (uint32_t percentile = 0; percentile < 100; percentile += 33) {
        evener_status status = {.code = EVENER_STATUS_OK};
        char *config = NULL;
        if (evener_dns_choice_read(text, "web-1", percentile, &config, &status) != EVENER_STATUS_OK) {
            assert(status.message[0] != '\0' && config == NULL);
        } else if (config != NULL) {
            json_t *object = json_loads(config, 0, NULL);
            assert(json_is_object(object));
            json_decref(object);
        }
        free(config);
    }
    free(text);
    return 0;
}
