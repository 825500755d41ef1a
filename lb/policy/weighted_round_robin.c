/* weighted_round_robin: every READY backend in turn, as often as its weight says (A58).
 *
 * Weights. A backend's load reports (trailer `endpoint-load-metrics-bin` or, with `enableOobLoadReport`, out of band:
 * A51) give
 *
 *     weight = requests_per_second / (utilization + penalty * errors_per_second / requests_per_second)
 *
 * with the application's utilization or, if that is 0, the highest of `metricNamesForComputingUtilization` (A114) or,
 * if the report has none of them, the CPU's. Such a weight counts `blackoutPeriod` after the first
 * report of a connection, and until `weightExpirationPeriod` after the last one. When at least two backends have one,
 * those weights rule: brought to within 0.1 to 10 of their median, and the median for a backend that has none.
 * Otherwise the attribute "weight" of the addresses does (1 if none: then it is a round robin). Weights are looked at
 * every `weightUpdatePeriod`. During a slow start ("slowStartConfig") a weight is less.
 *
 * A report whose weight is no sane number is refused, and the last one counts on. Failures that this client sees
 * (`failureCodes`) count as errors if they are more than those reported, and a report with an answer that is not OK
 * never raises the weight: a backend that fails fast reports little load.
 *
 * Picks go round a smooth sequence (lb/policy/smooth_sequence.h), with one cursor where calls follow, else with one for
 * each lane, as in round_robin: no bursts, and exact shares for whole weights over a period, of all threads or of
 * one. */
#include <evener/base_policy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>
#include <evener/policy_config.h>

#include "lb/base/c_locale.h"
#include "lb/policy/builtin.h"
#include "lb/policy/failure_codes.h"
#include "lb/policy/ready_list.h"
#include "lb/policy/smooth_sequence.h"
#include "lb/policy/weights.h"
#include "lb/policy/wrr_report.h"

/* A58: the bounds of the parameters; and those of a weight beside the mean (grpc: static_stride_scheduler.cc). */
#define UPDATE_PERIOD_MIN_NS (100 * EVENER_NS_PER_MS)
#define PERIOD_MAX_NS (UINT64_C(24) * 3600 * EVENER_NS_PER_S)
#define OOB_PERIOD_DEFAULT_NS (10 * EVENER_NS_PER_S)
/* Warn of missing reports after this time with READY backends at the earliest. */
#define UNREPORTED_WARNING_NS (10 * EVENER_NS_PER_S)
/* A call counts this much in the share of failures. */
#define FAILING_WEIGHT (1.0 / 32)
#define RATIO_MAX 10.0
#define RATIO_MIN 0.1

typedef struct wrr_config {
    bool oob_load_report;
    uint64_t oob_ns; /* between two reports */
    evener_metric_names metrics;
    uint64_t blackout_ns, expiration_ns, update_ns;
    double error_penalty;
    uint32_t failure_codes;
    evener_slow_start slow_start;
} wrr_config;

static const wrr_config default_config = {.oob_ns = OOB_PERIOD_DEFAULT_NS,
                                          .blackout_ns = 10 * EVENER_NS_PER_S,
                                          .expiration_ns = 180 * EVENER_NS_PER_S,
                                          .update_ns = EVENER_NS_PER_S,
                                          .error_penalty = 1.0,
                                          .failure_codes = EVENER_FAILURE_CODES_DEFAULT,
                                          .slow_start = EVENER_SLOW_START_NONE};

/* A subchannel's memory. The atomics are written by whoever ends a call and read by the control thread; each is right
 * by itself, so relaxed order does. */
typedef struct wrr_data {
    evener_loop *loop;
    uint64_t weight_bits;               /* atomic: a double, of the last report */
    uint64_t reported_ns;               /* atomic: when; 0: never */
    uint64_t first_ns;                  /* atomic: the first report since then; 0: none yet */
    uint64_t rps_bits;                  /* atomic: a double, of the last report; 0 before the first */
    uint64_t error_bits;                /* atomic: a double, the share of errors in it */
    uint64_t failing_bits;              /* atomic: a double, the share of failures as this client sees it */
    uint32_t failure_codes;             /* atomic; of the configuration in force */
    bool has_answered;                  /* atomic: a call has ended with OK */
    bool has_reported;                  /* atomic: a well-formed report has come */
    bool is_out_of_band;                /* atomic: reports with calls are ignored */
    const evener_metric_names *metrics; /* atomic; NULL: none. In `metrics_held` */
    /* the control thread's */
    uint64_t ready_since_ns;                  /* of the connection that the reports are of */
    uint64_t oob_ms;                          /* between the reports that are asked for; 0: none are */
    double error_penalty;                     /* for reports out of band */
    evener_metric_names_in_use *metrics_held; /* a reference */
} wrr_data;

