#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <evener/runtime.h>

#include "lb/runtime/rcu.h"
#include "lb/runtime/reclaim.h"
#include "lb/runtime/runtime_internal.h"
#include "tests/support/virtual_loop.h"

static size_t threads_of_process(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    cr_assert_not_null(tasks);
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        count += entry->d_name[0] != '.';
    }
    closedir(tasks);
    return count;
}

/* Return how many threads of the process have this name, or one that begins so. */
static size_t threads_named(const char *name, bool begins_so)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    cr_assert_not_null(tasks);
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        char path[300], text[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "re") : NULL; /* NULL too: a thread that has just ended */
        if (file != NULL) {
            count += fgets(text, sizeof text, file) != NULL && (begins_so || strcspn(text, "\n") == strlen(name)) &&
                     strncmp(text, name, strlen(name)) == 0;
            (void)fclose(file);
        }
    }
    closedir(tasks);
    return count;
}

/* Wait until the process has only `expected` threads. A thread's /proc entry disappears shortly after the thread has
 * ended, also that of a test framework thread. */
static void expect_threads(size_t expected)
{
    while (threads_of_process() > expected) { /* ctest's timeout ends an endless loop */
        sched_yield();
    }
}

static evener_runtime *create(void)
{
    evener_runtime *runtime = NULL;
    evener_status status;
    cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK, "%s", status.message);
    return runtime;
}

