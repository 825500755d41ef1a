/* Calls over the fake transport: scripted outcomes, on the loop's control thread. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fake_transport_internal.h"

#define NEVER_LEFT_MAX 3

typedef struct fake_call {
    evener_transport_call base;
    fake_call_outcome outcome;
    evener_call_begin_args args;
    evener_timer timer;    /* the outcome, or the deadline */
    evener_task next_task; /* a stream's next event */
    const evener_bytes *writing;
    evener_bytes echo; /* a message that waits to be read */
    bool has_echo, reading, half_closed, rung;
    bool is_slow; /* a stream that takes messages when the timer has rung */
    bool has_headers;
    evener_status_code cancel_code;
    const char *cancel_message;
} fake_call;

static evener_loop *loop_of(const fake_call *call)
{
    return call->base.connection->fake->loop;
}

static void end(fake_call *call, evener_status_code code, const char *message, evener_fate fate, bool timed_out)
{
    evener_connection *connection = call->base.connection;
    fake_transport *fake = connection->fake;
    evener_timer_stop(fake->loop, &call->timer);
    evener_bytes_clear(&call->echo);
    fake->calls--;
    evener_bytes response = {0};
    if (code == EVENER_STATUS_OK && call->args.unary && call->args.request != NULL) {
        response = evener_bytes_ref(call->args.request);
    }
    connection->never_left = fate == EVENER_FATE_NEVER_LEFT && !timed_out ? connection->never_left + 1 : 0;
    const bool drops = call->outcome.connection_ends || connection->never_left >= NEVER_LEFT_MAX;
    connection->gone = connection->gone || drops;
    const evener_metadata pushback = {.key = "grpc-retry-pushback-ms",
                                      .value = call->outcome.pushback,
                                      .value_bytes =
                                          call->outcome.pushback != NULL ? strlen(call->outcome.pushback) : 0};
    const bool answered = call->outcome.kind == FAKE_CALL_ANSWER && !timed_out && call->cancel_message == NULL;
    const evener_call_end how = {
        .size = sizeof how,
        .code = code,
        .message = message,
        .message_bytes = strlen(message),
        .fate = fate,
        .timed_out = timed_out,
        .response = code == EVENER_STATUS_OK && call->args.unary ? &response : NULL,
        .trailing = answered && call->outcome.pushback != NULL ? &pushback : NULL,
        .trailing_count = answered && call->outcome.pushback != NULL ? 1 : 0,
        .headers_came = answered && (code == EVENER_STATUS_OK || call->outcome.headers_came),
    };
    fake_connection_ref(connection);
    call->base.events->ended(&call->base, &how); /* `call` may be gone */
    evener_bytes_clear(&response);
    if (drops) {
        fake_connection_drop(connection);
    }
    fake_connection_unref(connection);
}

static void time_is_up(fake_call *call)
{
    if (call->args.deadline_ns != UINT64_MAX && evener_loop_now_ns(loop_of(call)) >= call->args.deadline_ns) {
        const bool waits = call->outcome.kind == FAKE_CALL_NEVER_LEFT;
        end(call, EVENER_STATUS_DEADLINE_EXCEEDED, "", waits ? EVENER_FATE_NEVER_LEFT : EVENER_FATE_PERHAPS_PROCESSED,
            true);
        return;
    }
    if (call->is_slow) {
        call->is_slow = call->rung = false;
        if (call->args.deadline_ns != UINT64_MAX) {
            const uint64_t left_ns = call->args.deadline_ns - evener_loop_now_ns(loop_of(call));
            evener_timer_start(loop_of(call), &call->timer, left_ns);
        }
        evener_loop_post(loop_of(call), &call->next_task);
        return;
    }
    switch (call->outcome.kind) {
    case FAKE_CALL_ANSWER:
        end(call, call->outcome.code, call->outcome.code == EVENER_STATUS_OK ? "" : "the server says no",
            EVENER_FATE_PERHAPS_PROCESSED, false);
        break;
    case FAKE_CALL_NEVER_LEFT:
        end(call, EVENER_STATUS_UNAVAILABLE, "never left", EVENER_FATE_NEVER_LEFT, false);
        break;
    case FAKE_CALL_REFUSED:
        end(call, EVENER_STATUS_UNAVAILABLE, "refused", EVENER_FATE_REFUSED, false);
        break;
    case FAKE_CALL_LOST:
        if (call->outcome.empty_headers) {
            call->base.events->headers(&call->base, NULL, 0);
        }
        end(call, EVENER_STATUS_UNAVAILABLE, "connection lost", EVENER_FATE_PERHAPS_PROCESSED, false);
        break;
    case FAKE_CALL_SILENT:
    case FAKE_CALL_NOT_BEGUN: /* no call */
        break;
    }
}

