#include "lb/channel/limits.h"

#include "lb/backend/in_flight.h"
#include "lb/base/c_locale.h"
#include "lb/channel/channel_internal.h"

#define ONE_END (UINT64_C(1) << 32)

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void wake(void *arg)
{
    evener_limits *limits = arg;
    evener_pick_queue_wake(&limits->channel->queue);
}

void evener_limits_init(evener_limits *limits, evener_channel *channel)
{
    limits->channel = channel;
    limits->task = (evener_task)EVENER_TASK_INIT(wake, limits);
}

static uint32_t smaller(uint32_t of_options, uint32_t of_config)
{
    if (of_config == UINT32_MAX) { /* absent */
        return of_options;
    }
    return of_options == 0 || of_config < of_options ? of_config : of_options;
}

void evener_limit_config_narrow(evener_limit_config *config, const evener_limits_given *given)
{
    config->in_flight_max = smaller(config->in_flight_max, given->in_flight_max);
    config->backend_in_flight_max = smaller(config->backend_in_flight_max, given->backend_in_flight_max);
    config->waiting_max = given->waiting_max != UINT32_MAX ? given->waiting_max : config->waiting_max;
    config->wait_ns_max = given->wait_ns_max != UINT64_MAX ? given->wait_ns_max : config->wait_ns_max;
}

bool evener_limits_configure(evener_limits *limits, const evener_limit_config *config)
{
    __atomic_store_n(&limits->in_flight_max, config->in_flight_max, __ATOMIC_RELAXED);
    __atomic_store_n(&limits->backend_in_flight_max,
                     config->backend_in_flight_max < EVENER_IN_FLIGHT_MAX ? config->backend_in_flight_max
                                                                          : EVENER_IN_FLIGHT_MAX,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&limits->waiting_max, config->waiting_max, __ATOMIC_RELAXED);
    __atomic_store_n(&limits->wait_ns_max, config->wait_ns_max, __ATOMIC_RELAXED);
    return config->in_flight_max != 0 || config->backend_in_flight_max != 0;
}

static bool has_room(uint64_t word, uint32_t max)
{
    return max == 0 || (uint32_t)word < max;
}

bool evener_limits_is_full(const evener_limits *limits, bool overtakes)
{
    return (!overtakes && __atomic_load_n(&limits->waiting, __ATOMIC_SEQ_CST) > 0) ||
           !has_room(__atomic_load_n(&limits->word, __ATOMIC_SEQ_CST), load(&limits->in_flight_max));
}

/* Wake the queue after a change of `word` that gives a waiting request room. */
static void wake_waiting(evener_limits *limits)
{
    if (__atomic_load_n(&limits->waiting, __ATOMIC_SEQ_CST) > 0) {
        evener_loop_post(limits->channel->hot.loop, &limits->task);
    }
}

evener_limit_answer evener_limits_begin(evener_limits *limits, const evener_subchannel *subchannel)
{
    const uint32_t backend_max = load(&limits->backend_in_flight_max);
    if (!evener_in_flight_begin(subchannel, backend_max != 0 ? backend_max : EVENER_IN_FLIGHT_MAX)) {
        return EVENER_LIMIT_BACKEND_FULL;
    }
    const uint32_t max = load(&limits->in_flight_max);
    uint64_t word = __atomic_load_n(&limits->word, __ATOMIC_RELAXED);
    do {
        if (!has_room(word, max)) {
            evener_in_flight_end(subchannel);
            if (backend_max != 0) { /* another pick may have found the backend full meanwhile: it looks again */
                (void)__atomic_fetch_add(&limits->word, ONE_END, __ATOMIC_SEQ_CST);
                wake_waiting(limits);
            }
            return EVENER_LIMIT_CHANNEL_FULL;
        }
    } while (!__atomic_compare_exchange_n(&limits->word, &word, word + 1, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return EVENER_LIMIT_COUNTED;
}

void evener_limits_take_back(evener_limits *limits, const evener_subchannel *subchannel)
{
    evener_in_flight_end(subchannel);
    (void)__atomic_fetch_add(&limits->word, ONE_END - 1, __ATOMIC_SEQ_CST);
    wake_waiting(limits);
}

void evener_limits_ended(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    (void)info;
    (void)lane;
    evener_limits_take_back(data, (const evener_subchannel *)(uintptr_t)word); /* NOLINT(performance-no-int-to-ptr) */
}

uint32_t evener_limits_ends(const evener_limits *limits)
{
    return (uint32_t)(__atomic_load_n(&limits->word, __ATOMIC_SEQ_CST) / ONE_END);
}

bool evener_limits_wait(evener_limits *limits)
{
    const uint32_t waiting = load(&limits->waiting);
    if (waiting >= load(&limits->waiting_max)) {
        return false;
    }
    __atomic_store_n(&limits->waiting, waiting + 1, __ATOMIC_SEQ_CST);
    return true;
}

void evener_limits_leave(evener_limits *limits)
{
    __atomic_store_n(&limits->waiting, load(&limits->waiting) - 1, __ATOMIC_SEQ_CST);
    /* A pick that saw this request waiting looks again. */
    (void)__atomic_fetch_add(&limits->word, ONE_END, __ATOMIC_SEQ_CST);
}

evener_status_code evener_limits_refuse(evener_limits *limits, bool has_waited, evener_status *status)
{
    (void)__atomic_fetch_add(has_waited ? &limits->expired : &limits->refused, 1, __ATOMIC_RELAXED);
    char maxima[96];
    (void)evener_snprintf(maxima, sizeof maxima, "%u calls in flight (at most %u, and %u per backend; 0: no limit)",
                          (unsigned)(uint32_t)__atomic_load_n(&limits->word, __ATOMIC_RELAXED),
                          load(&limits->in_flight_max), load(&limits->backend_in_flight_max));
    const char *target = evener_channel_target(limits->channel);
    if (has_waited) {
        return evener_status_set(
            status, EVENER_STATUS_UNAVAILABLE,
            "\"%s\" has %s: no call ended within %llu ms; make fewer calls at once, or raise the "
            "limits of the channel (evenerLimits)",
            target, maxima,
            (unsigned long long)(__atomic_load_n(&limits->wait_ns_max, __ATOMIC_RELAXED) / EVENER_NS_PER_MS));
    }
    return evener_status_set(status, EVENER_STATUS_UNAVAILABLE,
                             "\"%s\" has %s and %u that wait: make fewer calls at once, or raise the limits of the "
                             "channel (evenerLimits)",
                             target, maxima, load(&limits->waiting));
}
