/* Parts of the HTTP/2 transport by themselves: the memory of a session, which thread serves a connection, when blocking
 * callers are a crowd, and which options there are. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/memory_pool.h"

/* ---- the memory of a session ---- */

static evener_http2_memory_pool pool;
static nghttp2_mem memory;

static void open_pool(void)
{
    memory = evener_http2_memory_pool_table(&pool);
}

static void close_pool(void)
{
    evener_http2_memory_pool_clear(&pool);
    cr_expect_eq(pool.kept_bytes, 0);
}

TestSuite(http2_memory_pool, .init = open_pool, .fini = close_pool);

static void *take(size_t bytes)
{
    void *made = memory.malloc(bytes, memory.mem_user_data);
    cr_assert_not_null(made);
    cr_assert_eq((uintptr_t)made % _Alignof(max_align_t), 0);
    memset(made, 0xa5, bytes);
    return made;
}

static void give_back(void *made)
{
    memory.free(made, memory.mem_user_data);
}

Test(http2_memory_pool, keeps_blocks_up_to_a_kibibyte)
{
    static const struct {
        size_t bytes, kept;
    } all[] = {{0, 64},    {1, 64},    {64, 64},    {65, 128},    {128, 128}, {129, 256}, {256, 256},
               {257, 512}, {512, 512}, {513, 1024}, {1024, 1024}, {1025, 0},  {5000, 0}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *made = take(all[i].bytes);
        cr_expect_eq(pool.kept_bytes, 0);
        give_back(made);
        cr_expect_eq(pool.kept_bytes, all[i].kept, "%zu bytes: %zu", all[i].bytes, pool.kept_bytes);
        evener_http2_memory_pool_clear(&pool);
        cr_expect_eq(pool.kept_bytes, 0);
    }
    give_back(NULL);
}

Test(http2_memory_pool, gives_them_again_for_the_same_size)
{
    void *small = take(64), *larger = take(100), *another = take(128);
    give_back(larger);
    give_back(another);
    cr_expect_eq(take(65), another, "the last one first");
    cr_expect_eq(take(128), larger);
    cr_expect_eq(pool.kept_bytes, 0);
    give_back(small);
    void *middle = take(65);
    cr_expect_eq(pool.kept_bytes, 64);
    cr_expect_eq(take(0), small);
    give_back(small);
    give_back(larger);
    give_back(another);
    give_back(middle);
    cr_expect_eq(pool.kept_bytes, 64 + 3 * 128);
}

Test(http2_memory_pool, keeps_so_much_and_no_more)
{
    enum { BLOCKS = EVENER_HTTP2_POOL_BYTES_MAX / 1024 };
    void *blocks[BLOCKS], *small = take(1), *one_more = take(1024);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = take(1024);
    }
    for (int i = 0; i < BLOCKS; i++) {
        give_back(blocks[i]);
    }
    cr_expect_eq(pool.kept_bytes, EVENER_HTTP2_POOL_BYTES_MAX);
    give_back(small);
    give_back(one_more);
    cr_expect_eq(pool.kept_bytes, EVENER_HTTP2_POOL_BYTES_MAX);
}

Test(http2_memory_pool, memory_of_zeros_has_no_old_content)
{
    give_back(take(100));
    uint8_t *made = memory.calloc(2, 50, memory.mem_user_data);
    cr_assert_not_null(made);
    cr_expect_eq(pool.kept_bytes, 0, "it is the block from before");
    for (size_t i = 0; i < 100; i++) {
        cr_assert_eq(made[i], 0);
    }
    give_back(made);
    cr_expect_null(memory.calloc(SIZE_MAX / 2, 3, memory.mem_user_data));
    cr_expect_null(memory.calloc(SIZE_MAX / 2, 2, memory.mem_user_data));
    cr_expect_null(memory.malloc(SIZE_MAX, memory.mem_user_data));
    made = memory.calloc(SIZE_MAX, 0, memory.mem_user_data);
    cr_expect_not_null(made);
    give_back(made);
}

