#include "lb/call/retry.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lb/channel/channel_internal.h"
#include "lb/runtime/object_pool.h"

static const char pushback_key[] = "grpc-retry-pushback-ms";

/* ---- what the server and the transport say ---- */

bool evener_retry_pushback(const evener_call_end *end, int32_t *ms)
{
    const evener_metadata *entry = evener_metadata_find(end->trailing, end->trailing_count, pushback_key);
    if (entry == NULL) {
        return false;
    }
    char text[16] = "";
    if (entry->value_bytes > 0 && entry->value_bytes < sizeof text) {
        memcpy(text, entry->value, entry->value_bytes);
    }
    char *rest;
    errno = 0;
    const long number = strtol(text, &rest, 10);
    const bool is_number = text[0] >= '0' && text[0] <= '9' && strlen(text) == entry->value_bytes && *rest == '\0' &&
                           errno == 0 && number <= INT32_MAX;
    *ms = is_number ? (int32_t)number : -1; /* negative or unparsable: never */
    return true;
}

/* A transport that does not know the member: the safe answer. */
bool evener_retry_headers_came(const evener_call_end *end)
{
    return end->size < offsetof(evener_call_end, headers_came) + sizeof end->headers_came || end->headers_came;
}

/* ---- transparent retries ---- */

static bool is_in_time(const evener_rpc *rpc)
{
    return rpc->deadline_ns == UINT64_MAX || evener_loop_now_ns(rpc->channel->hot.loop) < rpc->deadline_ns;
}

static bool goes_again_at_once(evener_rpc *rpc, const evener_call_end *end)
{
    switch (end->fate) {
    case EVENER_FATE_NEVER_LEFT:
        return is_in_time(rpc);
    case EVENER_FATE_REFUSED: {
        const bool first = !rpc->refused_once;
        rpc->refused_once = true;
        return first && is_in_time(rpc);
    }
    case EVENER_FATE_PERHAPS_PROCESSED:
        break;
    }
    return false;
}

/* ---- retries by policy ---- */

static struct evener_retry *retry_of(evener_rpc *rpc)
{
    if (rpc->retry == NULL) {
        bool is_new;
        rpc->retry = evener_pool_take(sizeof *rpc->retry, &is_new);
        if (rpc->retry != NULL) {
            rpc->retry->backoffs = 0;
            rpc->retry->tried_count = 0;
        }
    }
    return rpc->retry;
}

void evener_retry_free(evener_rpc *rpc)
{
    evener_pool_give_back(rpc->retry, sizeof *rpc->retry);
    rpc->retry = NULL;
}

/* Add a backend to those that the next picks avoid. The oldest one leaves a full list. */
static void add_tried(struct evener_retry *retry, const char *address)
{
    for (size_t i = 0; i < retry->tried_count; i++) {
        if (strcmp(retry->tried[i], address) == 0) {
            return;
        }
    }
    if (retry->tried_count == EVENER_TRIED_MAX) {
        const char *oldest = retry->tried[0];
        memmove(&retry->tried[0], &retry->tried[1], (EVENER_TRIED_MAX - 1) * sizeof retry->tried[0]);
        retry->tried[--retry->tried_count] = oldest;
    } else {
        retry->tried[retry->tried_count] = retry->addresses[retry->tried_count];
    }
    char *to =
        retry->addresses[(size_t)(retry->tried[retry->tried_count] - retry->addresses[0]) / sizeof retry->addresses[0]];
    (void)snprintf(to, sizeof retry->addresses[0], "%s", address);
    retry->tried_count++;
}

double evener_retry_random(evener_channel *channel)
{
    uint64_t z = __atomic_add_fetch(&channel->retries.random, UINT64_C(0x9E3779B97F4A7C15), __ATOMIC_RELAXED);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return (double)(z >> 11) / (double)(UINT64_C(1) << 53);
}

/* A6: each backoff is up to 20 % shorter or longer. */
static double jitter(evener_channel *channel)
{
    return 0.8 + 0.4 * evener_retry_random(channel);
}

static uint64_t backoff_ns(const evener_rpc *rpc, uint32_t backoffs)
{
    const evener_call_policy *policy = &rpc->policy;
    const double grown = (double)policy->backoff_initial_ns * pow(policy->backoff_multiplier, backoffs);
    const double max = (double)policy->backoff_max_ns;
    return (uint64_t)((grown < max ? grown : max) * jitter(rpc->channel));
}

static void avoid_tried(evener_rpc *rpc)
{
    rpc->pick_args.tried = rpc->retry->tried;
    rpc->pick_args.tried_count = rpc->retry->tried_count;
}

static bool is_retryable(const evener_rpc *rpc, evener_status_code code)
{
    return (rpc->policy.codes >> ((uint32_t)code & 31U) & 1U) != 0;
}

