/* Retries of waiting picks (lb/channel/pick_queue.h): outside the mutex, in bounded batches, and without starvation;
 * what happens to a pick that is cancelled or times out during a batch. A picker that the tests control does the
 * picks. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <evener/base_policy.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define MANY 20000

typedef struct gate_picker {
    evener_picker base;
    evener_subchannel *subchannel;
} gate_picker;

/* The answer to a pick; NULL: QUEUE. */
static evener_pick_outcome (*answer)(const evener_pick_context *context);

static evener_pick_outcome gate_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    pick->subchannel = ((gate_picker *)base)->subchannel;
    return answer != NULL ? answer(context) : EVENER_PICK_QUEUE;
}

static void gate_destroy(evener_picker *base)
{
    evener_subchannel_unref(((gate_picker *)base)->subchannel);
    free(base);
}

static const evener_picker_vtable gate_vtable = {
    .size = sizeof gate_vtable, .pick = gate_pick, .destroy = gate_destroy};

static evener_picker *gate_build_picker(const evener_base_ready *ready)
{
    gate_picker *picker = evener_picker_alloc(sizeof *picker);
    evener_picker_init(&picker->base, &gate_vtable);
    picker->subchannel = evener_subchannel_ref(ready->subchannels[0]);
    return &picker->base;
}

static const evener_base_policy gate = {.size = sizeof gate, .build_picker = gate_build_picker};
static const evener_policy_builder gate_builder = {
    .size = sizeof gate_builder, .name = "gate", .build = evener_base_policy_build, .user_data = (void *)&gate};
static const evener_policy_builder *const policies[] = {&gate_builder};
static const evener_channel_options gate_options = {.policies = policies, .policy_count = 1, .policy = "gate"};

/* ---- asynchronous picks, on the virtual loop ---- */

typedef struct wait {
    evener_pick_request request;
    evener_pick pick;
    evener_status_code code; /* -1: not called back */
} wait;

static fixture *f;
static wait *waits;
static size_t ended;

static void called_back(void *arg, evener_status_code code, const evener_status *status)
{
    (void)status;
    wait *w = arg;
    cr_assert_eq((int)w->code, -1, "exactly once");
    w->code = code;
    ended++;
    if (code == EVENER_STATUS_OK) {
        evener_pick_done(&w->pick, NULL);
    }
}

/* Open a channel that is READY, and let `count` picks wait. */
static void open_with_waiting(size_t count)
{
    f = fixture_create(&gate_options);
    fixture_push(f, A);
    fixture_connect(f);
    waits = calloc(count, sizeof *waits);
    for (size_t i = 0; i < count; i++) {
        waits[i].code = (evener_status_code)-1;
        waits[i].request = (evener_pick_request){
            .size = sizeof(evener_pick_request), .pick = &waits[i].pick, .callback = called_back, .arg = &waits[i]};
        const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = i, .timeout_ms = 1000};
        cr_assert_eq(evener_channel_pick_async(f->channel, &args, &waits[i].request, NULL), EVENER_PICK_QUEUE);
    }
    virtual_loop_run_until_idle(f->loop);
}

static void close_all(void)
{
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    fixture_destroy(f);
    free(waits);
}

static void wake(void)
{
    evener_pick_queue_wake(&f->channel->queue);
}

static size_t tries;

static evener_pick_outcome expect_free_mutex(const evener_pick_context *context)
{
    (void)context;
    tries++;
    cr_assert_eq(pthread_mutex_trylock(&f->channel->queue.mutex), 0, "a pick that arrives would wait");
    pthread_mutex_unlock(&f->channel->queue.mutex);
    return tries % 2 == 0 ? EVENER_PICK_COMPLETE : EVENER_PICK_QUEUE;
}

Test(pick_batches, the_mutex_is_free_during_retries)
{
    open_with_waiting(100);
    answer = expect_free_mutex;
    wake();
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(tries, 100);
    cr_assert_eq(ended, 50);
    close_all();
    cr_assert_eq(ended, 100);
}