/* One event per turn, as long as there is one. Ends come from here only, when this task is not pending. */
static void next_event(void *arg)
{
    fake_call *call = arg;
    if (call->cancel_message != NULL) {
        end(call, call->cancel_code, call->cancel_message, EVENER_FATE_PERHAPS_PROCESSED, false);
        return;
    }
    if (call->rung) {
        time_is_up(call);
        return;
    }
    const bool fails = call->outcome.kind == FAKE_CALL_LOST || call->outcome.code != EVENER_STATUS_OK;
    if (call->is_slow) {
        return;
    }
    if (call->outcome.headers && !call->has_headers) {
        const evener_metadata entry = {.key = "x-fake", .value = "yes", .value_bytes = 3};
        call->has_headers = true;
        evener_loop_post(loop_of(call), &call->next_task);
        call->base.events->headers(&call->base, &entry, 1);
    } else if (call->writing != NULL && fails) {
        call->writing = NULL;
        evener_loop_post(loop_of(call), &call->next_task);
        call->base.events->written(&call->base);
    } else if (fails) {
        return; /* until its time has come */
    } else if (call->writing != NULL && !call->has_echo) {
        call->echo = evener_bytes_ref(call->writing);
        call->has_echo = true;
        call->writing = NULL;
        evener_loop_post(loop_of(call), &call->next_task);
        call->base.events->written(&call->base);
    } else if (call->reading && call->has_echo) {
        evener_bytes message = call->echo;
        call->echo = (evener_bytes){0};
        call->has_echo = false;
        call->reading = false;
        evener_loop_post(loop_of(call), &call->next_task);
        call->base.events->message(&call->base, &message);
    } else if (call->reading && call->half_closed) {
        end(call, EVENER_STATUS_OK, "", EVENER_FATE_PERHAPS_PROCESSED, false);
    }
}

static void ring(void *arg)
{
    fake_call *call = arg;
    call->rung = true;
    evener_loop_post(loop_of(call), &call->next_task);
}

static void wake(fake_call *call)
{
    const bool takes_messages = call->outcome.kind == FAKE_CALL_ANSWER || call->outcome.kind == FAKE_CALL_LOST;
    if (call->args.unary || !takes_messages) {
        return;
    }
    evener_loop_post(loop_of(call), &call->next_task);
}

static evener_status_code call_begin(evener_connection *connection, evener_transport_call *base,
                                     const evener_call_begin_args *args, evener_status *status)
{
    fake_call *call = (fake_call *)base;
    fake_transport *fake = connection->fake;
    if (connection->gone) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "the connection is gone");
    }
    const fake_call_outcome outcome = fake->script(fake->script_arg, connection->to->address, args);
    if (outcome.kind == FAKE_CALL_NOT_BEGUN) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "the connection is gone");
    }
    void *owner = base->arg;
    *call = (fake_call){.base = {.connection = connection, .events = args->events, .arg = owner}, .args = *args};
    call->timer = (evener_timer)EVENER_TIMER_INIT(ring, call);
    call->next_task = (evener_task)EVENER_TASK_INIT(next_event, call);
    call->outcome = outcome;
    fake->calls++;
    const bool echoes =
        !args->unary && call->outcome.kind == FAKE_CALL_ANSWER && call->outcome.code == EVENER_STATUS_OK;
    call->is_slow = echoes && call->outcome.delay_ns > 0;
    const bool by_timer = call->outcome.kind != FAKE_CALL_SILENT && (!echoes || call->is_slow);
    uint64_t delay_ns = by_timer ? call->outcome.delay_ns : UINT64_MAX;
    if (args->deadline_ns != UINT64_MAX) {
        const uint64_t now_ns = evener_loop_now_ns(fake->loop);
        const uint64_t left_ns = args->deadline_ns > now_ns ? args->deadline_ns - now_ns : 0;
        delay_ns = left_ns < delay_ns ? left_ns : delay_ns;
    }
    if (delay_ns != UINT64_MAX) {
        evener_timer_start(fake->loop, &call->timer, delay_ns);
    }
    if (call->outcome.headers) {
        wake(call);
    }
    return EVENER_STATUS_OK;
}

static void call_write(evener_transport_call *base, const evener_bytes *message, bool last)
{
    fake_call *call = (fake_call *)base;
    call->writing = message;
    call->half_closed = call->half_closed || last;
    wake(call);
}

static void call_half_close(evener_transport_call *base)
{
    fake_call *call = (fake_call *)base;
    call->half_closed = true;
    wake(call);
}

static void call_read(evener_transport_call *base)
{
    fake_call *call = (fake_call *)base;
    call->reading = true;
    wake(call);
}

static void call_cancel(evener_transport_call *base, evener_status_code code, const char *message)
{
    fake_call *call = (fake_call *)base;
    assert(call->cancel_message == NULL); /* at most once per call */
    call->cancel_code = code;
    call->cancel_message = message;
    evener_timer_stop(loop_of(call), &call->timer);
    if (call->outcome.cancel_ns > 0) {
        evener_timer_start(loop_of(call), &call->timer, call->outcome.cancel_ns);
    } else {
        evener_loop_post(loop_of(call), &call->next_task);
    }
}

const evener_transport_calls fake_calls = {
    .size = sizeof fake_calls,
    .call_bytes = sizeof(fake_call),
    .call_begin = call_begin,
    .call_write = call_write,
    .call_half_close = call_half_close,
    .call_read = call_read,
    .call_cancel = call_cancel,
    .empty_headers_are_ambiguous = true,
};
