/* Factory file: any bytes are either refused with a message or give a consistent config. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb/factory_config.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    /* Other files are not part of the input: neither devices nor endless ones are to be read here. */
    if (strstr(text, "@include") != NULL || strchr(text, '/') != NULL) {
        free(text);
        return 0;
    }
    evener_factory_config config;
    evener_status status;
    if (evener_factory_config_parse("/nowhere/fuzz.cfg", text, size, &config, &status) == EVENER_STATUS_OK) {
        for (size_t i = 0; i < config.channel_count; i++) {
            assert(config.channels[i].settings.target != NULL);
            assert(i == 0 || strcmp(config.channels[i - 1].name, config.channels[i].name) < 0);
        }
    } else {
        assert(status.message[0] != '\0' && config.channel_count == 0);
    }
    evener_factory_config_clear(&config);
    free(text);
    return 0;
}
