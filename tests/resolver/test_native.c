/* native: with a getaddrinfo() of the test's own, which the library calls instead of the C library's: what it answers,
 * when it returns, and the virtual loop on which the answers arrive. */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/failing_memory.h"
#include "tests/support/resolver_fixture.h"

#define EXPORTED __attribute__((visibility("default")))
#define WAIT_MS_MAX 20000

/* ---- the C library's part ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t allowed;        /* lookups return in their order, up to this number */
    int result;            /* of getaddrinfo() */
    const char *addresses; /* separated by blanks */
    char host[300];        /* of the last lookup */
    size_t entered, freed;
} ns = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .addresses = "10.0.0.1"};

typedef struct node {
    struct addrinfo info; /* first, so that its address is the node's */
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
} node;

static struct addrinfo *make_list(const char *addresses)
{
    struct addrinfo *first = NULL, **end = &first;
    char text[512], *rest = NULL;
    (void)snprintf(text, sizeof text, "%s", addresses);
    for (char *one = strtok_r(text, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest)) {
        node *made = calloc(1, sizeof *made);
        const bool v6 = strchr(one, ':') != NULL;
        made->info.ai_family = v6 ? AF_INET6 : AF_INET;
        made->info.ai_addr = (struct sockaddr *)&made->address;
        made->info.ai_addrlen = v6 ? sizeof made->address.v6 : sizeof made->address.v4;
        if (v6) {
            made->address.v6.sin6_family = AF_INET6;
            (void)inet_pton(AF_INET6, one, &made->address.v6.sin6_addr);
        } else {
            made->address.v4.sin_family = AF_INET;
            (void)inet_pton(AF_INET, one, &made->address.v4.sin_addr);
        }
        *end = &made->info;
        end = &made->info.ai_next;
    }
    return first;
}

EXPORTED int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    (void)service, (void)hints;
    pthread_mutex_lock(&ns.lock);
    (void)snprintf(ns.host, sizeof ns.host, "%s", host);
    const size_t number = ++ns.entered;
    while (number > ns.allowed) {
        pthread_cond_wait(&ns.changed, &ns.lock);
    }
    const int result = ns.result;
    if (result == 0) {
        *found = make_list(ns.addresses);
    }
    pthread_mutex_unlock(&ns.lock);
    return result;
}

EXPORTED void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
    pthread_mutex_lock(&ns.lock);
    ns.freed++;
    pthread_mutex_unlock(&ns.lock);
}

/* Let further lookups return. */
static void let(size_t lookups)
{
    pthread_mutex_lock(&ns.lock);
    ns.allowed += lookups;
    pthread_cond_broadcast(&ns.changed);
    pthread_mutex_unlock(&ns.lock);
}

static size_t read_count(const size_t *count)
{
    pthread_mutex_lock(&ns.lock);
    const size_t value = *count;
    pthread_mutex_unlock(&ns.lock);
    return value;
}

/* Wait until a lookup number `wanted` has begun, or its result was freed. */
static void wait_for(const size_t *count, size_t wanted)
{
    for (int i = 0; i < WAIT_MS_MAX && read_count(count) < wanted; i++) {
        usleep(1000);
    }
    cr_assert_eq(read_count(count), wanted);
}

/* ---- the resolver ---- */

static resolver_fixture *f;

static void set_up(void)
{
    f = resolver_fixture_create();
}

static void tear_down(void)
{
    resolver_fixture_destroy(f);
}

TestSuite(native, .init = set_up, .fini = tear_down);

static void wait_for_answer(void)
{
    for (int i = 0; i < WAIT_MS_MAX && !virtual_loop_has_posted(f->loop); i++) {
        usleep(1000);
    }
    cr_assert(virtual_loop_has_posted(f->loop), "no lookup has ended");
}

/* Let the lookup under way return and its answer arrive. */
static void arrive(void)
{
    let(1);
    wait_for_answer();
    virtual_loop_run_until_idle(f->loop);
}

static void open_and_arrive(const char *target)
{
    resolver_fixture_open(f, target);
    arrive();
}

static void expect_next_after_ms(uint64_t ms)
{
    const size_t before = read_count(&ns.entered);
    virtual_loop_advance_ms(f->loop, ms - 1);
    cr_assert_eq(read_count(&ns.entered), before, "not yet");
    virtual_loop_advance_ms(f->loop, 1);
    wait_for(&ns.entered, before + 1);
}