typedef struct wrr_entry {
    evener_subchannel *subchannel;
    wrr_data *data;
} wrr_entry;

typedef struct wrr_picker {
    evener_picker base;
    uint32_t count, length;
    uint64_t penalty_bits; /* of a double, for done */
    uint32_t *sequence;
    double *weights; /* what it was made of */
    struct {
        _Alignas(EVENER_LANE_BYTES) uint64_t next;
    } cursors[EVENER_LANES]; /* the place to come; on the shared lane, a count that only grows */
    wrr_entry entries[];
} wrr_picker;

/* An instance's memory. */
typedef struct wrr_state {
    wrr_picker *last; /* published again when nothing has changed */
    evener_metric_names_in_use *metrics;
    uint64_t first_ready_ns; /* when its first picker was built */
    bool is_settled;         /* a backend has reported, or the warning that none does was logged */
} wrr_state;

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- the data plane ---- */

static void store(uint64_t *bits, double value)
{
    __atomic_store_n(bits, bits_of(value), __ATOMIC_RELAXED);
}

static double load(const uint64_t *bits)
{
    return double_of(__atomic_load_n(bits, __ATOMIC_RELAXED));
}

/* Take a report. One with an answer that is not OK lowers the weight only. */
static void take_report(wrr_data *data, double penalty, const void *bytes, size_t byte_count, bool ok)
{
    const evener_metric_names *names = __atomic_load_n(&data->metrics, __ATOMIC_ACQUIRE); /* its texts: use_metrics() */
    evener_wrr_report report;
    const evener_wrr_verdict verdict = evener_wrr_report_read(bytes, byte_count, names, penalty, &report);
    if (verdict != EVENER_WRR_MALFORMED) {
        __atomic_store_n(&data->has_reported, true, __ATOMIC_RELAXED);
    }
    const bool known = __atomic_load_n(&data->first_ns, __ATOMIC_RELAXED) != 0;
    if (verdict != EVENER_WRR_WEIGHT || (!ok && (!known || report.weight > load(&data->weight_bits)))) {
        return;
    }
    const uint64_t now_ns = evener_loop_now_fast_ns(data->loop);
    store(&data->weight_bits, report.weight);
    store(&data->rps_bits, report.requests_per_second);
    store(&data->error_bits, report.errors);
    __atomic_store_n(&data->reported_ns, now_ns, __ATOMIC_RELAXED);
    if (!known) {
        __atomic_store_n(&data->first_ns, now_ns, __ATOMIC_RELAXED);
    }
}

/* A report came out of band. Control thread. */
static void load_reported(void *arg, evener_subchannel *subchannel, const void *report, size_t report_bytes)
{
    (void)subchannel;
    wrr_data *data = arg;
    take_report(data, data->error_penalty, report, report_bytes, true);
}

/* A call ended that says something: not OK, with a report, or the first one. */
static __attribute__((noinline)) void call_says(wrr_data *data, uint64_t penalty_bits, const evener_done_info *info)
{
    if (info->not_sent) {
        return;
    }
    const bool failed = evener_is_failure(__atomic_load_n(&data->failure_codes, __ATOMIC_RELAXED), info->code);
    if (failed || info->code == EVENER_STATUS_OK) {
        const double failing = load(&data->failing_bits);
        store(&data->failing_bits, failing + ((failed ? 1.0 : 0.0) - failing) * FAILING_WEIGHT);
    }
    if (info->code == EVENER_STATUS_OK) {
        __atomic_store_n(&data->has_answered, true, __ATOMIC_RELAXED);
    }
    if (info->load_report != NULL && !__atomic_load_n(&data->is_out_of_band, __ATOMIC_RELAXED)) {
        take_report(data, double_of(penalty_bits), info->load_report, info->load_report_bytes,
                    info->code == EVENER_STATUS_OK);
    }
}

