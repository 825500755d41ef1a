#include "lb/channel/json_duration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <evener/loop.h>

#include "lb/base/c_locale.h"

bool evener_json_duration(const json_t *value, double *seconds)
{
    const char *text = json_string_value(value);
    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return false;
    }
    char *end;
    const double number = strtod_l(text, &end, evener_c_locale());
    if (strspn(text, "0123456789.") != (size_t)(end - text) || strcmp(end, "s") != 0 || !(number >= 0) ||
        number > EVENER_JSON_DURATION_SECONDS_MAX) {
        return false;
    }
    *seconds = number;
    return true;
}

bool evener_json_duration_ns(const json_t *value, uint64_t *ns)
{
    double seconds;
    if (!evener_json_duration(value, &seconds)) {
        return false;
    }
    const double exact = ceil(seconds * (double)EVENER_NS_PER_S);
    *ns = exact < (double)(UINT64_MAX / 4) ? (uint64_t)exact : UINT64_MAX / 4;
    return true;
}