Test(http2_memory_pool, memory_that_grows_keeps_its_content)
{
    uint8_t *made = memory.realloc(NULL, 100, memory.mem_user_data);
    cr_assert_not_null(made);
    for (int i = 0; i < 128; i++) {
        made[i] = (uint8_t)i;
    }
    cr_expect_eq(memory.realloc(made, 128, memory.mem_user_data), made, "there is room");
    cr_expect_eq(memory.realloc(made, 10, memory.mem_user_data), made);
    uint8_t *larger = memory.realloc(made, 129, memory.mem_user_data);
    cr_assert_neq(larger, made);
    cr_expect_eq(pool.kept_bytes, 128);
    for (int i = 0; i < 128; i++) {
        cr_assert_eq(larger[i], i);
    }
    cr_expect_null(memory.realloc(larger, SIZE_MAX, memory.mem_user_data));
    cr_expect_eq(larger[127], 127, "without memory it stays");
    give_back(larger);
}

/* ---- threads ---- */

#define THREADS 4

Test(http2_engine, connections_stay_together_up_to_a_number)
{
    static const struct {
        uint32_t first, connections[THREADS], chosen;
    } all[] = {{1, {0, 0, 0, 0}, 1},   {1, {0, 7, 0, 0}, 1}, {1, {0, 8, 0, 0}, 2},     {1, {0, 8, 8, 0}, 3},
               {1, {0, 8, 8, 8}, 0},   {1, {8, 8, 8, 8}, 1}, {1, {15, 15, 15, 15}, 1}, {1, {8, 16, 15, 8}, 2},
               {1, {8, 16, 15, 7}, 3}, {3, {7, 0, 0, 8}, 0}, {3, {8, 7, 0, 8}, 1},     {0, {16, 8, 0, 0}, 2},
               {2, {9, 16, 16, 16}, 0}};
    evener_http2_engine *engine = evener_cache_aligned_calloc(sizeof *engine + THREADS * sizeof engine->threads[0]);
    engine->thread_count = THREADS;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const evener_http2_io_thread *chosen =
            evener_http2_engine_choose_thread(engine, all[i].first, all[i].connections);
        cr_expect_eq(chosen - engine->threads, all[i].chosen, "%zu: %td", i, chosen - engine->threads);
    }
    for (uint32_t i = 0; i < 2 * THREADS + 1; i++) {
        cr_expect_eq(evener_http2_engine_first_thread(engine), i % THREADS, "transports begin on different threads");
    }
    free(engine);
}

/* ---- crowds of blocking callers ---- */

/* As in wait.c. */
#define CROWD 4
#define CROWD_OVER 2
#define PERIOD 64
#define BULK_BYTES 8192

static evener_connection connection;

static bool grows_to(size_t foreground)
{
    connection.foreground = foreground;
    evener_http2_crowd_grows(&connection);
    return atomic_load(&connection.is_crowded) != 0;
}

/* Let calls end, the first `large` ones with a large message, and judge. */
static bool judged_after(unsigned calls, unsigned large)
{
    for (unsigned i = 0; i < calls; i++) {
        evener_http2_crowd_shrinks(&connection, i < large ? BULK_BYTES + 1 : BULK_BYTES);
    }
    evener_http2_crowd_judge(&connection);
    return atomic_load(&connection.is_crowded) != 0;
}

Test(http2_crowd, begins_with_the_fifth_call_at_once)
{
    for (size_t count = 1; count <= CROWD; count++) {
        cr_assert_not(grows_to(count));
        cr_assert_eq(connection.foreground_max, count);
    }
    cr_assert_not(grows_to(2));
    cr_assert_eq(connection.foreground_max, CROWD, "the most since the last judgement");
    cr_assert(grows_to(CROWD + 1));
}