static void call_done(void *arg, uint64_t penalty_bits, const evener_done_info *info, uint32_t lane)
{
    (void)lane;
    wrr_data *data = arg;
    if (__builtin_expect(info->load_report != NULL || info->code != EVENER_STATUS_OK ||
                             !__atomic_load_n(&data->has_answered, __ATOMIC_RELAXED),
                         0)) {
        call_says(data, penalty_bits, info);
    }
}

/* Return the entry of the next place whose backend the call was not tried at; without any, that of the place. */
static const wrr_entry *untried_entry(const wrr_picker *picker, const evener_pick_context *context, uint64_t place)
{
    for (uint64_t i = 0; i < picker->length; i++) {
        const wrr_entry *entry = &picker->entries[picker->sequence[(place + i) % picker->length]];
        if (!evener_pick_avoids(context, entry->subchannel)) {
            return entry;
        }
    }
    for (uint32_t i = 0; i < picker->count; i++) { /* one without a place */
        if (!evener_pick_avoids(context, picker->entries[i].subchannel)) {
            return &picker->entries[i];
        }
    }
    return &picker->entries[picker->sequence[place]];
}

static inline evener_pick_outcome pick_entry(const wrr_picker *picker, const wrr_entry *entry, evener_pick *pick)
{
    pick->subchannel = entry->subchannel;
    (void)evener_pick_on_done(pick, call_done, entry->data, picker->penalty_bits);
    return EVENER_PICK_COMPLETE;
}

/* Called last, so that the pick itself saves no registers for it. */
static __attribute__((noinline)) evener_pick_outcome pick_untried(const wrr_picker *picker,
                                                                  const evener_pick_context *context, uint64_t place,
                                                                  evener_pick *pick)
{
    return pick_entry(picker, untried_entry(picker, context, place), pick);
}

static inline evener_pick_outcome pick_at(const wrr_picker *picker, const evener_pick_context *context, uint64_t place,
                                          evener_pick *pick)
{
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        return pick_untried(picker, context, place, pick);
    }
    return pick_entry(picker, &picker->entries[picker->sequence[place]], pick);
}

/* All threads in one order. */
static evener_pick_outcome pick_in_order(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    wrr_picker *picker = (wrr_picker *)base;
    uint64_t *next = &picker->cursors[EVENER_LANE_SHARED].next;
    return pick_at(picker, context, __atomic_fetch_add(next, 1, __ATOMIC_RELAXED) % picker->length, pick);
}

/* Each lane in an order of its own. */
static evener_pick_outcome pick_on_lane(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    wrr_picker *picker = (wrr_picker *)base;
    if (__builtin_expect(context->lane == EVENER_LANE_SHARED, 0)) {
        return pick_in_order(base, context, pick);
    }
    uint64_t *next = &picker->cursors[context->lane].next;
    const uint64_t place = __atomic_load_n(next, __ATOMIC_RELAXED);
    __atomic_store_n(next, place + 1 == picker->length ? 0 : place + 1, __ATOMIC_RELAXED);
    return pick_at(picker, context, place, pick);
}

static void wrr_destroy(evener_picker *base)
{
    wrr_picker *picker = (wrr_picker *)base;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->entries[i].subchannel);
    }
    free(picker->sequence);
    free(picker->weights);
    free(picker);
}

static const evener_picker_vtable ordered_vtable = {
    .size = sizeof ordered_vtable, .pick = pick_in_order, .destroy = wrr_destroy};
static const evener_picker_vtable lanes_vtable = {
    .size = sizeof lanes_vtable, .pick = pick_on_lane, .destroy = wrr_destroy};

/* ---- weights ---- */

/* The weight that the reports of this connection give; 0 if they give none now. */
static double reported_weight(wrr_data *data, const wrr_config *config, uint64_t ready_since_ns, uint64_t now_ns)
{
    if (data->ready_since_ns != ready_since_ns) { /* A58: another connection, another blackout */
        data->ready_since_ns = ready_since_ns;
        __atomic_store_n(&data->first_ns, 0, __ATOMIC_RELAXED);
        return 0;
    }
    const uint64_t first_ns = __atomic_load_n(&data->first_ns, __ATOMIC_RELAXED);
    const uint64_t reported_ns = __atomic_load_n(&data->reported_ns, __ATOMIC_RELAXED);
    if (first_ns == 0) {
        return 0;
    }
    if (now_ns >= reported_ns + config->expiration_ns) {
        __atomic_store_n(&data->first_ns, 0, __ATOMIC_RELAXED);
        return 0;
    }
    if (now_ns < first_ns + config->blackout_ns) {
        return 0;
    }
    const double weight = load(&data->weight_bits);
    const double unreported = load(&data->failing_bits) - load(&data->error_bits);
    return unreported > 0 ? 1 / (1 / weight + config->error_penalty * unreported / load(&data->rps_bits)) : weight;
}

