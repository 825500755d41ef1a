/* Targets: any input gives a target with valid parts or an error with a reason, and no built-in resolver crashes on
 * it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <evener/resolver.h>
#include <evener/target.h>

#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_parts(const evener_target *target, const char *text)
{
    const char *scheme = evener_target_scheme(target);
    const char *path = evener_target_path(target);
    assert(strcmp(evener_target_text(target), text) == 0);
    assert(scheme[0] >= 'a' && scheme[0] <= 'z');
    assert(strlen(evener_target_authority(target)) + strlen(path) <= strlen(text));
    assert(strcmp(evener_target_endpoint(target), path + (path[0] == '/' ? 1 : 0)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);

    evener_status status;
    evener_target *target = NULL;
    if (evener_target_parse(text, &target, &status) == EVENER_STATUS_OK) {
        check_parts(target, text);
        evener_target_destroy(target);
    } else {
        assert(target == NULL && status.message[0] != '\0');
    }
    const evener_resolver_builder *builder;
    target = NULL;
    if (evener_resolver_lookup(NULL, text, &target, &builder, &status) == EVENER_STATUS_OK) {
        char authority[256];
        const evener_resolver_args args = {.size = sizeof args, .target = target, .default_port = 443};
        if (builder->check != NULL && builder->check(builder, &args, &status) == EVENER_STATUS_OK &&
            builder->default_authority != NULL &&
            builder->default_authority(builder, target, authority, sizeof authority, &status) == EVENER_STATUS_OK) {
            assert(memchr(authority, '\0', sizeof authority) != NULL);
        }
        evener_target_destroy(target);
    }
    free(text);
    return 0;
}
