#include "resolver/dns/choice.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lb/base/c_locale.h"

/* evener is C on the C core; services that mean clients of the core write "c++". */
static const char *const languages[] = {"c", "c++"};

static bool is_text(const json_t *value, const void *arg)
{
    return strcasecmp_l(json_string_value(value), arg, evener_c_locale()) == 0;
}

static bool is_language(const json_t *value, const void *arg)
{
    (void)arg;
    return is_text(value, languages[0]) || is_text(value, languages[1]);
}

/* Check whether an optional list contains a matching string. False with a reason if it is no list of strings. */
static bool list_fits(const json_t *choice, const char *key, bool (*fits)(const json_t *, const void *),
                      const void *arg, bool *result, const char **problem)
{
    const json_t *list = json_object_get(choice, key);
    if (list == NULL) {
        return true;
    }
    if (!json_is_array(list)) {
        *problem = "is not a list";
        return false;
    }
    bool found = json_array_size(list) == 0; /* an empty list matches everything */
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_string(value)) {
            *problem = "contains something other than a string";
            return false;
        }
        found = found || fits(value, arg);
    }
    *result = *result && found;
    return true;
}

static bool percentage_fits(const json_t *choice, uint32_t percentile, bool *result, const char **problem)
{
    const json_t *percentage = json_object_get(choice, "percentage");
    if (percentage == NULL) {
        return true;
    }
    if (!json_is_integer(percentage) || json_integer_value(percentage) < 0 || json_integer_value(percentage) > 100) {
        *problem = "is not an integer from 0 to 100";
        return false;
    }
    *result = *result && (json_int_t)percentile < json_integer_value(percentage);
    return true;
}

/* Check whether a choice applies to this client. False with a reason if the choice is malformed. */
static bool choice_fits(const json_t *choice, const char *hostname, uint32_t percentile, bool *result, const char **key,
                        const char **problem)
{
    *result = true;
    *key = "clientLanguage";
    if (!list_fits(choice, *key, is_language, NULL, result, problem)) {
        return false;
    }
    *key = "percentage";
    if (!percentage_fits(choice, percentile, result, problem)) {
        return false;
    }
    *key = "clientHostname";
    if (!list_fits(choice, *key, is_text, hostname, result, problem)) {
        return false;
    }
    *key = "serviceConfig";
    *problem = "is missing or not an object";
    return json_is_object(json_object_get(choice, *key));
}

static evener_status_code choose(const json_t *list, const char *hostname, uint32_t percentile, char **config,
                                 evener_status *status)
{
    const json_t *chosen = NULL;
    if (!json_is_array(list)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TXT service config: it is not a list of choices");
    }
    /* Check all of them, so that an error is found by every client and not only the affected one (A21). */
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *choice = json_array_get(list, i);
        const char *key = "it";
        const char *problem = "is not an object";
        bool fits = false;
        if (!json_is_object(choice) || !choice_fits(choice, hostname, percentile, &fits, &key, &problem)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "TXT service config: choice %zu: %s %s",
                                     i + 1, key, problem);
        }
        chosen = fits && chosen == NULL ? json_object_get(choice, "serviceConfig") : chosen;
    }
    char *text = NULL;
    if (chosen != NULL && (text = json_dumps(chosen, JSON_COMPACT)) == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "TXT service config: out of memory");
    }
    *config = text;
    return EVENER_STATUS_OK;
}

evener_status_code evener_dns_choice_read(const char *text, const char *hostname, uint32_t percentile, char **config,
                                          evener_status *status)
{
    json_error_t error;
    json_t *list = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (list == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "TXT service config: byte %d: %.160s",
                                 error.position, error.text);
    }
    const evener_status_code code = choose(list, hostname, percentile, config, status);
    json_decref(list);
    return code;
}
