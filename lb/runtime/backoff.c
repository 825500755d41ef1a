#include <evener/backoff.h>

#include <stddef.h>
#include <string.h>

/* grpc: doc/connection-backoff.md */
#define INITIAL_MS 1000
#define MAX_MS (120 * 1000)
#define MULTIPLIER 1.6
#define JITTER 0.2
/* The size of the first version. */
#define FIRST_BYTES (offsetof(evener_backoff_options, jitter) + sizeof(double))
/* 73 years: twice it still fits 64 bits of nanoseconds, also as a deadline. */
#define DELAY_NS_MAX (UINT64_C(1) << 61)

/* The caller's options with all defaults filled in. */
typedef struct settings {
    uint64_t initial_ns, max_ns;
    double multiplier, jitter;
} settings;

static uint64_t ms_to_ns(uint64_t ms, uint64_t default_ms)
{
    ms = ms != 0 ? ms : default_ms;
    return ms < DELAY_NS_MAX / EVENER_NS_PER_MS ? ms * EVENER_NS_PER_MS : DELAY_NS_MAX;
}

static settings read_options(const evener_backoff_options *given)
{
    evener_backoff_options options = {.size = sizeof options};
    if (given != NULL) {
        const size_t bytes = given->size > sizeof given->size ? given->size : FIRST_BYTES;
        memcpy(&options, given, bytes < sizeof options ? bytes : sizeof options);
    }
    settings s = {
        .initial_ns = ms_to_ns(options.initial_ms, INITIAL_MS),
        .max_ns = ms_to_ns(options.max_ms, MAX_MS),
        .multiplier = options.multiplier >= 1.0 ? options.multiplier : 1.0, /* also for NaN */
        .jitter = options.jitter > 0.0 ? options.jitter : 0.0,
    };
    if (!(options.multiplier < 0.0) && !(options.multiplier > 0.0)) {
        s.multiplier = MULTIPLIER;
    }
    if (!(options.jitter < 0.0) && !(options.jitter > 0.0)) {
        s.jitter = JITTER;
    }
    s.jitter = s.jitter < 1.0 ? s.jitter : 1.0;
    s.max_ns = s.max_ns > s.initial_ns ? s.max_ns : s.initial_ns;
    return s;
}

static uint64_t advance(evener_backoff *backoff, const settings *s)
{
    const double grown_ns = (double)backoff->delay_ns * s->multiplier;
    backoff->delay_ns = backoff->delay_ns == 0         ? s->initial_ns
                        : grown_ns < (double)s->max_ns ? (uint64_t)grown_ns
                                                       : s->max_ns;
    return backoff->delay_ns;
}

static uint64_t spread(uint64_t delay_ns, const settings *s, evener_loop *loop)
{
    const double share = 1.0 + s->jitter * (2.0 * evener_loop_random_unit(loop) - 1.0);
    return (uint64_t)((double)(delay_ns < DELAY_NS_MAX ? delay_ns : DELAY_NS_MAX) * share);
}

uint64_t evener_backoff_next_ns(evener_backoff *backoff, const evener_backoff_options *options, evener_loop *loop)
{
    const settings s = read_options(options);
    return spread(advance(backoff, &s), &s, loop);
}

uint64_t evener_backoff_advance_ns(evener_backoff *backoff, const evener_backoff_options *options)
{
    const settings s = read_options(options);
    return advance(backoff, &s);
}

uint64_t evener_backoff_spread_ns(uint64_t delay_ns, const evener_backoff_options *options, evener_loop *loop)
{
    const settings s = read_options(options);
    return spread(delay_ns, &s, loop);
}
