#include "lb/call/rpc.h"

#include <string.h>

#include "lb/base/options.h"
#include "lb/base/printable.h"
#include "lb/call/details.h"
#include "lb/call/retry.h"
#include "lb/channel/channel_internal.h"

/* A longer timeout (some 30 years) counts as none: it could not be added to the clock. */
#define TIMEOUT_MS_MAX (UINT64_C(1) << 40)
/* A server's DEADLINE_EXCEEDED that is at most this much early counts as the call's own deadline. */
#define SERVER_EARLY_NS (5 * EVENER_NS_PER_MS)

evener_status_code evener_rpc_check(evener_channel *channel, const char *method, const evener_call_options *given,
                                    evener_call_options *options, evener_status *status)
{
    if (channel == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "call of %s: the channel is NULL",
                                 method == NULL ? "(no method)" : method);
    }
    if (method == NULL || method[0] != '/') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "call: the method is %s%s%s: it is to be \"/package.Service/Method\"",
                                 method == NULL ? "NULL" : "\"", method == NULL ? "" : method,
                                 method == NULL ? "" : "\"");
    }
    if (!evener_is_header_text(method) || strchr(method, ' ') != NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "call: the method holds bytes that cannot be sent in a path: it is to be "
                                 "\"/package.Service/Method\"");
    }
    evener_status reason;
    if (evener_options_read(options, sizeof *options, given, "options", "evener_call_options", &reason) !=
            EVENER_STATUS_OK ||
        evener_details_check(options->details, &reason) != EVENER_STATUS_OK) {
        return evener_status_set(status, reason.code, "call of %s: %s", method, reason.message);
    }
    evener_pick_trace trace;
    if (options->trace != NULL && evener_options_read(&trace, sizeof trace, options->trace, "options.trace",
                                                      "evener_pick_trace", &reason) != EVENER_STATUS_OK) {
        return evener_status_set(status, reason.code, "call of %s: %s", method, reason.message);
    }
    if (options->metadata == NULL && options->metadata_count > 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "call of %s: options.metadata is NULL and options.metadata_count is %zu", method,
                                 options->metadata_count);
    }
    for (size_t i = 0; i < options->metadata_count; i++) {
        const evener_metadata *entry = &options->metadata[i];
        if (entry->key == NULL || (entry->value == NULL && entry->value_bytes > 0)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "call of %s: options.metadata[%zu]: the %s is NULL", method, i,
                                     entry->key == NULL ? "key" : "value");
        }
    }
    if ((uint32_t)options->compression > EVENER_COMPRESSION_IDENTITY) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "call of %s: options.compression is %u: a value of evener_compression is needed",
                                 method, (unsigned)options->compression);
    }
    const evener_transport *transport = evener_channel_transport(channel);
    if (transport->vtable->calls == NULL) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "call of %s: the transport of the channel to %s carries no calls: use "
                                 "evener_channel_pick() there",
                                 method, evener_channel_target(channel));
    }
    return EVENER_STATUS_OK;
}

/* Return wait-for-ready: the call's, otherwise the service config's for its method, otherwise the channel's. */
static bool waits_for_ready(const evener_channel *channel, const evener_call_options *options,
                            const evener_method_settings *settings)
{
    if (options->wait_for_ready != EVENER_WAIT_FOR_READY_DEFAULT) {
        return options->wait_for_ready == EVENER_WAIT_FOR_READY_YES;
    }
    return settings->has_wait_for_ready ? settings->wait_for_ready : evener_channel_wait_for_ready_default(channel);
}

/* Return the shorter timeout; 0: none. The service config's is an upper bound (grpc: doc/service_config.md). */
static uint64_t shorter_timeout_ms(uint64_t of_call_ms, uint64_t of_config_ms)
{
    if (of_call_ms == 0 || of_config_ms == 0) {
        return of_call_ms != 0 ? of_call_ms : of_config_ms;
    }
    return of_call_ms < of_config_ms ? of_call_ms : of_config_ms;
}

