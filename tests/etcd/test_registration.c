/* Registration of a server in a scripted etcd. */
#include <criterion/criterion.h>

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include <evener/call.h>
#include <evener/channel.h>
#include <evener/etcd.h>

#include "tests/support/fake_etcd.h"

#define ADDRESS "10.0.0.7:50051"
#define KEY "orders/10.0.0.7:50051"

typedef struct scene {
    fake_etcd *etcd;
    evener_runtime *runtime;
    char target[64];
    evener_etcd_registration_options options;
    evener_etcd_registration *registration;
    uint32_t registered, registering, removed; /* atomic: reports of each state */
    char last[EVENER_STATUS_MESSAGE_BYTES];
} scene;

static void changed(void *arg, evener_etcd_state state, const evener_status *status)
{
    scene *s = arg;
    if (state == EVENER_ETCD_REGISTERING) {
        snprintf(s->last, sizeof s->last, "%s", status->message);
    }
    uint32_t *count = state == EVENER_ETCD_REGISTERED ? &s->registered
                      : state == EVENER_ETCD_REMOVED  ? &s->removed
                                                      : &s->registering;
    (void)__atomic_add_fetch(count, 1, __ATOMIC_RELEASE); /* pairs with the acquire in wait_for() */
}

/* Wait, 20 s at most. */
static bool wait_for(const uint32_t *count, uint32_t wanted)
{
    for (int i = 0; i < 20000 && __atomic_load_n(count, __ATOMIC_ACQUIRE) < wanted; i++) {
        usleep(1000);
    }
    return __atomic_load_n(count, __ATOMIC_ACQUIRE) >= wanted;
}

static scene *scene_create(void)
{
    scene *s = calloc(1, sizeof *s);
    evener_status status;
    s->etcd = fake_etcd_start();
    cr_assert_eq(evener_runtime_create(NULL, &s->runtime, &status), EVENER_STATUS_OK);
    snprintf(s->target, sizeof s->target, "etcd://127.0.0.1:%u/orders", fake_etcd_port(s->etcd));
    s->options = (evener_etcd_registration_options){.size = sizeof s->options,
                                                    .runtime = s->runtime,
                                                    .target = s->target,
                                                    .address = ADDRESS,
                                                    .ttl_s = 3,
                                                    .changed = changed,
                                                    .arg = s};
    return s;
}

static void scene_register(scene *s)
{
    evener_status status;
    cr_assert_eq(evener_etcd_register(&s->options, &s->registration, &status), EVENER_STATUS_OK, "%s", status.message);
}

static void scene_destroy(scene *s)
{
    evener_runtime_unref(s->runtime);
    fake_etcd_stop(s->etcd);
    free(s);
}

static void unregister(scene *s)
{
    evener_status status;
    cr_expect_eq(evener_etcd_unregister(s->registration, 20000, &status), EVENER_STATUS_OK, "%s", status.message);
}

Test(registration, puts_a_key_keeps_it_alive_and_removes_it)
{
    scene *s = scene_create();
    char value[256];
    const evener_attribute attributes[] = {{"weight", "3"}, {"zone", "a"}};
    s->options.attributes = attributes;
    s->options.attribute_count = 2;
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    cr_expect_eq(evener_etcd_registration_state(s->registration), EVENER_ETCD_REGISTERED);
    cr_expect_str_eq(evener_etcd_registration_key(s->registration), KEY);
    cr_assert(fake_etcd_get(s->etcd, KEY, value, sizeof value));
    cr_expect_str_eq(value, "{\"Op\":0,\"Addr\":\"10.0.0.7:50051\",\"Metadata\":{\"weight\":3,\"zone\":\"a\"}}");
    cr_expect(fake_etcd_wait(s->etcd, FAKE_ETCD_KEEP_ALIVES, 3));
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_GRANTS), 1);
    unregister(s);
    cr_expect_not(fake_etcd_get(s->etcd, KEY, value, sizeof value));
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_REVOKES), 1);
    cr_expect_eq(s->removed, 1);
    scene_destroy(s);
}

Test(registration, a_lost_lease_is_replaced)
{
    scene *s = scene_create();
    char value[256];
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    fake_etcd_expire_lease(s->etcd, 0);
    cr_assert(wait_for(&s->registered, 2));
    cr_expect(fake_etcd_get(s->etcd, KEY, value, sizeof value));
    unregister(s);
    scene_destroy(s);
}

