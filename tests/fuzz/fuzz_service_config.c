/* Service config: any input is either refused with a message or gives a config that has an answer for every method. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb/channel/service_config.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    evener_service_config *config = NULL;
    evener_status status;
    if (evener_service_config_parse(text, NULL, "round_robin", &config, &status) == EVENER_STATUS_OK) {
        assert(strcmp(evener_service_config_text(config), text) == 0);
        static const char *const methods[] = {"/a.B/C", "/a.B/", "/", "", "a", "/a.B/C/D"};
        for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
            const evener_method_settings settings = evener_service_config_method(config, methods[i]);
            assert(settings.has_wait_for_ready || !settings.wait_for_ready);
            assert(settings.policy.kind == EVENER_CALL_POLICY_NONE || settings.policy.attempts_max >= 2);
            assert(settings.policy.kind != EVENER_CALL_POLICY_RETRY || settings.policy.backoff_initial_ns > 0);
        }
        evener_service_config_unref(config);
    } else {
        assert(config == NULL && status.message[0] != '\0');
    }
    free(text);
    return 0;
}