Test(http2_crowd, ends_after_a_period_with_few_calls)
{
    cr_assert(grows_to(CROWD + 1));
    connection.foreground = 1;
    cr_assert(judged_after(PERIOD - 1, 0), "the period is not over");
    cr_assert_eq(connection.foreground_max, CROWD + 1);
    cr_assert(judged_after(1, 0), "there were five");
    cr_assert_eq(connection.foreground_max, 1, "another period begins");
    cr_assert(grows_to(CROWD_OVER + 1));
    connection.foreground = 0;
    cr_assert(judged_after(PERIOD, 0), "neither many nor few");
    (void)grows_to(CROWD_OVER);
    connection.foreground = 0;
    cr_assert(judged_after(PERIOD - 1, 0));
    cr_assert_not(judged_after(1, 0));
    (void)grows_to(CROWD);
    connection.foreground = 0;
    cr_assert_not(judged_after(PERIOD, 0), "four are no crowd");
}

Test(http2_crowd, is_none_while_most_messages_are_large)
{
    cr_assert(grows_to(CROWD + 1));
    cr_assert(judged_after(PERIOD, PERIOD / 2), "half of them");
    cr_assert_not(judged_after(PERIOD, PERIOD / 2 + 1), "five are in flight all the time");
    cr_assert_not(grows_to(CROWD + 2), "also when more come");
    cr_assert(judged_after(PERIOD, PERIOD / 2), "each period by itself");
    cr_assert_eq(connection.bulk_ended, 0);
}

Test(http2_crowd, is_found_at_the_end_of_a_period_too)
{
    connection.is_bulky = true;
    cr_assert_not(grows_to(CROWD + 1));
    cr_assert(judged_after(PERIOD + 7, 0));
    cr_assert_not(connection.is_bulky);
    cr_assert_eq(connection.crowd_judged_ended, PERIOD + 7);
}

/* ---- options ---- */

static evener_runtime *runtime;

static void open_runtime(void)
{
    cr_assert_eq(evener_runtime_create(NULL, &runtime, NULL), EVENER_STATUS_OK);
}

static void close_runtime(void)
{
    evener_runtime_unref(runtime);
}

TestSuite(http2_options, .init = open_runtime, .fini = close_runtime);

static evener_http2_transport *made_with(const evener_http2_transport_options *options, const char *refusal)
{
    evener_transport *transport = NULL;
    evener_status status;
    const evener_status_code code = evener_http2_transport_create(runtime, options, &transport, &status);
    cr_assert_eq(code, refusal == NULL ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT, "%s", status.message);
    if (refusal != NULL) {
        cr_expect_str_eq(status.message, refusal);
    }
    return (evener_http2_transport *)transport;
}

static void destroy(evener_http2_transport *transport)
{
    cr_assert_not_null(transport);
    transport->base.vtable->destroy(&transport->base);
}

Test(http2_options, have_limits)
{
    evener_http2_transport_options options = {.size = sizeof options,
                                              .io_threads = EVENER_HTTP2_THREADS_MAX,
                                              .window_bytes = EVENER_HTTP2_WINDOW_BYTES_MAX,
                                              .user_agent = "tests/1"};
    evener_http2_transport *transport = made_with(&options, NULL);
    cr_expect_eq(transport->io_threads, EVENER_HTTP2_THREADS_MAX);
    cr_expect_eq(transport->window_bytes, EVENER_HTTP2_WINDOW_BYTES_MAX);
    cr_expect_eq(strncmp(transport->user_agent, "tests/1 grpc-c-evener/", 22), 0, "%s", transport->user_agent);
    cr_expect_eq(transport->user_agent_bytes, strlen(transport->user_agent));
    destroy(transport);
    options.io_threads++;
    (void)made_with(&options, "http2 transport: io_threads is 65: at most 64 are allowed");
    options.io_threads = 0;
    options.window_bytes++;
    (void)made_with(&options, "http2 transport: window_bytes is 8388609: at most 8388608 are allowed");
    options.window_bytes = 0;
    options.user_agent = "two\nlines";
    (void)made_with(&options, "http2 transport: user_agent holds bytes that cannot be sent in a header");
}

