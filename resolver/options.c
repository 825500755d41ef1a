/* Read a channel's resolver options. */
#include <evener/resolver.h>

#include <stdlib.h>
#include <string.h>

/* Numbers are integers below 10^15, so 64 bits hold each of them. */
#define DIGITS_MAX 15

const char *evener_resolver_option(const evener_resolver_args *args, const char *key)
{
    const char *value = NULL;
    for (size_t i = 0; i < args->option_count; i++) {
        if (args->options[i].key != NULL && strcmp(args->options[i].key, key) == 0) {
            value = args->options[i].value; /* of duplicates the last wins, as with attributes */
        }
    }
    return value;
}

evener_status_code evener_resolver_option_u64(const evener_resolver_args *args, const char *key, uint64_t minimum,
                                              uint64_t maximum, uint64_t *value, evener_status *status)
{
    const char *text = evener_resolver_option(args, key);
    if (text == NULL) {
        return EVENER_STATUS_OK;
    }
    const size_t digits = strspn(text, "0123456789");
    const uint64_t number =
        digits > 0 && digits <= DIGITS_MAX && text[digits] == '\0' ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (number < minimum || number > maximum) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "resolver option %s = \"%.40s\": a whole number of %llu to %llu is needed", key, text,
                                 (unsigned long long)minimum, (unsigned long long)maximum);
    }
    *value = number;
    return EVENER_STATUS_OK;
}