static int compare_weights(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Return the median of those above 0, of which there are `known`; `scratch` has room for all. */
static double median_of(const double *weights, size_t count, size_t known, double *scratch)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (weights[i] > 0) {
            scratch[used++] = weights[i];
        }
    }
    qsort(scratch, used, sizeof *scratch, compare_weights);
    return (scratch[(known - 1) / 2] + scratch[known / 2]) / 2;
}

/* Replace the static weights by those of the reports, if there are enough. */
static void use_reports(const evener_base_ready *ready, const wrr_config *config, double *weights)
{
    const uint64_t now_ns = evener_loop_now_ns(ready->helper->loop);
    double *reported = malloc(2 * ready->count * sizeof(double));
    if (reported == NULL) {
        return; /* the next picker may have them */
    }
    size_t known = 0;
    for (size_t i = 0; i < ready->count; i++) {
        reported[i] =
            reported_weight(evener_subchannel_data(ready->subchannels[i]), config, ready->ready_since_ns[i], now_ns);
        known += reported[i] > 0;
    }
    if (known >= 2) {
        const double median = median_of(reported, ready->count, known, reported + ready->count);
        for (size_t i = 0; i < ready->count; i++) {
            double weight = reported[i] > 0 ? reported[i] / median : 1;
            weight = weight > RATIO_MAX ? RATIO_MAX : weight < RATIO_MIN ? RATIO_MIN : weight;
            weights[i] = weight * evener_slow_start_factor(&config->slow_start, now_ns - ready->ready_since_ns[i]);
        }
    }
    free(reported);
}

/* ---- reports that are asked for ---- */

/* Let a backend's reports be read with the metrics of the configuration. On out of memory the old ones count on, until
 * the next picker. */
static void use_metrics(wrr_data *data, wrr_state *state, const evener_metric_names *wanted)
{
    if (wanted->count == 0) {
        __atomic_store_n(&data->metrics, NULL, __ATOMIC_RELAXED);
        return;
    }
    const evener_metric_names *names = evener_metric_names_use(&state->metrics, wanted);
    if (names == NULL) {
        return;
    }
    if (data->metrics_held != state->metrics) { /* which keeps all those before it */
        evener_metric_names_in_use *old = data->metrics_held;
        data->metrics_held = evener_metric_names_ref(state->metrics);
        evener_metric_names_unref(old);
    }
    __atomic_store_n(&data->metrics, names, __ATOMIC_RELEASE); /* pairs with take_report() */
}

/* Ask a backend for reports out of band, or stop asking. */
static void ask_out_of_band(wrr_data *data, evener_subchannel *subchannel, const wrr_config *config)
{
    const uint64_t period_ns = config->oob_ns > 0 ? config->oob_ns : OOB_PERIOD_DEFAULT_NS;
    const uint64_t wanted_ms = !config->oob_load_report       ? 0
                               : period_ns < EVENER_NS_PER_MS ? 1
                                                              : period_ns / EVENER_NS_PER_MS;
    data->error_penalty = config->error_penalty;
    __atomic_store_n(&data->is_out_of_band, config->oob_load_report, __ATOMIC_RELAXED);
    if (data->oob_ms == wanted_ms) {
        return;
    }
    const evener_status_code code = evener_subchannel_watch_load(subchannel, wanted_ms, load_reported, data, NULL);
    if (code == EVENER_STATUS_OK || code == EVENER_STATUS_UNIMPLEMENTED) { /* else the next picker asks again */
        data->oob_ms = wanted_ms;
    }
}

/* Warn, once, if no backend sends reports though reports are all that could give weights: none came after calls were
 * answered, or out of band, for the blackout period. */