Test(registration, a_failed_put_is_tried_again_with_the_same_lease)
{
    scene *s = scene_create();
    fake_etcd_fail(s->etcd, "Put", 2, EVENER_STATUS_UNAVAILABLE, "no leader");
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_GRANTS), 1);
    unregister(s);
    scene_destroy(s);
}

Test(registration, a_put_whose_lease_is_gone_gets_another_one)
{
    scene *s = scene_create();
    fake_etcd_fail(s->etcd, "Put", 1, EVENER_STATUS_NOT_FOUND, "etcdserver: requested lease not found");
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_GRANTS), 2);
    unregister(s);
    scene_destroy(s);
}

Test(registration, a_deleted_key_is_put_again)
{
    scene *s = scene_create();
    char value[256];
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    fake_etcd_delete(s->etcd, KEY);
    cr_assert(wait_for(&s->registered, 2));
    cr_expect(fake_etcd_get(s->etcd, KEY, value, sizeof value));
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_GRANTS), 1);
    unregister(s);
    scene_destroy(s);
}

Test(registration, lost_connections_lose_no_lease)
{
    scene *s = scene_create();
    s->options.ttl_s = 10;
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    for (uint64_t i = 1; i < 4; i++) {
        cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_KEEP_ALIVES, i));
        fake_etcd_hang_up(s->etcd);
    }
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_KEEP_ALIVES, 4));
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_GRANTS), 1);
    unregister(s);
    scene_destroy(s);
}

/* A member that is frozen closes no connection: the keep-alives go to another one while the lease lives. */
Test(registration, a_silent_member_loses_no_lease)
{
    scene *s = scene_create();
    s->options.ttl_s = 10;
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_KEEP_ALIVES, 1));
    fake_etcd_freeze_streams(s->etcd);
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_KEEP_ALIVES, 5)); /* longer than the TTL */
    cr_expect_eq(fake_etcd_count_of(s->etcd, FAKE_ETCD_GRANTS), 1);
    cr_expect_eq(__atomic_load_n(&s->registering, __ATOMIC_ACQUIRE), 0, "%s", s->last);
    unregister(s);
    scene_destroy(s);
}

Test(registration, an_etcd_that_is_down_is_reported_and_overcome)
{
    scene *s = scene_create();
    fake_etcd_set_down(s->etcd, true);
    scene_register(s);
    cr_assert(wait_for(&s->registering, 2));
    cr_expect_null(evener_etcd_registration_key(s->registration));
    fake_etcd_set_down(s->etcd, false);
    cr_assert(wait_for(&s->registered, 1));
    fake_etcd_set_down(s->etcd, true); /* longer than the lease */
    const uint32_t before = __atomic_load_n(&s->registering, __ATOMIC_ACQUIRE);
    cr_assert(wait_for(&s->registering, before + 1));
    fake_etcd_set_down(s->etcd, false);
    cr_assert(wait_for(&s->registered, 2));
    unregister(s);
    scene_destroy(s);
}

Test(registration, unregistering_while_etcd_is_down_ends_and_says_so)
{
    scene *s = scene_create();
    evener_status status;
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    fake_etcd_set_down(s->etcd, true);
    cr_expect_neq(evener_etcd_unregister(s->registration, 200, &status), EVENER_STATUS_OK);
    cr_expect_neq(status.message[0], '\0');
    scene_destroy(s);
}

Test(registration, unregistering_ends_in_time_and_says_why_the_entry_may_stay)
{
    scene *s = scene_create();
    evener_status status;
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    fake_etcd_fail(s->etcd, "LeaseRevoke", 1, FAKE_ETCD_SILENT, "");
    cr_expect_eq(evener_etcd_unregister(s->registration, 100, &status), EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(status.message, "the entry may stay until its lease ends, after 3 s"), "%s",
                       status.message);
    cr_expect_eq(s->removed, 1, "nothing is reported later");
    scene_destroy(s);
}

/* Callbacks of the program may hold all call threads for as long as they want. */
static void hold_call_thread(void *arg, const evener_status *status, evener_bytes *response)
{
    (void)status, (void)response;
    uint32_t *counts = arg; /* held, may_go_on, gone */
    (void)__atomic_add_fetch(&counts[0], 1, __ATOMIC_RELEASE);
    (void)wait_for(&counts[1], 1);
    (void)__atomic_add_fetch(&counts[2], 1, __ATOMIC_RELEASE);
}

