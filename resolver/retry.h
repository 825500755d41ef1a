/* Retry: a timer with a backoff, for what has failed and is tried again until it succeeds. Embedded in its owner.
 *
 *     evener_retry_init(&self->again, loop, push, self);
 *     ...
 *     if (push_list(self)) {
 *         evener_retry_end(&self->again);
 *     } else {
 *         evener_retry_later(&self->again);   // calls push(self)
 *     }
 *     ...
 *     evener_retry_end(&self->again);         // before its memory goes
 *
 * A zeroed one may be ended, hinted and reset. Control thread. */
#ifndef EVENER_RESOLVER_RETRY_H
#define EVENER_RESOLVER_RETRY_H

#include <evener/backoff.h>
#include <evener/loop.h>

typedef struct evener_retry {
    evener_loop *loop;
    evener_timer timer; /* active: a retry is due */
    evener_backoff backoff;
} evener_retry;

/* `fn(arg)` tries again; it is called by the timer only. */
static inline void evener_retry_init(evener_retry *retry, evener_loop *loop, evener_task_fn fn, void *arg)
{
    *retry = (evener_retry){.loop = loop, .timer = EVENER_TIMER_INIT(fn, arg)};
}

/* It has failed: try again after the next backoff. A retry that is due already keeps its time. After reporting the
 * failure, so that a hint from inside the report does not end this backoff. */
static inline void evener_retry_later(evener_retry *retry)
{
    if (!retry->timer.active) {
        evener_timer_start(retry->loop, &retry->timer, evener_backoff_next_ns(&retry->backoff, NULL, retry->loop));
    }
}

/* It has succeeded, or is not wanted any more. */
static inline void evener_retry_end(evener_retry *retry)
{
    if (retry->timer.active) {
        evener_timer_stop(retry->loop, &retry->timer);
    }
    evener_backoff_reset(&retry->backoff);
}

/* For resolve_now(): do not wait any longer if a retry is due. By timer, because the caller may be in a push. */
static inline void evener_retry_soon(evener_retry *retry)
{
    if (retry->timer.active) {
        evener_timer_start(retry->loop, &retry->timer, 0);
    }
}

/* For reset_backoff(): likewise, and begin the sequence of delays again. */
static inline void evener_retry_reset(evener_retry *retry)
{
    evener_backoff_reset(&retry->backoff);
    evener_retry_soon(retry);
}

#endif