static void warn_of_missing_reports(const evener_base_ready *ready, const wrr_config *config)
{
    wrr_state *state = ready->state;
    const uint64_t now_ns = evener_loop_now_ns(ready->helper->loop);
    if (state->first_ready_ns == 0) {
        state->first_ready_ns = now_ns;
    }
    bool is_awaited = config->oob_load_report;
    bool has_static_weights = false;
    for (size_t i = 0; i < ready->count && !state->is_settled; i++) {
        const wrr_data *data = evener_subchannel_data(ready->subchannels[i]);
        state->is_settled = __atomic_load_n(&data->has_reported, __ATOMIC_RELAXED);
        is_awaited |= __atomic_load_n(&data->has_answered, __ATOMIC_RELAXED);
        has_static_weights |= evener_static_weight(ready->subchannels[i]) != 1;
    }
    const uint64_t wait_ns = config->blackout_ns > UNREPORTED_WARNING_NS ? config->blackout_ns : UNREPORTED_WARNING_NS;
    if (state->is_settled || !is_awaited || now_ns - state->first_ready_ns < wait_ns ||
        (has_static_weights && !config->oob_load_report)) {
        return;
    }
    state->is_settled = true;
    evener_log(
        EVENER_LOG_WARNING, "weighted_round_robin",
        "%s: no backend sends load reports, so the weights are those of the addresses: %s", ready->helper->target,
        config->oob_load_report
            ? "the servers need the service xds.service.orca.v3.OpenRcaService"
            : "the servers have to send the trailer endpoint-load-metrics-bin (the gRPC C core hides it from its "
              "users: over the transport grpc set enableOobLoadReport)");
}

/* ---- building ---- */

static bool is_same(const wrr_picker *last, const evener_base_ready *ready, const double *weights,
                    uint64_t penalty_bits)
{
    if (last == NULL || last->count != ready->count || last->penalty_bits != penalty_bits) {
        return false;
    }
    for (size_t i = 0; i < ready->count; i++) {
        if (last->entries[i].subchannel != ready->subchannels[i] || last->weights[i] != weights[i]) {
            return false;
        }
    }
    return true;
}

/* Take over `weights`. */
static wrr_picker *make_picker(const evener_base_ready *ready, double *weights, uint64_t penalty_bits)
{
    wrr_picker *picker = evener_picker_alloc(sizeof *picker + ready->count * sizeof(wrr_entry));
    uint32_t length = 0;
    uint32_t *sequence = evener_smooth_sequence(weights, (uint32_t)ready->count, &length);
    if (picker == NULL || sequence == NULL) {
        free(picker);
        free(sequence);
        free(weights);
        return NULL;
    }
    evener_picker_init(&picker->base,
                       evener_subchannel_carries_calls(ready->subchannels[0]) ? &ordered_vtable : &lanes_vtable);
    picker->count = (uint32_t)ready->count;
    picker->length = length;
    picker->penalty_bits = penalty_bits;
    picker->sequence = sequence;
    picker->weights = weights;
    for (size_t i = 0; i < ready->count; i++) {
        evener_subchannel *subchannel = evener_subchannel_ref(ready->subchannels[i]);
        picker->entries[i] = (wrr_entry){subchannel, evener_subchannel_data(subchannel)};
    }
    const uint64_t start = evener_loop_random_below(ready->helper->loop, length);
    for (uint64_t lane = 0; lane < EVENER_LANES; lane++) {
        picker->cursors[lane].next = (start + evener_lane_start((uint32_t)lane, length)) % length;
    }
    return picker;
}

static evener_picker *wrr_build_picker(const evener_base_ready *ready)
{
    const wrr_config *config = ready->config != NULL ? ready->config : &default_config;
    wrr_state *state = ready->state;
    double *weights = malloc(ready->count * sizeof(double));
    if (weights == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < ready->count; i++) {
        wrr_data *data = evener_subchannel_data(ready->subchannels[i]);
        __atomic_store_n(&data->failure_codes, config->failure_codes, __ATOMIC_RELAXED);
        use_metrics(data, state, &config->metrics);
        ask_out_of_band(data, ready->subchannels[i], config);
    }
    warn_of_missing_reports(ready, config);
    evener_ready_weights(ready, &config->slow_start, weights);
    use_reports(ready, config, weights);
    if (*ready->rebuild_after_ns == 0 || *ready->rebuild_after_ns > config->update_ns) {
        *ready->rebuild_after_ns = config->update_ns;
    }
    const uint64_t penalty_bits = bits_of(config->error_penalty);
    if (is_same(state->last, ready, weights, penalty_bits)) {
        free(weights);
        return evener_picker_ref(&state->last->base);
    }
    wrr_picker *picker = make_picker(ready, weights, penalty_bits);
    if (picker == NULL) {
        return NULL;
    }
    if (state->last != NULL) {
        evener_picker_unref(&state->last->base);
    }
    state->last = picker;
    return evener_picker_ref(&picker->base);
}

