/* Time-outs of attempts to connect.
 *
 * Nearly all attempts have the same timeout, so those that start first end first: a queue with one timer for its
 * head. With 10,000 new backends, starting and stopping a timer per attempt would be a tenth of all work. */
#include "lb/backend/subchannel_pool.h"

static uint64_t time_out_ns(const evener_attempt *attempt)
{
    return attempt->started_ns + attempt->timeout_ns;
}

static void set_first(evener_subchannel_pool *pool, evener_attempt *attempt)
{
    pool->first_to_time_out = attempt;
    pool->connecting_to(pool->arg, attempt != NULL ? evener_address_text(attempt->connector->address) : "");
}

void evener_attempt_start_time_out(evener_subchannel_pool *pool, evener_attempt *attempt)
{
    evener_attempt *last = pool->last_to_time_out;
    if (last != NULL && time_out_ns(attempt) < time_out_ns(last)) {
        attempt->timer.fn = evener_attempt_timed_out;
        evener_timer_start(pool->loop, &attempt->timer, attempt->timeout_ns);
        return;
    }
    attempt->is_queued = true;
    attempt->next = NULL;
    attempt->previous = last;
    pool->last_to_time_out = attempt;
    if (last != NULL) {
        last->next = attempt;
        return;
    }
    set_first(pool, attempt);
    evener_timer_start(pool->loop, &pool->time_out_timer, attempt->timeout_ns);
}

void evener_attempt_stop_time_out(evener_subchannel_pool *pool, evener_attempt *attempt)
{
    if (!attempt->is_queued) {
        evener_timer_stop(pool->loop, &attempt->timer);
        return;
    }
    attempt->is_queued = false;
    if (attempt->previous != NULL) {
        attempt->previous->next = attempt->next;
    } else {
        set_first(pool, attempt->next);
    }
    *(attempt->next != NULL ? &attempt->next->previous : &pool->last_to_time_out) = attempt->previous;
    if (pool->first_to_time_out == NULL) {
        evener_timer_stop(pool->loop, &pool->time_out_timer);
    }
}

static void next_time_out(void *arg)
{
    evener_subchannel_pool *pool = arg;
    const uint64_t now_ns = evener_loop_now_ns(pool->loop);
    evener_attempt *attempt;
    while ((attempt = pool->first_to_time_out) != NULL && time_out_ns(attempt) <= now_ns) {
        evener_attempt_stop_time_out(pool, attempt);
        evener_attempt_timed_out(attempt);
    }
    if (attempt != NULL) {
        evener_timer_start(pool->loop, &pool->time_out_timer, time_out_ns(attempt) - now_ns);
    }
}

void evener_attempt_time_outs_prepare(evener_subchannel_pool *pool)
{
    pool->time_out_timer = (evener_timer)EVENER_TIMER_INIT(next_time_out, pool);
}