static evener_pick_outcome complete_with_a_status(const evener_pick_context *context)
{
    evener_status_set(context->status, EVENER_STATUS_UNAVAILABLE, "the first backend was full");
    return EVENER_PICK_COMPLETE;
}

/* What a picker leaves in the status of a pick that it completes means nothing. */
Test(pick_batches, a_completed_pick_is_ok_whatever_the_picker_says)
{
    open_with_waiting(3);
    answer = complete_with_a_status;
    wake();
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(ended, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(waits[i].code, EVENER_STATUS_OK);
    }
    close_all();
}

static size_t tries_before_other_work;

static void other_work(void *arg)
{
    (void)arg;
    tries_before_other_work = tries;
}

static evener_task other_task = EVENER_TASK_INIT(other_work, NULL);

static evener_pick_outcome post_other_work(const evener_pick_context *context)
{
    if (tries++ == 0) {
        evener_loop_post(context->loop, &other_task);
    }
    return EVENER_PICK_COMPLETE;
}

Test(pick_batches, other_work_of_the_control_thread_runs_between_batches)
{
    open_with_waiting(MANY);
    answer = post_other_work;
    wake();
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(ended, MANY);
    cr_assert_gt(tries_before_other_work, 0);
    cr_assert_leq(tries_before_other_work, 1000, "%zu", tries_before_other_work);
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(waits[i].code, EVENER_STATUS_OK);
    }
    close_all();
}

/* B8: 100,000 waiting picks. A timer that is due, or another task, waits for at most one turn of the queue: some 544
 * retries, each the length of a pick. A pick that arrives waits for no retry (the_mutex_is_free_during_retries). */
#define B8_WAITING 100000
#define B8_RETRIES_PER_TURN_MAX 600

static size_t retries_of_turn, retries_of_turn_max, turns;

static void note_turn(void *arg);

static evener_task turn_task = EVENER_TASK_INIT(note_turn, NULL);

static void note_turn(void *arg)
{
    (void)arg;
    retries_of_turn_max = retries_of_turn > retries_of_turn_max ? retries_of_turn : retries_of_turn_max;
    retries_of_turn = 0;
    turns++;
    if (tries < B8_WAITING) {
        evener_loop_post(virtual_loop_loop(f->loop), &turn_task);
    }
}

static evener_pick_outcome count_retry(const evener_pick_context *context)
{
    retries_of_turn++;
    if (tries++ == 0) {
        evener_loop_post(context->loop, &turn_task);
    }
    return context->args->hash % 2 == 0 ? EVENER_PICK_COMPLETE : EVENER_PICK_QUEUE;
}

Test(pick_batches, b8_a_hundred_thousand_waiting_picks_are_retried_in_short_turns)
{
    open_with_waiting(B8_WAITING);
    answer = count_retry;
    wake();
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(tries, B8_WAITING, "each is retried once: %zu", tries);
    cr_assert_eq(ended, B8_WAITING / 2);
    cr_assert_leq(retries_of_turn_max, B8_RETRIES_PER_TURN_MAX, "%zu", retries_of_turn_max);
    cr_assert_geq(turns, B8_WAITING / B8_RETRIES_PER_TURN_MAX);
    close_all();
    cr_assert_eq(ended, B8_WAITING);
}

static size_t wakes;
static size_t wakes_until_newest;

/* Every first half of the queue that is tried changes the picker again. */
static evener_pick_outcome change_again(const evener_pick_context *context)
{
    const size_t index = context->args->hash;
    if (index == MANY / 2 && wakes < 10) {
        wakes++;
        wake();
    }
    if (index == MANY - 1 && wakes_until_newest == 0) {
        wakes_until_newest = wakes;
    }
    return EVENER_PICK_QUEUE;
}

Test(pick_batches, frequent_changes_do_not_starve_the_newest)
{
    open_with_waiting(MANY);
    answer = change_again;
    wake();
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(wakes, 10);
    cr_assert_leq(wakes_until_newest, 2, "%zu", wakes_until_newest);
    answer = NULL;
    close_all();
}