/* 0: not set. Both set: the smaller (grpc: doc/service_config.md). */
static size_t smaller_limit(size_t of_channel, size_t of_config)
{
    if (of_channel == 0 || of_config == 0) {
        return of_channel != 0 ? of_channel : of_config;
    }
    return of_channel < of_config ? of_channel : of_config;
}

/* What is passed to the transport: NONE, GZIP or DEFLATE. */
static evener_compression choose_compression(evener_compression of_call, evener_compression of_channel)
{
    const evener_compression chosen = of_call != EVENER_COMPRESSION_NONE ? of_call : of_channel;
    return chosen == EVENER_COMPRESSION_IDENTITY ? EVENER_COMPRESSION_NONE : chosen;
}

void evener_rpc_init(evener_rpc *rpc, evener_channel *channel, const char *method, const evener_call_options *options)
{
    static const evener_method_settings none = {0};
    evener_method_settings found;
    const evener_method_settings *settings = &none;
    if (__builtin_expect(__atomic_load_n(&channel->control.published_config, __ATOMIC_RELAXED) != NULL, 0)) {
        found = evener_channel_method_settings(channel, method);
        settings = &found;
    }
    const uint64_t timeout_ms = shorter_timeout_ms(options->timeout_ms, settings->timeout_ms);
    const bool has_deadline = timeout_ms > 0 && timeout_ms < TIMEOUT_MS_MAX;
    const evener_channel_calls *of_channel = &channel->calls;
    *rpc = (evener_rpc){
        .channel = channel,
        .calls = evener_channel_transport(channel)->vtable->calls,
        .pick_args = {.size = sizeof rpc->pick_args,
                      .method = method,
                      .metadata = options->metadata,
                      .metadata_count = options->metadata_count,
                      .hash = options->hash,
                      .has_hash = options->has_hash,
                      .wait_for_ready = waits_for_ready(channel, options, settings),
                      .trace = options->trace},
        .authority = options->authority,
        .receive_bytes_max = smaller_limit(__atomic_load_n(&of_channel->receive_bytes_max, __ATOMIC_RELAXED),
                                           settings->response_bytes_max),
        .send_bytes_max =
            smaller_limit(__atomic_load_n(&of_channel->send_bytes_max, __ATOMIC_RELAXED), settings->request_bytes_max),
        .compression = choose_compression(
            options->compression, (evener_compression)__atomic_load_n(&of_channel->compression, __ATOMIC_RELAXED)),
        .timeout_ms = has_deadline ? timeout_ms : 0,
        .deadline_ns =
            has_deadline ? evener_loop_now_ns(channel->hot.loop) + timeout_ms * EVENER_NS_PER_MS : UINT64_MAX,
    };
    if (__builtin_expect(settings->state != NULL || settings->policy.kind != EVENER_CALL_POLICY_NONE, 0)) {
        const uint32_t limit = __atomic_load_n(&channel->retries.attempts_max, __ATOMIC_RELAXED);
        rpc->policy = settings->policy;
        rpc->attempts_max = settings->policy.attempts_max < limit ? settings->policy.attempts_max : limit;
        rpc->state = settings->state;
        rpc->breaker_k = settings->state != NULL ? settings->breaker_k : 0;
    }
}

evener_status_code evener_rpc_admit_counted(evener_rpc *rpc, evener_status *status)
{
    EVENER_METHOD_COUNT(rpc->state, calls);
    evener_retry_budget_earn(&rpc->channel->retries.budget);
    if (!(rpc->breaker_k > 0)) {
        return EVENER_STATUS_OK;
    }
    const uint64_t now_ns = evener_loop_now_ns(rpc->channel->hot.loop);
    if (evener_breaker_admit(&rpc->state->breaker, rpc->breaker_k, now_ns, evener_retry_random(rpc->channel))) {
        return EVENER_STATUS_OK;
    }
    return evener_status_set(status, EVENER_STATUS_UNAVAILABLE,
                             "call of %s: rejected by its breaker: too many calls of the last ten seconds failed",
                             rpc->pick_args.method);
}

