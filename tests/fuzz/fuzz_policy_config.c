/* loadBalancingConfig: any input gives a policy with its configuration, or an error that names the place. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <evener/policy.h>

#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);

    evener_policy_choice choice = {0};
    evener_status status;
    if (evener_policy_choose(NULL, text, "here", &choice, &status) == EVENER_STATUS_OK) {
        assert(choice.builder != NULL);
    } else {
        assert(choice.builder == NULL && choice.config == NULL);
        assert(strncmp(status.message, "here", 4) == 0);
    }
    evener_policy_choice_clear(&choice);
    free(text);
    return 0;
}