/* Cancel a pick of this batch, one that is before and one that is behind it, from inside. */
static evener_pick_outcome cancel_three(const evener_pick_context *context)
{
    if (context->args->hash == 40) {
        evener_pick_request_cancel(&waits[1].request);
        evener_pick_request_cancel(&waits[41].request);
        evener_pick_request_cancel(&waits[90].request);
    }
    tries++;
    return EVENER_PICK_QUEUE;
}

Test(pick_batches, a_pick_may_be_cancelled_during_a_batch)
{
    open_with_waiting(100);
    answer = cancel_three;
    wake();
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(ended, 3);
    cr_assert_eq(waits[1].code, EVENER_STATUS_CANCELLED);
    cr_assert_eq(waits[41].code, EVENER_STATUS_CANCELLED);
    cr_assert_eq(waits[90].code, EVENER_STATUS_CANCELLED);
    cr_assert_eq(tries, 99, "one was cancelled before its turn");
    cr_assert_eq(f->channel->queue.count, 97);
    virtual_loop_advance_ms(f->loop, 1000);
    cr_assert_eq(ended, 100);
    cr_assert_eq(waits[2].code, EVENER_STATUS_DEADLINE_EXCEEDED);
    close_all();
}

static evener_pick_outcome count_tries(const evener_pick_context *context)
{
    (void)context;
    tries++;
    return EVENER_PICK_QUEUE;
}

/* A deadline needs no walk over the others. */
Test(pick_batches, deadlines_and_cancels_retry_nothing)
{
    open_with_waiting(100);
    answer = count_tries;
    evener_pick_request_cancel(&waits[50].request);
    virtual_loop_advance_ms(f->loop, 999);
    cr_assert_eq(ended, 1);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(ended, 100);
    cr_assert_eq(tries, 0);
    close_all();
}

/* ---- waits because of a limit, among waits for a backend ---- */

static bool finds_backend[4]; /* by the hash of the pick */
static size_t tries_of[4];

static evener_pick_outcome answer_by_hash(const evener_pick_context *context)
{
    const size_t index = context->args->hash;
    tries_of[index]++;
    return finds_backend[index] ? EVENER_PICK_COMPLETE : EVENER_PICK_QUEUE;
}

static evener_pick_outcome ask(size_t index, size_t hash)
{
    const evener_pick_args args = {.size = sizeof args, .has_hash = true, .hash = hash};
    waits[index].code = (evener_status_code)-1;
    waits[index].request = (evener_pick_request){
        .size = sizeof(evener_pick_request), .pick = &waits[index].pick, .callback = called_back, .arg = &waits[index]};
    const evener_pick_outcome outcome = evener_channel_pick_async(f->channel, &args, &waits[index].request, NULL);
    virtual_loop_run_until_idle(f->loop);
    return outcome;
}

/* The first call takes the only place. The next one finds no backend at first, and then no place. Behind it are more
 * than a batch that find no backend at all, and last one that finds no place from the start. */
Test(pick_batches, limits_stop_only_calls_that_have_a_backend_and_each_waits_for_its_own_time)
{
    enum { BEHIND = 40, LAST = BEHIND + 2 };
    evener_channel_options options = gate_options;
    options.backend_calls_in_flight_max = 1;
    options.calls_waiting_max = 10;
    options.calls_wait_ms_max = 100;
    f = fixture_create(&options);
    fixture_push(f, A);
    fixture_connect(f);
    waits = calloc(LAST + 1, sizeof *waits);
    answer = answer_by_hash;
    finds_backend[0] = finds_backend[3] = true;
    cr_assert_eq(ask(0, 0), EVENER_PICK_COMPLETE);
    for (size_t i = 1; i <= LAST; i++) {
        cr_assert_eq(ask(i, i == 1 ? 1 : i < LAST ? 2 : 3), EVENER_PICK_QUEUE);
    }
    virtual_loop_advance_ms(f->loop, 50);
    finds_backend[1] = true;
    tries_of[2] = 0;
    wake();
    virtual_loop_run_until_idle(f->loop);
    cr_assert_geq(tries_of[2], BEHIND, "a full backend does not end the pass for those that wait for one");
    virtual_loop_advance_ms(f->loop, 49);
    cr_assert_eq(ended, 0);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(ended, 1, "%zu", ended);
    cr_assert_eq(waits[LAST].code, EVENER_STATUS_UNAVAILABLE, "it began to wait before the one in front of it did");
    virtual_loop_advance_ms(f->loop, 50);
    cr_assert_eq(ended, 2, "%zu", ended);
    cr_assert_eq(waits[1].code, EVENER_STATUS_UNAVAILABLE);
    evener_pick_done(&waits[0].pick, NULL);
    close_all();
}