void evener_rpc_report_to_breaker(const evener_rpc *rpc, evener_status_code code)
{
    evener_breaker_ended(&rpc->state->breaker, code, evener_loop_now_ns(rpc->channel->hot.loop));
}

bool evener_rpc_set_pick_timeout(evener_rpc *rpc)
{
    if (rpc->deadline_ns == UINT64_MAX) {
        return true;
    }
    const uint64_t now_ns = evener_loop_now_ns(rpc->channel->hot.loop);
    const uint64_t left_ns = rpc->deadline_ns > now_ns ? rpc->deadline_ns - now_ns : 0;
    rpc->pick_args.timeout_ms = (left_ns + EVENER_NS_PER_MS - 1) / EVENER_NS_PER_MS;
    return left_ns > 0;
}

evener_status_code evener_rpc_deadline_status(const evener_rpc *rpc, evener_status *status)
{
    if (rpc->retry != NULL) {
        return evener_status_set(
            status, EVENER_STATUS_DEADLINE_EXCEEDED,
            "deadline exceeded after %llu.%03llu s: between attempts at \"%s\"; attempt %u ended at %s",
            (unsigned long long)(rpc->timeout_ms / 1000), (unsigned long long)(rpc->timeout_ms % 1000),
            evener_channel_target(rpc->channel), rpc->retries, rpc->retry->last.message);
    }
    return evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED,
                             "deadline exceeded after %llu.%03llu s: waiting for a backend of \"%s\"; %u connections "
                             "that were picked had been lost",
                             (unsigned long long)(rpc->timeout_ms / 1000), (unsigned long long)(rpc->timeout_ms % 1000),
                             evener_channel_target(rpc->channel), rpc->attempts);
}

/* Count a retry or a hedge at its backend: an attempt of a hedged call has no policy of its own. */
static __attribute__((noinline)) void count_repeat(const evener_rpc *rpc, const evener_pick *pick)
{
    const uint64_t one = rpc->policy.kind == EVENER_CALL_POLICY_RETRY ? 1 : UINT64_C(1) << 32;
    evener_slot_count_repeat(pick->subchannel, EVENER_SLOT_RETRIES_AND_HEDGES, one);
}

void evener_rpc_fill_begin_args(evener_rpc *rpc, const evener_pick *pick, evener_call_begin_args *args)
{
    rpc->attempt_deadline_ns = rpc->deadline_ns;
    EVENER_METHOD_COUNT(rpc->state, attempts);
    if (__builtin_expect(rpc->retries > 0, 0)) {
        count_repeat(rpc, pick);
    }
    if (__builtin_expect(rpc->policy.attempt_timeout_ns > 0, 0) && args->unary) {
        const uint64_t until_ns = evener_loop_now_ns(rpc->channel->hot.loop) + rpc->policy.attempt_timeout_ns;
        rpc->attempt_deadline_ns = until_ns < rpc->deadline_ns ? until_ns : rpc->deadline_ns;
    }
    args->size = sizeof *args;
    args->method = rpc->pick_args.method;
    args->authority = rpc->authority;
    args->metadata = rpc->pick_args.metadata;
    args->metadata_count = rpc->pick_args.metadata_count;
    args->deadline_ns = rpc->attempt_deadline_ns;
    args->previous_attempts = rpc->retries;
    args->receive_bytes_max = rpc->receive_bytes_max;
    args->send_bytes_max = rpc->send_bytes_max;
    args->compression = rpc->compression;
}

bool evener_rpc_is_about(const evener_rpc *rpc, uint64_t deadline_ns)
{
    return evener_loop_now_ns(rpc->channel->hot.loop) + SERVER_EARLY_NS >= deadline_ns;
}