Test(registration, needs_no_call_thread)
{
    scene *s = scene_create();
    uint32_t counts[3] = {0};
    evener_status status;
    evener_channel *channel = NULL;
    evener_credentials *insecure = NULL;
    char target[64];
    (void)snprintf(target, sizeof target, "static:127.0.0.1:%u", fake_etcd_port(s->etcd));
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s->runtime,
                                            .credentials = insecure,
                                            .transport_name = "http2",
                                            .callbacks_on_call_threads = true};
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    for (int i = 0; i < 8; i++) { /* more than there are call threads */
        cr_assert_eq(evener_call_start(channel, "/x.Y/Z", NULL, NULL, hold_call_thread, counts, NULL, &status),
                     EVENER_STATUS_OK, "%s", status.message);
    }
    cr_assert(wait_for(counts, 2));
    scene_register(s);
    cr_expect(wait_for(&s->registered, 1));
    unregister(s);
    __atomic_store_n(&counts[1], 1, __ATOMIC_RELEASE);
    cr_expect(wait_for(&counts[2], 8));
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    scene_destroy(s);
}

Test(registration, unregistering_at_any_moment_leaves_nothing)
{
    for (unsigned i = 0; i < 40; i++) {
        scene *s = scene_create();
        char key[64];
        scene_register(s);
        usleep(i * 200);
        unregister(s);
        cr_expect_not(fake_etcd_find(s->etcd, "orders/", key, sizeof key), "%u: %s", i, key);
        scene_destroy(s);
    }
}

Test(registration, in_a_forked_child_the_parents_registration_stays)
{
    scene *s = scene_create();
    char value[256];
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    const pid_t child = fork();
    if (child == 0) {
        evener_status status;
        alarm(20);
        _exit(evener_etcd_unregister(s->registration, 100, &status) == EVENER_STATUS_FAILED_PRECONDITION ? 0 : 1);
    }
    int result = -1;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_expect_eq(result, 0, "%#x", (unsigned)result);
    cr_expect(fake_etcd_get(s->etcd, KEY, value, sizeof value));
    unregister(s);
    scene_destroy(s);
}

Test(registration, a_user_is_authenticated)
{
    scene *s = scene_create();
    const evener_attribute options[] = {{"etcd.user", "writer"}, {"etcd.password", "secret"}};
    fake_etcd_set_user(s->etcd, "writer", "secret");
    s->options.resolver_options = options;
    s->options.resolver_option_count = 2;
    scene_register(s);
    cr_assert(wait_for(&s->registered, 1));
    fake_etcd_expire_tokens(s->etcd);
    cr_assert(fake_etcd_wait(s->etcd, FAKE_ETCD_AUTHENTICATIONS, 2));
    unregister(s);
    scene_destroy(s);
}