/* ---- a blocking pick whose deadline passes while it is in a batch, in real time ---- */

#define STATE_LEAVING 16

static evener_channel *real_channel;
static evener_pick_outcome late_answer;

/* Answer when the waiting thread has noticed its deadline. */
static evener_pick_outcome answer_late(const evener_pick_context *context)
{
    evener_pick_queue *queue = &real_channel->queue;
    if (!evener_loop_on_control_thread(context->loop)) {
        return EVENER_PICK_QUEUE;
    }
    for (uint32_t state = 0; (state & STATE_LEAVING) == 0;) {
        pthread_mutex_lock(&queue->mutex);
        state = __atomic_load_n(&queue->requests.next->state, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&queue->mutex);
        sched_yield();
    }
    return late_answer;
}

static void *wake_when_it_waits(void *arg)
{
    (void)arg;
    while (__atomic_load_n(&real_channel->queue.count, __ATOMIC_RELAXED) == 0) {
        sched_yield();
    }
    evener_pick_queue_wake(&real_channel->queue);
    return NULL;
}

static evener_status_code pick_with_late_answer(evener_pick_outcome outcome)
{
    evener_runtime *runtime;
    evener_manual_resolver *resolver;
    cr_assert_eq(evener_runtime_create(NULL, &runtime, NULL), EVENER_STATUS_OK);
    fake_transport *transport = fake_transport_create(evener_runtime_loop(runtime), true);
    cr_assert_eq(evener_manual_resolver_create("orders", &resolver, NULL), EVENER_STATUS_OK);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(resolver)};
    evener_channel_options options = gate_options;
    options.size = sizeof options;
    options.runtime = runtime;
    options.transport = fake_transport_transport(transport);
    options.resolvers = resolvers;
    options.resolver_count = 1;
    cr_assert_eq(evener_channel_create("orders:///x", &options, &real_channel, NULL), EVENER_STATUS_OK);
    evener_manual_resolver_set(resolver, A, NULL, NULL);
    cr_assert_eq(evener_channel_wait_ready(real_channel, 0, NULL), EVENER_STATUS_OK);

    late_answer = outcome;
    answer = answer_late;
    pthread_t waker;
    pthread_create(&waker, NULL, wake_when_it_waits, NULL);
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 30};
    evener_pick pick;
    const evener_status_code code = evener_channel_pick(real_channel, &args, &pick, NULL);
    if (code == EVENER_STATUS_OK) {
        evener_pick_done(&pick, NULL);
    }
    pthread_join(waker, NULL);
    answer = NULL;
    evener_channel_unref(real_channel);
    fake_transport_destroy(transport);
    evener_manual_resolver_destroy(resolver);
    evener_runtime_unref(runtime);
    return code;
}

Test(pick_batches, a_blocking_pick_waits_for_its_batch_and_then_times_out)
{
    cr_assert_eq(pick_with_late_answer(EVENER_PICK_QUEUE), EVENER_STATUS_DEADLINE_EXCEEDED);
}

Test(pick_batches, a_backend_found_in_the_last_moment_is_not_lost)
{
    cr_assert_eq(pick_with_late_answer(EVENER_PICK_COMPLETE), EVENER_STATUS_OK);
}