/* Return whether a server, not the transport, has ended the call because of our deadline. */
static bool is_servers_deadline(const evener_rpc *rpc, const evener_call_end *end)
{
    return end->code == EVENER_STATUS_DEADLINE_EXCEEDED && rpc->deadline_ns != UINT64_MAX &&
           evener_rpc_is_about(rpc, rpc->deadline_ns);
}

/* Set the status in grpc-java's words. A server's own message follows. */
static void set_deadline_status(const evener_rpc *rpc, const evener_pick *pick, const evener_call_end *end,
                                evener_status *status)
{
    static const char nothing_new[] = "Deadline Exceeded";
    const bool says_more = !end->timed_out && *end->message != '\0' && strcmp(end->message, nothing_new) != 0;
    evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED, "deadline exceeded after %llu.%03llu s at %s%s%s",
                      (unsigned long long)(rpc->timeout_ms / 1000), (unsigned long long)(rpc->timeout_ms % 1000),
                      evener_subchannel_address_text(pick->subchannel), says_more ? ": " : "",
                      says_more ? end->message : "");
}

void evener_rpc_set_status(const evener_rpc *rpc, const evener_pick *pick, const evener_call_end *end,
                           evener_status *status)
{
    if (end->code == EVENER_STATUS_OK) {
        evener_status_clear(status);
    } else if (evener_retry_attempt_timed_out(rpc, end)) {
        evener_status_set(status, EVENER_STATUS_DEADLINE_EXCEEDED, "attempt %u timed out after %llu ms at %s",
                          rpc->retries + 1, (unsigned long long)(rpc->policy.attempt_timeout_ns / EVENER_NS_PER_MS),
                          evener_subchannel_address_text(pick->subchannel));
    } else if (end->timed_out || is_servers_deadline(rpc, end)) {
        set_deadline_status(rpc, pick, end, status);
    } else {
        evener_status_set(status, end->code, "%s", end->message);
    }
}

void evener_rpc_fill_details(const evener_pick *pick, const evener_call_end *end, const evener_status *status,
                             evener_call_details *details)
{
    if (details == NULL) {
        return;
    }
    bool is_transports = false;
    if (end->code != EVENER_STATUS_OK) {
        /* The status has the transport's message, perhaps cut, or one that was made of more. */
        evener_status like;
        evener_status_set(&like, end->code, "%s", end->message);
        is_transports = strcmp(status->message, like.message) == 0;
    }
    const evener_details_at_end known = {
        .address = evener_subchannel_address_text(pick->subchannel),
        .message = is_transports ? end->message : status->message,
        .message_bytes = is_transports ? end->message_bytes : strlen(status->message),
        .trailing = end->trailing,
        .trailing_count = end->trailing_count,
    };
    evener_details_end(details, &known);
}

void evener_rpc_end_pick(const evener_rpc *rpc, evener_pick *pick, const evener_call_end *end)
{
    const evener_done_info info = {
        .size = sizeof info,
        .code = end->code,
        .not_sent = end->code != EVENER_STATUS_OK && end->fate != EVENER_FATE_PERHAPS_PROCESSED,
        .load_report = end->load_report,
        .load_report_bytes = end->load_report_bytes,
        .first_message_ns = rpc->first_message_ns,
        .streaming = rpc->pick_args.streaming,
    };
    evener_pick_done(pick, &info);
}

void evener_rpc_drop_pick(evener_pick *pick, evener_status_code code)
{
    const evener_done_info info = {.size = sizeof info, .code = code, .not_sent = true};
    evener_pick_done(pick, &info);
}

bool evener_rpc_waits_for_itself(const evener_rpc *rpc)
{
    return rpc->channel->hot.caller_drives_loop || evener_loop_on_control_thread(rpc->channel->hot.loop);
}
