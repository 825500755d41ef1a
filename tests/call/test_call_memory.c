/* A call's memory: what it holds lies side by side and within the piece that was allocated, whatever the lengths of
 * method and metadata are. Bytes behind each piece show writes beyond its end. */
#include <criterion/criterion.h>

#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define GUARD_BYTES 128
#define GUARD 0x5a
#define PIECES 4096

/* ---- guarded memory: the program is linked with --wrap=aligned_alloc ---- */

typedef struct piece {
    unsigned char *memory;
    size_t bytes;
} piece;

static piece pieces[PIECES];
static size_t piece_count; /* atomic */

void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    unsigned char *memory = __real_aligned_alloc(alignment, bytes + GUARD_BYTES);
    cr_assert_not_null(memory);
    memset(memory + bytes, GUARD, GUARD_BYTES);
    const size_t at = __atomic_fetch_add(&piece_count, 1, __ATOMIC_RELAXED);
    pieces[at % PIECES] = (piece){memory, bytes};
    return memory;
}

/* Assert that nothing was written behind this piece, which was not freed. */
static void expect_whole(const void *memory)
{
    const size_t count = __atomic_load_n(&piece_count, __ATOMIC_RELAXED);
    const piece *found = NULL;
    for (size_t i = 0; i < (count < PIECES ? count : PIECES); i++) { /* the latest of this place */
        found = pieces[i].memory == memory ? &pieces[i] : found;
    }
    cr_assert_not_null(found);
    for (size_t i = 0; i < GUARD_BYTES; i++) {
        cr_assert_eq(found->memory[found->bytes + i], GUARD, "byte %zu behind %zu", i, found->bytes);
    }
}

/* ---- calls ---- */

typedef struct scene {
    fixture *f;
    char method[600];
    evener_metadata metadata[3];
    size_t metadata_count;
    sem_t ended;
    evener_status status;
} scene;

/* The transport sees what the caller gave, which is gone by then. */
static fake_call_outcome scripted(void *arg, const char *address, const evener_call_begin_args *args)
{
    const scene *s = arg;
    (void)address;
    cr_assert_str_eq(args->method, s->method);
    cr_assert_str_eq(args->authority, "orders.test");
    cr_assert_eq(args->metadata_count, s->metadata_count);
    for (size_t i = 0; i < args->metadata_count; i++) {
        cr_assert_str_eq(args->metadata[i].key, s->metadata[i].key);
        cr_assert_eq(args->metadata[i].value_bytes, s->metadata[i].value_bytes);
        cr_assert_str_eq(args->metadata[i].value, s->metadata[i].value);
    }
    return (fake_call_outcome){.kind = FAKE_CALL_ANSWER};
}

static void called(void *arg, const evener_status *status, evener_bytes *response)
{
    scene *s = arg;
    cr_assert_eq(response->length, 5);
    s->status = *status;
    (void)sem_post(&s->ended);
}

static void on_message(void *arg, evener_bytes *message)
{
    (void)arg;
    evener_bytes_clear(message);
}

static void on_ended(void *arg, const evener_status *status)
{
    scene *s = arg;
    s->status = *status;
    (void)sem_post(&s->ended);
}

/* Until the end is reported, on whatever thread. */
static void wait_for_end(scene *s)
{
    virtual_loop_run_until_idle(s->f->loop);
    while (sem_wait(&s->ended) != 0) {
    }
    cr_assert_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
}

static void one_call(scene *s, size_t method_bytes, size_t metadata_count)
{
    static const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = on_message, .ended = on_ended};
    s->method[0] = '/';
    memset(s->method + 1, 'm', method_bytes - 1);
    s->method[method_bytes] = '\0';
    s->metadata_count = metadata_count;
    char *lent = strdup(s->method);
    evener_metadata *entries = malloc(sizeof s->metadata);
    memcpy(entries, s->metadata, sizeof s->metadata);
    const evener_call_options options = {
        .size = sizeof options, .authority = "orders.test", .metadata = entries, .metadata_count = metadata_count};
    const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};
    evener_call *call = NULL;
    evener_stream *stream = NULL;
    evener_status status;
    cr_assert_eq(evener_call_start(s->f->channel, lent, &request, &options, called, s, &call, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_stream_start(s->f->channel, lent, &request, &options, &callbacks, s, &stream, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    memset(lent, 'x', method_bytes);
    memset(entries, 0xff, sizeof s->metadata);
    free(lent);
    free(entries);
    wait_for_end(s);
    expect_whole(call);
    (void)evener_stream_ask(stream);
    virtual_loop_run_until_idle(s->f->loop);
    (void)evener_stream_ask(stream);
    wait_for_end(s);
    expect_whole(stream);
    evener_stream_unref(stream);
    evener_call_unref(call);
}

static void calls_of_every_length(bool on_call_threads)
{
    scene s = {.metadata = {{"a", "", 0}, {"bb", "12", 2}, {"ccc", "345", 3}}};
    cr_assert_eq(sem_init(&s.ended, 0, 0), 0);
    const evener_channel_options options = {.policy = "round_robin", .callbacks_on_call_threads = on_call_threads};
    s.f = fixture_create_calling(&options, scripted, &s);
    fixture_push(s.f, "127.0.0.1:1");
    fixture_connect(s.f);
    /* Pieces come in steps of 256 bytes: with transports of each size modulo 256 some call fills one to its end. */
    evener_transport *transport = fake_transport_transport(s.f->transport);
    evener_transport_vtable vtable = *transport->vtable;
    evener_transport_calls calls = *vtable.calls;
    vtable.calls = &calls;
    transport->vtable = &vtable;
    for (size_t step = 0; step < 4; step++, calls.call_bytes += 64) {
        for (size_t bytes = 1; bytes < 260; bytes++) {
            one_call(&s, bytes, bytes % 4);
        }
    }
    while (__atomic_load_n(&s.f->channel->references, __ATOMIC_ACQUIRE) > 1) {
        sched_yield(); /* a call thread gives its reference back after the callback */
    }
    fixture_destroy(s.f);
    (void)sem_destroy(&s.ended);
}

Test(call_memory, holds_calls_of_every_length)
{
    calls_of_every_length(false);
}

Test(call_memory, holds_calls_of_every_length_and_their_way_to_a_call_thread)
{
    calls_of_every_length(true);
}