Test(native, addresses_of_both_families_get_the_port)
{
    ns.addresses = "10.0.0.1 fd00::1 10.0.0.2";
    open_and_arrive("native:///orders:80");
    cr_assert_str_eq(f->sink.addresses, "10.0.0.1:80,[fd00::1]:80,10.0.0.2:80");
    cr_assert_str_eq(f->sink.source, "getaddrinfo");
    cr_assert_str_eq(ns.host, "orders");
    cr_assert_eq(read_count(&ns.freed), 1);
}

Test(native, no_such_name_is_an_empty_list)
{
    static const int results[] = {EAI_NONAME, EAI_NODATA};
    for (size_t i = 0; i < 2; i++) {
        ns.result = results[i];
        open_and_arrive("native:orders");
        cr_assert_eq(f->sink.update_count, i + 1);
        cr_assert_eq(f->sink.address_count, 0);
        cr_assert_str_eq(f->sink.source, "getaddrinfo (no such name)");
        cr_assert_eq(f->sink.error_count, 0);
        resolver_fixture_close(f);
    }
}

Test(native, hosts_and_ports_have_limits)
{
    static const char *const good[][3] = {{"native:a", "a", "10.0.0.1:443"},
                                          {"native:a:1", "a", "10.0.0.1:1"},
                                          {"native:a:65535", "a", "10.0.0.1:65535"},
                                          {"native:a:00080", "a", "10.0.0.1:80"},
                                          {"native:[fd00::1]", "fd00::1", "10.0.0.1:443"},
                                          {"native:[fd00::1]:81", "fd00::1", "10.0.0.1:81"},
                                          {"native:///a.b.:2", "a.b.", "10.0.0.1:2"}};
    static const char *const bad[] = {"native:",        "native::80",      "native:a:",         "native:a:0",
                                      "native:a:65536", "native:a:000080", "native:a:x",        "native:a:8x",
                                      "native:a:-1",    "native:[]",       "native:[fd00::1",   "native:[fd00::1]x",
                                      "native://s/a",   "native:[]:80",    "native:[fd00::1]:", "native:[a]80"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        open_and_arrive(good[i][0]);
        cr_expect_str_eq(ns.host, good[i][1], "%s: %s", good[i][0], ns.host);
        cr_expect_str_eq(f->sink.addresses, good[i][2], "%s: %s", good[i][0], f->sink.addresses);
        resolver_fixture_close(f);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(resolver_fixture_build(f, bad[i]), EVENER_STATUS_INVALID_ARGUMENT, "%s", bad[i]);
        cr_expect_eq(strncmp(f->status.message, "native: ", 8), 0, "%s", f->status.message);
    }
    for (size_t bytes = 255; bytes <= 256; bytes++) {
        char target[300] = "native:";
        memset(target + 7, 'a', bytes);
        target[7 + bytes] = '\0';
        cr_expect_eq(resolver_fixture_build(f, target) == EVENER_STATUS_OK, bytes == 255, "%zu", bytes);
        resolver_fixture_close(f);
    }
}

Test(native, the_time_between_lookups_has_limits)
{
    static const char *const values[] = {"999", "1000", "86400000", "86400001"};
    for (size_t i = 0; i < 4; i++) {
        const evener_attribute option = {"native.refresh_ms", values[i]};
        f->options = &option;
        f->option_count = 1;
        cr_expect_eq(resolver_fixture_build(f, "native:a") == EVENER_STATUS_OK, i == 1 || i == 2, "%s", values[i]);
        resolver_fixture_close(f);
    }
}

Test(native, the_name_is_asked_for_every_half_minute_or_as_often_as_the_option_says)
{
    open_and_arrive("native:a:1");
    ns.addresses = "10.0.0.2";
    expect_next_after_ms(30000);
    arrive();
    cr_assert_str_eq(f->sink.addresses, "10.0.0.2:1");
    resolver_fixture_close(f);
    const evener_attribute option = {"native.refresh_ms", "1000"};
    f->options = &option;
    f->option_count = 1;
    open_and_arrive("native:a:1");
    expect_next_after_ms(1000);
    arrive();
}