static void state_destroy(void *arg)
{
    wrr_state *state = arg;
    if (state->last != NULL) {
        evener_picker_unref(&state->last->base);
    }
    evener_metric_names_unref(state->metrics);
}

static void data_destroy(void *arg)
{
    const wrr_data *data = arg;
    evener_metric_names_unref(data->metrics_held);
}

static void subchannel_created(const evener_base_ready *peers, evener_subchannel *subchannel)
{
    wrr_data *data = evener_subchannel_data(subchannel);
    data->loop = peers->helper->loop;
}

static void describe(void *state, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    (void)state;
    wrr_data *data = evener_subchannel_data(subchannel);
    const int used = snprintf(buffer, buffer_bytes, "weight=%u", evener_static_weight(subchannel));
    if (used > 0 && (size_t)used < buffer_bytes && __atomic_load_n(&data->first_ns, __ATOMIC_RELAXED) != 0) {
        evener_snprintf(buffer + used, buffer_bytes - (size_t)used, " reported_weight=%g",
                        double_of(__atomic_load_n(&data->weight_bits, __ATOMIC_RELAXED)));
    }
}

/* ---- configuration ---- */

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    (void)policies;
    wrr_config *config = parsed;
    evener_policy_fields_get_bool(fields, "enableOobLoadReport", &config->oob_load_report);
    evener_policy_fields_get_duration(fields, "oobReportingPeriod", 0, PERIOD_MAX_NS, &config->oob_ns);
    if (evener_policy_fields_get_strings(fields, "metricNamesForComputingUtilization", config->metrics.texts,
                                         sizeof config->metrics.texts, &config->metrics.count)) {
        for (size_t i = 0; i < config->metrics.count; i++) {
            config->metrics.bytes += strlen(config->metrics.texts + config->metrics.bytes) + 1;
        }
    }
    evener_policy_fields_get_duration(fields, "blackoutPeriod", 0, PERIOD_MAX_NS, &config->blackout_ns);
    evener_policy_fields_get_duration(fields, "weightExpirationPeriod", 0, PERIOD_MAX_NS, &config->expiration_ns);
    evener_policy_fields_get_duration(fields, "weightUpdatePeriod", 0, PERIOD_MAX_NS, &config->update_ns);
    evener_policy_fields_get_double(fields, "errorUtilizationPenalty", 0, 1e9, &config->error_penalty);
    evener_policy_fields_get_status_codes(fields, "failureCodes", &config->failure_codes);
    evener_slow_start_read(fields, &config->slow_start);
    if (config->update_ns < UPDATE_PERIOD_MIN_NS) { /* A58: raised, not refused */
        config->update_ns = UPDATE_PERIOD_MIN_NS;
    }
}

static const evener_policy_config_type config_type = {
    .size = sizeof config_type, .config_bytes = sizeof(wrr_config), .defaults = &default_config, .read = read_config};

static evener_status_code parse_config(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    return evener_policy_config_parse(&config_type, policies, json, config, status);
}

static const evener_base_policy weighted_round_robin = {
    .by_weight = true,
    .size = sizeof weighted_round_robin,
    .build_picker = wrr_build_picker,
    .subchannel_data_bytes = sizeof(wrr_data),
    .subchannel_data_destroy = data_destroy,
    .state_bytes = sizeof(wrr_state),
    .state_destroy = state_destroy,
    .subchannel_created = subchannel_created,
    .describe = describe,
};

const evener_policy_builder evener_policy_weighted_round_robin = {
    .size = sizeof evener_policy_weighted_round_robin,
    .name = "weighted_round_robin",
    .build = evener_base_policy_build,
    .parse_config = parse_config,
    .config_destroy = free,
    .user_data = (void *)&weighted_round_robin,
};