Test(registration, unregistering_does_not_wait_for_a_token)
{
    scene *s = scene_create();
    const evener_attribute options[] = {{"etcd.user", "writer"}, {"etcd.password", "secret"}};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    const int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* connects and never answers */
    cr_assert_eq(bind(silent, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(silent, 8), 0);
    cr_assert_eq(getsockname(silent, (struct sockaddr *)&address, &bytes), 0);
    snprintf(s->target, sizeof s->target, "etcd://127.0.0.1:%u/orders", ntohs(address.sin_port));
    s->options.resolver_options = options;
    s->options.resolver_option_count = 2;
    scene_register(s);
    usleep(100000); /* until the operation waits for the token */
    struct timespec before, after;
    evener_status status;
    clock_gettime(CLOCK_MONOTONIC, &before);
    (void)evener_etcd_unregister(s->registration, 100, &status);
    clock_gettime(CLOCK_MONOTONIC, &after);
    cr_expect_lt(after.tv_sec - before.tv_sec, 3, "it took %ld s", (long)(after.tv_sec - before.tv_sec));
    close(silent);
    scene_destroy(s);
}

typedef struct unregistering {
    evener_etcd_registration *registration;
    uint32_t has_registered, has_ended, may_go_on; /* atomic */
    bool has_returned;
} unregistering;

/* Let the thread that unregisters wait. */
static void hold_up(void *arg, evener_etcd_state state, const evener_status *status)
{
    unregistering *u = arg;
    (void)status;
    if (state == EVENER_ETCD_REGISTERED) {
        __atomic_store_n(&u->has_registered, 1, __ATOMIC_RELEASE);
    } else if (state == EVENER_ETCD_REMOVED) {
        __atomic_store_n(&u->has_ended, 1, __ATOMIC_RELEASE);
        (void)wait_for(&u->may_go_on, 1);
    }
}

static void *unregister_and_end(void *arg)
{
    unregistering *u = arg;
    (void)evener_etcd_unregister(u->registration, 60000, NULL);
    u->has_returned = true;
#ifdef __SANITIZE_ADDRESS__
    __asan_handle_no_return(); /* gcc 12's AddressSanitizer does not unpoison the stack that a cancelled thread leaves */
#endif
    while (true) { /* the cancellation may come late */
        pause();
    }
    return NULL;
}

Test(registration, a_thread_that_is_cancelled_unregisters_first)
{
    scene *s = scene_create();
    unregistering u = {.has_returned = false};
    pthread_t thread;
    void *result = NULL;
    s->options.changed = hold_up;
    s->options.arg = &u;
    scene_register(s);
    u.registration = s->registration;
    cr_assert(wait_for(&u.has_registered, 1));
    cr_assert_eq(pthread_create(&thread, NULL, unregister_and_end, &u), 0);
    cr_assert(wait_for(&u.has_ended, 1));
    cr_assert_eq(pthread_cancel(thread), 0);
    usleep(20000); /* in which it would end */
    __atomic_store_n(&u.may_go_on, 1, __ATOMIC_RELEASE);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_expect_eq(result, PTHREAD_CANCELED);
    cr_assert(u.has_returned);
    scene_destroy(s);
}

Test(registration, each_layout_is_written_as_its_programs_do)
{
    static const struct {
        const char *layout, *id, *key, *value;
    } cases[] = {
        {"naming", NULL, KEY, "{\"Op\":0,\"Addr\":\"10.0.0.7:50051\",\"Metadata\":null}"},
        {"naming", "me", "orders/me", "{\"Op\":0,\"Addr\":\"10.0.0.7:50051\",\"Metadata\":null}"},
        {"go-zero", NULL, "orders/4097", ADDRESS},
        {"kratos", "me", "/microservices/orders/me",
         "{\"id\":\"me\",\"name\":\"orders\",\"version\":\"\",\"metadata\":{},\"endpoints\":[\"grpc://"
         "10.0.0.7:50051\"]}"},
        {"plain", NULL, KEY, ADDRESS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene *s = scene_create();
        char value[256];
        const evener_attribute option = {"etcd.layout", cases[i].layout};
        s->options.resolver_options = &option;
        s->options.resolver_option_count = 1;
        s->options.id = cases[i].id;
        scene_register(s);
        cr_assert(wait_for(&s->registered, 1));
        cr_assert(fake_etcd_get(s->etcd, cases[i].key, value, sizeof value), "%s", cases[i].key);
        cr_expect_str_eq(value, cases[i].value);
        unregister(s);
        scene_destroy(s);
    }
}

Test(registration, wrong_options_are_refused_by_name)
{
    scene *s = scene_create();
    const evener_etcd_registration_options good = s->options;
    evener_status status;
    const struct {
        const char *target, *address, *id;
        uint64_t ttl_s;
        const char *part;
    } cases[] = {
        {NULL, ADDRESS, NULL, 0, "target"},
        {s->target, NULL, NULL, 0, "address"},
        {s->target, "orders.prod:80", NULL, 0, "address"},
        {s->target, ADDRESS, "a/b", 0, "id"},
        {s->target, ADDRESS, NULL, 3601, "ttl_s"},
        {"dns:///orders", ADDRESS, NULL, 0, "etcd://"},
        {"etcd:///orders", ADDRESS, NULL, 0, "members"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s->options = good;
        s->options.target = cases[i].target;
        s->options.address = cases[i].address;
        s->options.id = cases[i].id;
        s->options.ttl_s = cases[i].ttl_s;
        cr_expect_eq(evener_etcd_register(&s->options, &s->registration, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_not_null(strstr(status.message, cases[i].part), "%s", status.message);
    }
    s->options = good;
    s->options.attribute_count = 1;
    cr_expect_eq(evener_etcd_register(&s->options, &s->registration, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "attributes is NULL"), "%s", status.message);
    s->options = good;
    s->options.resolver_option_count = 1;
    cr_expect_eq(evener_etcd_register(&s->options, &s->registration, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "resolver_options is NULL"), "%s", status.message);
    const evener_attribute latin = {"zone", "caf\xe9"};
    s->options = good;
    s->options.attributes = &latin;
    s->options.attribute_count = 1;
    cr_expect_eq(evener_etcd_register(&s->options, &s->registration, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "UTF-8"), "%s", status.message);
    scene_destroy(s);
}