Test(native, a_hint_asks_at_most_every_five_seconds_and_not_twice_at_once)
{
    resolver_fixture_open(f, "native:a:1");
    f->resolver->vtable->resolve_now(f->resolver); /* joins the first lookup */
    arrive();
    cr_assert_eq(read_count(&ns.entered), 1);
    f->resolver->vtable->resolve_now(f->resolver);
    expect_next_after_ms(5000);
    arrive();
    virtual_loop_advance_ms(f->loop, 6000);
    cr_assert_eq(read_count(&ns.entered), 2);
    f->resolver->vtable->resolve_now(f->resolver);
    virtual_loop_run_until_idle(f->loop);
    wait_for(&ns.entered, 3);
    arrive();
}

Test(native, a_failure_is_reported_and_tried_again_with_backoff)
{
    ns.result = EAI_AGAIN;
    open_and_arrive("native:a:1");
    cr_assert_eq(f->sink.error_count, 1);
    cr_assert_eq(f->sink.error.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(strncmp(f->sink.error.message, "native: a: ", 11), 0, "%s", f->sink.error.message);
    virtual_loop_advance_ms(f->loop, 799); /* 1 s, 20 % less at most */
    cr_assert_eq(read_count(&ns.entered), 1);
    virtual_loop_advance_ms(f->loop, 401);
    wait_for(&ns.entered, 2);
    arrive();
    cr_assert_eq(f->sink.error_count, 2);
    virtual_loop_advance_ms(f->loop, 1279); /* 1.6 s */
    cr_assert_eq(read_count(&ns.entered), 2);
    ns.result = 0;
    virtual_loop_advance_ms(f->loop, 641);
    wait_for(&ns.entered, 3);
    arrive();
    cr_assert_str_eq(f->sink.addresses, "10.0.0.1:1");
    expect_next_after_ms(30000);
    arrive();
}

Test(native, a_refused_list_is_asked_for_again_with_backoff)
{
    f->sink.refuse = true;
    open_and_arrive("native:a:1");
    f->sink.refuse = false;
    cr_assert_eq(f->sink.update_count, 1);
    virtual_loop_advance_ms(f->loop, 1200);
    arrive();
    cr_assert_eq(f->sink.update_count, 2);
}

Test(native, reset_backoff_asks_at_once_while_lookups_fail)
{
    open_and_arrive("native:a:1");
    evener_resolver_reset_backoff(f->resolver);
    virtual_loop_advance_ms(f->loop, 29000);
    cr_assert_eq(read_count(&ns.entered), 1, "the last lookup was good");
    ns.result = EAI_FAIL;
    virtual_loop_advance_ms(f->loop, 1000);
    arrive();
    cr_assert_eq(f->sink.error_count, 1);
    evener_resolver_reset_backoff(f->resolver);
    virtual_loop_run_until_idle(f->loop);
    wait_for(&ns.entered, 3);
    arrive();
    evener_resolver_reset_backoff(f->resolver);
    virtual_loop_run_until_idle(f->loop);
    wait_for(&ns.entered, 4);
    evener_resolver_reset_backoff(f->resolver); /* one is under way */
    virtual_loop_run_until_idle(f->loop);
    arrive();
    cr_assert_eq(read_count(&ns.entered), 4);
}

Test(native, a_hint_does_not_postpone_a_lookup)
{
    ns.result = EAI_AGAIN;
    open_and_arrive("native:a:1");
    virtual_loop_advance_ms(f->loop, 300);
    f->resolver->vtable->resolve_now(f->resolver);
    virtual_loop_advance_ms(f->loop, 900); /* the backoff: 1 s, 20 % more at most */
    wait_for(&ns.entered, 2);
    arrive();
}

/* Neither memory nor a thread: that is a failure like others. */
Test(native, a_lookup_that_cannot_begin_is_reported_and_tried_again_with_backoff)
{
    cr_assert_eq(resolver_fixture_build(f, "native:a:1"), EVENER_STATUS_OK);
    failing_memory_arm(1, false);
    f->resolver->vtable->start(f->resolver);
    (void)failing_memory_disarm();
    cr_assert_eq(f->sink.error_count, 1);
    cr_assert_eq(f->sink.error.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    virtual_loop_advance_ms(f->loop, 799);
    cr_assert_eq(read_count(&ns.entered), 0);
    failing_memory_arm(1, false);
    virtual_loop_advance_ms(f->loop, 401);
    (void)failing_memory_disarm();
    cr_assert_eq(f->sink.error_count, 2);
    evener_resolver_reset_backoff(f->resolver);
    virtual_loop_run_until_idle(f->loop);
    wait_for(&ns.entered, 1);
    arrive();
    cr_assert_str_eq(f->sink.addresses, "10.0.0.1:1");
}

/* ---- the end ---- */

/* The loop may be gone when the lookup ends: its thread frees what is left, and posts nothing. */
Test(native, closed_during_a_lookup)
{
    resolver_fixture_open(f, "native:a:1");
    wait_for(&ns.entered, 1);
    resolver_fixture_close(f);
    let(1);
    for (int i = 0; i < WAIT_MS_MAX && read_count(&ns.freed) == 0 && !virtual_loop_has_posted(f->loop); i++) {
        usleep(1000);
    }
    cr_assert_eq(read_count(&ns.freed), 1);
    cr_assert_not(virtual_loop_has_posted(f->loop));
    cr_assert_eq(f->sink.update_count, 0);
}

Test(native, closed_when_the_answer_is_on_its_way)
{
    resolver_fixture_open(f, "native:a:1");
    let(1);
    wait_for_answer();
    resolver_fixture_close(f);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(read_count(&ns.freed), 1);
    cr_assert_eq(f->sink.update_count, 0);
}

/* The process has at most 64 threads in lookups; a further resolver waits for one of them. */
Test(native, sixty_four_lookups_at_a_time)
{
    enum { MANY = 64 };
    resolver_fixture *all[MANY];
    for (size_t i = 0; i < MANY; i++) {
        all[i] = resolver_fixture_create();
        resolver_fixture_open(all[i], "native:a:1");
        wait_for(&ns.entered, i + 1);
    }
    resolver_fixture_open(f, "native:b:1");
    virtual_loop_advance_ms(f->loop, 4900);
    cr_assert_eq(read_count(&ns.entered), MANY);
    cr_assert_eq(f->sink.error_count, 0);
    virtual_loop_advance_ms(f->loop, 10000);
    cr_assert_eq(f->sink.error_count, 1, "reported once");
    cr_assert_eq(f->sink.error.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    let(MANY);
    for (size_t i = 0; i < MANY; i++) {
        for (int j = 0; j < WAIT_MS_MAX && !virtual_loop_has_posted(all[i]->loop); j++) {
            usleep(1000);
        }
        virtual_loop_run_until_idle(all[i]->loop);
        cr_assert_str_eq(all[i]->sink.addresses, "10.0.0.1:1");
    }
    virtual_loop_advance_ms(f->loop, 100);
    arrive();
    cr_assert_str_eq(f->sink.addresses, "10.0.0.1:1");
    for (size_t i = 0; i < MANY; i++) {
        resolver_fixture_destroy(all[i]);
    }
}

/* Look a name up in the child of a fork. Return whether an answer came. */
static bool answers_in_child(void)
{
    ns.allowed = SIZE_MAX; /* no lookup waits: the condition variable has waiters of the parent */
    resolver_fixture *own = resolver_fixture_create();
    resolver_fixture_open(own, "native:b:1");
    for (int i = 0; i < WAIT_MS_MAX && own->sink.update_count == 0; i++) {
        usleep(1000);
        virtual_loop_advance_ms(own->loop, 100);
    }
    return strcmp(own->sink.addresses, "10.0.0.1:1") == 0;
}

/* The parent's threads do not exist in the child of a fork, and take no places there. */
Test(native, a_child_of_a_fork_has_all_threads)
{
    enum { MANY = 64 };
    resolver_fixture *all[MANY];
    for (size_t i = 0; i < MANY; i++) {
        all[i] = resolver_fixture_create();
        resolver_fixture_open(all[i], "native:a:1");
        wait_for(&ns.entered, i + 1);
    }
    const pid_t child = fork();
    if (child == 0) {
        _exit(answers_in_child() ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    let(MANY);
    for (size_t i = 0; i < MANY; i++) {
        for (int j = 0; j < WAIT_MS_MAX && !virtual_loop_has_posted(all[i]->loop); j++) {
            usleep(1000);
        }
        resolver_fixture_destroy(all[i]);
    }
}