static evener_runtime *create_on(virtual_loop *loop)
{
    const evener_runtime_options options = {.size = sizeof(options), .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime = NULL;
    evener_status status;
    cr_assert_eq(evener_runtime_create(&options, &runtime, &status), EVENER_STATUS_OK, "%s", status.message);
    return runtime;
}

static void add_one(void *arg)
{
    ++*(int *)arg;
}

/* ---- create, ref, unref ---- */

Test(runtime, leaves_no_thread_behind_in_a_thousand_lives)
{
    const size_t before = threads_of_process();
    for (int i = 0; i < 1000; i++) {
        evener_runtime *runtime = create();
        if (i % 2 == 0) {
            int ran = 0;
            evener_runtime_call(runtime, add_one, &ran);
            cr_assert_eq(ran, 1);
        }
        evener_runtime_unref(runtime);
    }
    expect_threads(before);
}

Test(runtime, unref_accepts_null)
{
    evener_runtime_unref(NULL);
}

Test(runtime, lives_until_the_last_reference)
{
    evener_runtime *runtime = create();
    cr_assert_eq(evener_runtime_ref(runtime), runtime);
    evener_runtime_unref(runtime);
    int ran = 0;
    evener_runtime_call(runtime, add_one, &ran);
    cr_assert_eq(ran, 1);
    evener_runtime_unref(runtime);
}

Test(runtime, options_of_an_older_program_are_shorter)
{
    const evener_runtime_options options = {.size = sizeof(size_t), .thread_name = "not read"};
    evener_runtime *runtime = NULL;
    cr_assert_eq(evener_runtime_create(&options, &runtime, NULL), EVENER_STATUS_OK);
    evener_runtime_unref(runtime);
}

Test(runtime, options_without_a_size_are_refused)
{
    const evener_runtime_options options = {.thread_name = "sizeless"};
    evener_runtime *runtime = NULL;
    evener_status status;
    cr_assert_eq(evener_runtime_create(&options, &runtime, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_null(runtime);
    cr_assert_not_null(strstr(status.message, "size"));
}

Test(runtime, without_file_descriptors_says_so_and_leaves_nothing_behind)
{
    const size_t before = threads_of_process();
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t usual = limit.rlim_cur;
    /* Raise the limit until it suffices. */
    bool succeeded = false;
    size_t failures = 0;
    for (rlim_t descriptors = 1; !succeeded; descriptors++) {
        limit.rlim_cur = descriptors;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        evener_runtime *runtime = NULL;
        evener_status status = {0};
        succeeded = evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK;
        if (succeeded) {
            evener_runtime_unref(runtime);
        } else {
            failures++;
            cr_assert_null(runtime);
            cr_assert_eq(status.code, EVENER_STATUS_INTERNAL);
            cr_assert_not_null(strstr(status.message, "ulimit -n"), "%s", status.message);
        }
    }
    limit.rlim_cur = usual;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_gt(failures, 1);
    expect_threads(before);
}

static void unref_here(void *arg)
{
    evener_runtime_unref(arg);
}

Test(runtime, the_last_reference_may_go_on_the_control_thread)
{
    const size_t before = threads_of_process();
    for (int i = 0; i < 100; i++) {
        evener_runtime *runtime = create();
        evener_task task = EVENER_TASK_INIT(unref_here, runtime);
        evener_loop_post(evener_runtime_loop(runtime), &task);
        expect_threads(before);
    }
}

/* ---- the control thread ---- */

typedef struct seen {
    evener_runtime *runtime;
    char name[16];
    bool on_control_thread;
    bool at_once;
    sigset_t signals;
} seen;

static void look(void *arg)
{
    seen *s = arg;
    s->on_control_thread = evener_loop_on_control_thread(evener_runtime_loop(s->runtime));
    pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
    pthread_sigmask(SIG_BLOCK, NULL, &s->signals);
}

Test(runtime, the_control_thread_has_a_name_and_no_signals)
{
    const evener_runtime_options options = {.size = sizeof(options), .thread_name = "a-name-longer-than-15"};
    evener_runtime *runtime = NULL;
    cr_assert_eq(evener_runtime_create(&options, &runtime, NULL), EVENER_STATUS_OK);
    seen s = {.runtime = runtime};
    cr_assert_not(evener_loop_on_control_thread(evener_runtime_loop(runtime)));
    /* The creator sets the name, maybe after the thread's first instructions but before create returns. */
    evener_runtime_call(runtime, look, &s);
    cr_assert(s.on_control_thread);
    cr_assert_str_eq(s.name, "a-name-longer-t");
    cr_assert(sigismember(&s.signals, SIGTERM));
    cr_assert(sigismember(&s.signals, SIGUSR1));
    sigset_t mine;
    pthread_sigmask(SIG_BLOCK, NULL, &mine);
    cr_assert_not(sigismember(&mine, SIGUSR1), "the creator's own mask is as before");
    evener_runtime_unref(runtime);
}

static void call_again(void *arg)
{
    seen *s = arg;
    s->on_control_thread = false;
    evener_runtime_call(s->runtime, look, s);
    s->at_once = s->on_control_thread;
}

Test(runtime, call_on_the_control_thread_runs_at_once)
{
    evener_runtime *runtime = create();
    seen s = {.runtime = runtime};
    evener_runtime_call(runtime, call_again, &s);
    cr_assert(s.at_once, "it had run when the inner call returned");
    evener_runtime_unref(runtime);
}

Test(runtime, call_on_a_caller_s_loop_runs_at_once)
{
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtime = create_on(loop);
    cr_assert_eq(evener_runtime_loop(runtime), virtual_loop_loop(loop));
    int ran = 0;
    evener_runtime_call(runtime, add_one, &ran);
    cr_assert_eq(ran, 1);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}

Test(runtime, what_is_posted_before_the_end_runs)
{
    evener_runtime *runtime = create();
    int ran = 0;
    evener_task task = EVENER_TASK_INIT(add_one, &ran);
    evener_loop_post(evener_runtime_loop(runtime), &task);
    evener_runtime_unref(runtime);
    cr_assert_eq(ran, 1);
}

/* ---- the default ---- */

Test(runtime, the_default_is_one_until_its_last_reference)
{
    const size_t before = threads_of_process();
    evener_runtime *first = NULL;
    evener_runtime *second = NULL;
    cr_assert_eq(evener_runtime_default(&first, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_runtime_default(&second, NULL), EVENER_STATUS_OK);
    cr_assert_eq(first, second);
    evener_runtime_unref(first);
    int ran = 0;
    evener_runtime_call(second, add_one, &ran);
    cr_assert_eq(ran, 1);
    evener_runtime_unref(second);
    expect_threads(before);
    cr_assert_eq(evener_runtime_default(&first, NULL), EVENER_STATUS_OK, "another one");
    evener_runtime_call(first, add_one, &ran);
    evener_runtime_unref(first);
}

/* ---- shared objects ---- */

static struct {
    char order[8];
    size_t length;
    int created;
    bool fail;
    bool destroyed_on_control_thread;
    evener_runtime *runtime;
} history;

static void *make_a(evener_runtime *runtime, evener_status *status)
{
    history.runtime = runtime;
    if (history.fail) {
        evener_status_set(status, EVENER_STATUS_INTERNAL, "a is out of order");
        return NULL;
    }
    history.created++;
    return &history.created;
}

static void end_a(void *object)
{
    (void)object;
    history.order[history.length++] = 'a';
    history.destroyed_on_control_thread = evener_loop_on_control_thread(evener_runtime_loop(history.runtime));
}

static const evener_shared_key key_a = {.name = "a", .create = make_a, .destroy = end_a};

static void *make_b(evener_runtime *runtime, evener_status *status)
{
    return evener_runtime_shared(runtime, &key_a, status) != NULL ? &history.length : NULL;
}

static void end_b(void *object)
{
    (void)object;
    history.order[history.length++] = 'b';
}

static const evener_shared_key key_b = {.name = "b", .create = make_b, .destroy = end_b};

static void use_shared(void *arg)
{
    evener_runtime *runtime = arg;
    evener_status status = {0};
    history.fail = true;
    cr_assert_null(evener_runtime_shared(runtime, &key_a, &status));
    cr_assert_str_eq(status.message, "a is out of order");
    history.fail = false;
    void *b = evener_runtime_shared(runtime, &key_b, &status);
    cr_assert_eq(b, &history.length);
    cr_assert_eq(evener_runtime_shared(runtime, &key_b, &status), b);
    cr_assert_eq(evener_runtime_shared(runtime, &key_a, &status), &history.created);
    cr_assert_eq(history.created, 1);
}

Test(runtime, shared_objects_are_made_once_and_go_in_reverse_order_on_the_control_thread)
{
    evener_runtime *runtime = create();
    evener_runtime_call(runtime, use_shared, runtime);
    cr_assert_str_eq(history.order, "");
    evener_runtime_unref(runtime);
    cr_assert_str_eq(history.order, "ba", "b was made with the help of a");
    cr_assert(history.destroyed_on_control_thread);
}

Test(runtime, shared_objects_on_a_caller_s_loop_go_with_the_last_reference)
{
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtime = create_on(loop);
    use_shared(runtime);
    evener_runtime_unref(runtime);
    cr_assert_str_eq(history.order, "ba");
    virtual_loop_destroy(loop);
}

/* A shared object with its own thread, which drops the last reference. */
static struct {
    pthread_t thread;
    evener_runtime *runtime;
} worker;

static void *worker_main(void *arg)
{
    evener_runtime_adopt_thread(arg);
    evener_runtime_unref(arg);
    return NULL;
}

static void *make_worker(evener_runtime *runtime, evener_status *status)
{
    (void)status;
    cr_assert_eq(pthread_create(&worker.thread, NULL, worker_main, runtime), 0);
    return &worker;
}

static void end_worker(void *object)
{
    cr_assert_eq(object, &worker);
    cr_assert_eq(pthread_join(worker.thread, NULL), 0);
}

static const evener_shared_key key_worker = {.name = "worker", .create = make_worker, .destroy = end_worker};

static void use_worker(void *arg)
{
    evener_runtime *runtime = arg;
    cr_assert_not_null(evener_runtime_shared(runtime, &key_worker, NULL));
    evener_runtime_unref(runtime);
}

Test(runtime, a_thread_that_the_end_joins_may_give_the_last_reference_back)
{
    const size_t before = threads_of_process();
    for (int i = 0; i < 100; i++) {
        evener_runtime *runtime = evener_runtime_ref(create());
        evener_task task = EVENER_TASK_INIT(use_worker, runtime);
        evener_loop_post(evener_runtime_loop(runtime), &task);
        expect_threads(before);
    }
}

/* ---- reclaim ---- */

typedef struct thing {
    evener_reclaim reclaim;
    evener_runtime *runtime;
    int *ended;
    int again; /* how many more times it is reclaimed when it runs */
    bool unref_runtime;
} thing;

static void thing_end(void *arg)
{
    thing *t = arg;
    ++*t->ended;
    if (t->again-- > 0) {
        evener_runtime_reclaim(t->runtime, &t->reclaim);
        return;
    }
    if (t->unref_runtime) {
        evener_runtime_unref(t->runtime);
    }
    free(t);
}

static thing *thing_create(evener_runtime *runtime, int *ended)
{
    thing *t = calloc(1, sizeof(*t));
    cr_assert_not_null(t);
    t->reclaim = (evener_reclaim){thing_end, t, NULL};
    t->runtime = runtime;
    t->ended = ended;
    return t;
}

static void reclaim_thing(void *arg)
{
    thing *t = arg;
    evener_runtime_reclaim(t->runtime, &t->reclaim);
}

Test(reclaim, waits_for_the_readers_that_are_inside)
{
    evener_runtime *runtime = create();
    int ended = 0;
    evener_rcu_read_lock();
    evener_runtime_call(runtime, reclaim_thing, thing_create(runtime, &ended));
    for (int i = 0; i < 10; i++) {
        int ran = 0;
        evener_runtime_call(runtime, add_one, &ran); /* the control thread is not blocked meanwhile */
        cr_assert_eq(ran, 1);
        cr_assert_eq(ended, 0);
    }
    evener_rcu_read_unlock();
    evener_runtime_unref(runtime);
    cr_assert_eq(ended, 1);
}

typedef struct ended_query {
    const int *ended;
    int value;
} ended_query;

static void read_ended(void *arg)
{
    ended_query *query = arg;
    query->value = *query->ended;
}

typedef struct hurried {
    thing *first;
    size_t threads_before, threads_after;
} hurried;

static void reclaim_in_a_hurry(void *arg)
{
    hurried *h = arg;
    reclaim_thing(h->first);
    h->threads_before = threads_named("hasty", true);
    evener_runtime_reclaim_hurry(h->first->runtime);
    h->threads_after = threads_named("hasty", true); /* it has its creator's name until it sets its own */
}

/* The end of a channel waits for what it gave up before. */
Test(reclaim, its_thread_is_started_at_once_when_somebody_waits)
{
    const evener_runtime_options options = {.size = sizeof options, .thread_name = "hasty"};
    evener_runtime *runtime = NULL;
    evener_status status;
    cr_assert_eq(evener_runtime_create(&options, &runtime, &status), EVENER_STATUS_OK, "%s", status.message);
    int ended = 0;
    hurried h = {.first = thing_create(runtime, &ended)};
    evener_runtime_call(runtime, reclaim_in_a_hurry, &h);
    cr_assert_eq(h.threads_before, 1);
    cr_assert_eq(h.threads_after, 2);
    evener_runtime_unref(runtime);
    cr_assert_eq(ended, 1);
}

Test(reclaim, its_thread_is_started_for_the_first_item)
{
    const evener_runtime_options options = {.size = sizeof options, .thread_name = "lazy"};
    evener_runtime *runtimes[8];
    evener_status status;
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(evener_runtime_create(&options, &runtimes[i], &status), EVENER_STATUS_OK, "%s", status.message);
        int ran = 0;
        evener_runtime_call(runtimes[i], add_one, &ran);
    }
    cr_assert_eq(threads_named("lazy", false), 8);
    cr_assert_eq(threads_named("lazy-rcu", false), 0);
    int ended = 0;
    evener_runtime_call(runtimes[0], reclaim_thing, thing_create(runtimes[0], &ended));
    ended_query query = {.ended = &ended};
    while (query.value == 0) { /* ctest's timeout ends an endless loop */
        evener_runtime_call(runtimes[0], read_ended, &query);
    }
    cr_assert_eq(threads_named("lazy-rcu", false), 1);
    for (size_t i = 0; i < 8; i++) {
        evener_runtime_unref(runtimes[i]);
    }
}

static void reclaim_unread_thing(void *arg)
{
    thing *t = arg;
    evener_runtime_reclaim_unread(t->runtime, &t->reclaim);
}

Test(reclaim, what_nobody_reads_waits_for_no_reader)
{
    evener_runtime *runtime = create();
    int ended = 0, ran = 0;
    evener_rcu_read_lock();
    evener_runtime_call(runtime, reclaim_unread_thing, thing_create(runtime, &ended));
    evener_runtime_call(runtime, reclaim_unread_thing, thing_create(runtime, &ended));
    evener_runtime_call(runtime, add_one, &ran); /* posted after them */
    cr_assert_eq(ended, 2);
    evener_rcu_read_unlock();
    evener_runtime_unref(runtime);
}

Test(reclaim, on_a_caller_s_loop_the_end_waits_for_what_nobody_reads)
{
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtime = create_on(loop);
    use_shared(runtime);
    int ended = 0;
    reclaim_unread_thing(thing_create(runtime, &ended));
    evener_runtime_unref(runtime);
    cr_assert_eq(ended, 0);
    cr_assert_str_eq(history.order, "");
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(ended, 1);
    cr_assert_str_eq(history.order, "ba");
    virtual_loop_destroy(loop);
}

Test(reclaim, everything_has_run_when_the_runtime_has_ended)
{
    for (int i = 0; i < 100; i++) {
        evener_runtime *runtime = create();
        int ended = 0;
        for (int n = 0; n < 5; n++) {
            thing *t = thing_create(runtime, &ended);
            t->again = n;
            evener_runtime_call(runtime, reclaim_thing, t);
        }
        evener_runtime_unref(runtime);
        cr_assert_eq(ended, 15);
    }
}

Test(reclaim, on_a_caller_s_loop_runs_in_a_posted_task)
{
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtime = create_on(loop);
    const size_t threads = threads_of_process();
    int ended = 0;
    reclaim_thing(thing_create(runtime, &ended));
    reclaim_thing(thing_create(runtime, &ended));
    cr_assert_eq(ended, 0);
    cr_assert_eq(virtual_loop_run_until_idle(loop), 1, "one grace period for the batch");
    cr_assert_eq(ended, 2);
    cr_assert_eq(threads_of_process(), threads);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}

Test(reclaim, on_a_caller_s_loop_the_end_waits_for_what_is_reclaimed)
{
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtime = create_on(loop);
    use_shared(runtime);
    int ended = 0;
    thing *t = thing_create(runtime, &ended);
    t->again = 2;
    reclaim_thing(t);
    evener_runtime_unref(runtime);
    cr_assert_eq(ended, 0);
    cr_assert_str_eq(history.order, "");
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(ended, 3);
    cr_assert_str_eq(history.order, "ba");
    virtual_loop_destroy(loop);
}

Test(reclaim, an_item_may_give_back_the_last_reference)
{
    const size_t threads = threads_of_process();
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtimes[] = {create_on(loop), create()};
    for (size_t i = 0; i < 2; i++) {
        int ended = 0;
        thing *t = thing_create(runtimes[i], &ended);
        t->unref_runtime = true;
        thing *later = thing_create(runtimes[i], &ended);
        if (i == 0) {
            reclaim_thing(t);
            reclaim_thing(later);
            virtual_loop_run_until_idle(loop);
        } else {
            evener_task first = EVENER_TASK_INIT(reclaim_thing, t);
            evener_task second = EVENER_TASK_INIT(reclaim_thing, later);
            evener_loop *own = evener_runtime_loop(runtimes[i]);
            evener_runtime_ref(runtimes[i]);
            evener_loop_post(own, &first);
            evener_loop_post(own, &second);
            evener_runtime_unref(runtimes[i]);
            expect_threads(threads);
        }
        cr_assert_eq(ended, 2);
    }
    virtual_loop_destroy(loop);
}

/* ---- a fork ---- */

/* The child may ask for the age of the parent's runtime, and for nothing else of it. */
Test(runtime, a_child_is_cut_off_from_its_parents)
{
    virtual_loop *loop = virtual_loop_create(1);
    const evener_runtime_options options = {.size = sizeof options, .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime = NULL;
    cr_assert_eq(evener_runtime_create(&options, &runtime, NULL), EVENER_STATUS_OK);
    cr_expect_not(evener_runtime_is_older_than_fork(runtime));
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        _exit(evener_runtime_is_older_than_fork(runtime) ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
    cr_expect_eq(WEXITSTATUS(status), 0);
    cr_expect_not(evener_runtime_is_older_than_fork(runtime), "for the parent nothing has changed");
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}
