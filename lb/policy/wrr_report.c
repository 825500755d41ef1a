#include "lb/policy/wrr_report.h"

#include <stdlib.h>
#include <string.h>

#include <evener/load_report.h>

/* A report that gives a weight outside is refused: no server answers as many calls per unit of utilization. */
#define WEIGHT_MIN 1e-6
#define WEIGHT_MAX 1e12

/* ---- names ---- */

evener_metric_names_in_use *evener_metric_names_ref(evener_metric_names_in_use *list)
{
    if (list != NULL) {
        list->references++;
    }
    return list;
}

void evener_metric_names_unref(evener_metric_names_in_use *list)
{
    while (list != NULL && --list->references == 0) {
        evener_metric_names_in_use *previous = list->previous;
        free(list);
        list = previous;
    }
}

static bool are_equal(const evener_metric_names *a, const evener_metric_names *b)
{
    return a->bytes == b->bytes && memcmp(a->texts, b->texts, a->bytes) == 0;
}

const evener_metric_names *evener_metric_names_use(evener_metric_names_in_use **newest,
                                                   const evener_metric_names *names)
{
    for (evener_metric_names_in_use *list = *newest; list != NULL; list = list->previous) {
        if (are_equal(&list->names, names)) {
            return &list->names;
        }
    }
    evener_metric_names_in_use *made = malloc(sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    made->previous = *newest;
    made->references = 1;
    made->names = *names;
    *newest = made;
    return &made->names;
}

/* ---- reports ---- */

/* Return the highest of the named metrics; 0: the report has none of them. */
static double highest_of(const void *bytes, size_t byte_count, const evener_metric_names *names)
{
    double highest = 0;
    const char *name = names->texts;
    for (size_t i = 0; i < names->count; i++, name += strlen(name) + 1) {
        double value = 0;
        if (evener_load_report_find(bytes, byte_count, name, &value) && value > highest) {
            highest = value;
        }
    }
    return highest;
}

evener_wrr_verdict evener_wrr_report_read(const void *bytes, size_t byte_count, const evener_metric_names *names,
                                          double error_penalty, evener_wrr_report *report)
{
    evener_load_report parsed = {.size = sizeof parsed};
    if (!evener_load_report_parse(bytes, byte_count, &parsed)) {
        return EVENER_WRR_MALFORMED;
    }
    double utilization = parsed.application_utilization;
    if (!(utilization > 0) && names != NULL) {
        utilization = highest_of(bytes, byte_count, names);
    }
    if (!(utilization > 0)) {
        utilization = parsed.cpu_utilization;
    }
    if (!(parsed.requests_per_second > 0) || !(utilization > 0)) {
        return EVENER_WRR_SAYS_NOTHING; /* A58 */
    }
    const double errors = parsed.errors_per_second / parsed.requests_per_second;
    const double weight = parsed.requests_per_second / (utilization + error_penalty * errors);
    if (!(weight >= WEIGHT_MIN && weight <= WEIGHT_MAX)) {
        return EVENER_WRR_SAYS_NOTHING;
    }
    *report =
        (evener_wrr_report){.weight = weight, .requests_per_second = parsed.requests_per_second, .errors = errors};
    return EVENER_WRR_WEIGHT;
}