Test(http2_options, that_are_zero_have_defaults)
{
    const evener_http2_transport_options options = {.size = sizeof options, .user_agent = ""};
    evener_http2_transport *transport = made_with(&options, NULL);
    cr_expect_eq(transport->window_bytes, EVENER_HTTP2_WINDOW_BYTES_DEFAULT);
    cr_expect_eq(transport->header_list_bytes_max, EVENER_HTTP2_HEADER_LIST_BYTES_DEFAULT);
    cr_expect_eq(transport->keepalive_timeout_ns, EVENER_HTTP2_KEEPALIVE_TIMEOUT_MS_DEFAULT * EVENER_NS_PER_MS);
    cr_expect_eq(atomic_load(&transport->keepalive_time_ns), UINT64_MAX);
    cr_expect_eq(strncmp(transport->user_agent, "grpc-c-evener/", 14), 0, "%s", transport->user_agent);
    cr_expect_null(transport->tls);
    cr_expect_null(transport->proxy);
    destroy(transport);
}

Test(http2_options, a_keepalive_time_has_a_least_value_unless_it_is_unrestricted)
{
    static const struct {
        uint64_t time_ms;
        bool unrestricted;
        uint64_t time_ns;
    } all[] = {
        {1, false, EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN * EVENER_NS_PER_MS},
        {1, true, EVENER_NS_PER_MS},
        {EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN - 1, false, EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN * EVENER_NS_PER_MS},
        {EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN + 1, false, (EVENER_HTTP2_KEEPALIVE_TIME_MS_MIN + 1) * EVENER_NS_PER_MS},
        {UINT64_MAX / EVENER_NS_PER_MS, false, UINT64_MAX / EVENER_NS_PER_MS * EVENER_NS_PER_MS},
        {UINT64_MAX / EVENER_NS_PER_MS + 1, false, UINT64_MAX},
        {UINT64_MAX, true, UINT64_MAX}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const evener_http2_transport_options options = {.size = sizeof options,
                                                        .keepalive_time_ms = all[i].time_ms,
                                                        .keepalive_timeout_ms = 7,
                                                        .header_list_bytes_max = 5,
                                                        .keepalive_unrestricted = all[i].unrestricted};
        evener_http2_transport *transport = made_with(&options, NULL);
        cr_expect_eq(atomic_load(&transport->keepalive_time_ns), all[i].time_ns, "%zu", i);
        cr_expect_eq(transport->keepalive_configured_ns, all[i].time_ns);
        cr_expect_eq(transport->keepalive_timeout_ns, 7 * EVENER_NS_PER_MS);
        cr_expect_eq(transport->header_list_bytes_max, 5);
        destroy(transport);
    }
}

Test(http2_options, a_keepalive_timeout_beyond_the_clocks_range_is_never)
{
    static const struct {
        uint64_t timeout_ms, timeout_ns;
    } all[] = {{0, EVENER_HTTP2_KEEPALIVE_TIMEOUT_MS_DEFAULT * EVENER_NS_PER_MS},
               {UINT64_MAX / EVENER_NS_PER_MS, UINT64_MAX / EVENER_NS_PER_MS * EVENER_NS_PER_MS},
               {UINT64_MAX / EVENER_NS_PER_MS + 1, UINT64_MAX},
               {UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const evener_http2_transport_options options = {.size = sizeof options,
                                                        .keepalive_timeout_ms = all[i].timeout_ms};
        evener_http2_transport *transport = made_with(&options, NULL);
        cr_expect_eq(transport->keepalive_timeout_ns, all[i].timeout_ns, "%zu", i);
        destroy(transport);
    }
}