/* Decide about another attempt by policy. `pushback_ms` NULL: the server sent none. The failure was not counted yet. */
static evener_retry_step by_policy(evener_rpc *rpc, bool is_retryable_end, const int32_t *pushback_ms, bool committed,
                                   uint64_t *delay_ns)
{
    evener_throttle *throttle = evener_channel_throttle(rpc->channel);
    const bool forbids = pushback_ms != NULL && *pushback_ms < 0;
    if (is_retryable_end || forbids) {
        evener_throttle_failed(throttle);
    }
    if (!is_retryable_end || forbids || committed || rpc->retries + 1 >= rpc->attempts_max || !is_in_time(rpc)) {
        return EVENER_RETRY_FINISH;
    }
    if (!evener_throttle_allows(throttle) ||
        !evener_retry_budget_take(&rpc->channel->retries.budget, evener_loop_now_ns(rpc->channel->hot.loop))) {
        EVENER_METHOD_COUNT(rpc->state, throttled);
        return EVENER_RETRY_FINISH;
    }
    struct evener_retry *retry = retry_of(rpc);
    if (retry == NULL) {
        return EVENER_RETRY_FINISH;
    }
    if (pushback_ms != NULL) {
        *delay_ns = (uint64_t)*pushback_ms * EVENER_NS_PER_MS;
        retry->backoffs = 0;
    } else {
        *delay_ns = backoff_ns(rpc, retry->backoffs++);
    }
    rpc->retries++;
    EVENER_METHOD_COUNT(rpc->state, retries);
    return EVENER_RETRY_LATER;
}

bool evener_retry_attempt_timed_out(const evener_rpc *rpc, const evener_call_end *end)
{
    if (rpc->attempt_timed_out) {
        return end->code != EVENER_STATUS_OK;
    }
    if (rpc->attempt_deadline_ns >= rpc->deadline_ns) {
        return false;
    }
    return end->timed_out ||
           (end->code == EVENER_STATUS_DEADLINE_EXCEEDED && evener_rpc_is_about(rpc, rpc->attempt_deadline_ns));
}

evener_retry_step evener_retry_after_attempt(evener_rpc *rpc, const evener_pick *pick, const evener_call_end *end,
                                             evener_retry_facts facts, uint64_t *delay_ns)
{
    if (end->code == EVENER_STATUS_OK) {
        evener_throttle *throttle = evener_channel_throttle(rpc->channel);
        if (__atomic_load_n(&throttle->max_milli, __ATOMIC_RELAXED) != 0) {
            evener_throttle_succeeded(throttle);
        }
        return EVENER_RETRY_FINISH;
    }
    const bool attempt_timed_out = evener_retry_attempt_timed_out(rpc, end);
    if (facts.cancelled || (end->timed_out && !attempt_timed_out)) {
        return EVENER_RETRY_FINISH;
    }
    /* An attempt that timed out in the queue of its connection never left, but is limited as any that timed out. */
    if (facts.may_repeat && !attempt_timed_out && goes_again_at_once(rpc, end)) {
        EVENER_METHOD_COUNT(rpc->state, transparent_retries);
        evener_slot_count_repeat(pick->subchannel, EVENER_SLOT_TRANSPARENT_RETRIES, 1);
        return EVENER_RETRY_AT_ONCE;
    }
    if (rpc->policy.kind != EVENER_CALL_POLICY_RETRY) {
        return EVENER_RETRY_FINISH;
    }
    int32_t ms;
    const bool has_pushback = evener_retry_pushback(end, &ms);
    const evener_retry_step step =
        by_policy(rpc, attempt_timed_out || is_retryable(rpc, end->code), has_pushback ? &ms : NULL,
                  facts.committed || !facts.may_repeat || evener_retry_headers_came(end), delay_ns);
    if (step == EVENER_RETRY_LATER) {
        const char *address = evener_subchannel_address_text(pick->subchannel);
        add_tried(rpc->retry, address);
        avoid_tried(rpc);
        evener_status_set(&rpc->retry->last, end->code, "%s: %s%s%s", address, evener_status_code_name(end->code),
                          end->message[0] != '\0' ? ": " : "", end->message);
    }
    return step;
}

evener_retry_step evener_retry_after_pick(evener_rpc *rpc, const evener_pick *pick, const evener_status *status,
                                          evener_retry_facts facts, uint64_t *delay_ns)
{
    /* A drop ends a call, as does everything that is not the picker's own answer. */
    if (rpc->policy.kind != EVENER_CALL_POLICY_RETRY || facts.cancelled || !evener_pick_was_failed(pick)) {
        return EVENER_RETRY_FINISH;
    }
    const evener_retry_step step =
        by_policy(rpc, is_retryable(rpc, status->code), NULL, facts.committed || !facts.may_repeat, delay_ns);
    if (step == EVENER_RETRY_LATER) {
        rpc->retry->last = *status;
    }
    return step;
}

/* ---- blocking callers ---- */

bool evener_retry_sleep(const evener_rpc *rpc, uint64_t delay_ns)
{
    const uint64_t start_ns = evener_loop_now_ns(rpc->channel->hot.loop);
    const bool in_time =
        rpc->deadline_ns == UINT64_MAX || (start_ns < rpc->deadline_ns && delay_ns < rpc->deadline_ns - start_ns);
    const uint64_t sleep_ns = in_time ? delay_ns : rpc->deadline_ns - start_ns;
    if (!in_time && start_ns >= rpc->deadline_ns) {
        return false;
    }
    struct timespec left = {.tv_sec = (time_t)(sleep_ns / EVENER_NS_PER_S),
                            .tv_nsec = (long)(sleep_ns % EVENER_NS_PER_S)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    return in_time;
}
