/* `native:host[:port]` - the addresses that getaddrinfo() of the C library finds: by NSS, so mDNS, NIS, containers'
 * names and whatever nsswitch.conf says. It blocks, so each lookup runs on a thread of its own, and it gives no TTL:
 * the name is asked for again every "native.refresh_ms".
 *
 * A lookup that is in flight when the resolver is closed cannot be ended; it is abandoned, and its thread frees it. */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <evener/backoff.h>
#include <evener/resolver.h>

#include "lb/base/c_locale.h"
#include "lb/base/fork.h"
#include "resolver/builtin.h"
#include "resolver/list.h"

#define REFRESH_MS 30000
#define REFRESH_MS_MIN 1000
#define REFRESH_MS_MAX 86400000
#define RESOLVE_NOW_MS 5000 /* between lookups that hints ask for */
#define THREADS_MAX 64      /* of the process */
#define THREADS_AGAIN_MS 100
#define CROWDED_MS 5000 /* without a free thread, before that is reported */
#define HOST_BYTES 256

struct native;

/* One lookup. Shared by its thread and the control thread. */
struct job {
    pthread_mutex_t lock;
    bool abandoned; /* under the lock: the resolver is closed, and its loop must not be used */
    bool posted;    /* under the lock */
    evener_loop *loop;
    evener_task task;
    struct native *native; /* control thread; NULL: closed */
    char host[HOST_BYTES];
    int result; /* of getaddrinfo() */
    struct addrinfo *found;
};

/* `base` is the first member. */
struct native {
    evener_resolver base;
    evener_resolver_sink *sink;
    evener_loop *loop;
    char host[HOST_BYTES];
    char port[8];
    uint64_t refresh_ms;
    struct job *job; /* NULL: no lookup is in flight */
    evener_timer refresh;
    evener_backoff backoff;
    bool failing;
    uint64_t began_ns;
    uint64_t crowded_ns; /* since when no thread is free; 0: one was */
    bool crowd_reported;
};

static atomic_uint threads;

/* The threads are the parent's. */
static void forget_threads(void)
{
    atomic_store_explicit(&threads, 0, memory_order_relaxed);
}

EVENER_FORK_CHILD(forget_threads)

static void begin(void *arg);

static void job_free(struct job *job)
{
    if (job->found != NULL) {
        freeaddrinfo(job->found);
    }
    pthread_mutex_destroy(&job->lock);
    free(job);
}

/* ---- on the lookup's thread ---- */

static void *run(void *arg)
{
    struct job *job = arg;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const int result = getaddrinfo(job->host, NULL, &hints, &job->found);
    (void)atomic_fetch_sub_explicit(&threads, 1, memory_order_relaxed); /* a counter */
    pthread_mutex_lock(&job->lock);
    job->result = result;
    job->posted = !job->abandoned;
    const bool abandoned = job->abandoned;
    if (!abandoned) {
        (void)evener_loop_post(job->loop, &job->task);
    }
    pthread_mutex_unlock(&job->lock);
    if (abandoned) {
        job_free(job);
    }
    return NULL;
}

/* ---- on the control thread ---- */

static void wait_and_begin(struct native *self, uint64_t delay_ns)
{
    evener_timer_start(self->loop, &self->refresh, delay_ns);
}

static void fail(struct native *self, evener_status_code code, const char *reason)
{
    evener_status status;
    evener_status_set(&status, code, "native: %.200s: %.200s", self->host, reason);
    self->failing = true;
    wait_and_begin(self, evener_backoff_next_ns(&self->backoff, NULL, self->loop));
    evener_resolver_sink_error(self->sink, &status);
}

static evener_status_code fill(const struct native *self, const struct addrinfo *found, evener_list *list,
                               evener_status *status)
{
    evener_status_code code = EVENER_STATUS_OK;
    for (; found != NULL && code == EVENER_STATUS_OK; found = found->ai_next) {
        char ip[NI_MAXHOST];
        char text[NI_MAXHOST + 16];
        evener_address *address;
        if (getnameinfo(found->ai_addr, found->ai_addrlen, ip, sizeof ip, NULL, 0, NI_NUMERICHOST) != 0) {
            continue;
        }
        const bool v6 = found->ai_family == AF_INET6;
        snprintf(text, sizeof text, "%s%s%s:%s", v6 ? "[" : "", ip, v6 ? "]" : "", self->port);
        code = evener_address_create(text, NULL, 0, &address, status);
        if (code == EVENER_STATUS_OK) {
            code = evener_list_add(list, address, status);
        }
    }
    return code;
}

static void push(struct native *self, const struct addrinfo *found)
{
    evener_list list = EVENER_LIST_INIT;
    evener_status status;
    const evener_status_code code = fill(self, found, &list, &status);
    if (code != EVENER_STATUS_OK) {
        fail(self, code, status.message);
    } else {
        const evener_resolver_update update = {.size = sizeof update,
                                               .addresses = list.addresses,
                                               .address_count = list.count,
                                               .source = list.count > 0 ? "getaddrinfo" : "getaddrinfo (no such name)"};
        self->failing = !evener_resolver_sink_update(self->sink, &update);
        if (!self->failing) {
            evener_backoff_reset(&self->backoff);
        }
        const uint64_t delay_ns = self->failing ? evener_backoff_next_ns(&self->backoff, NULL, self->loop)
                                                : self->refresh_ms * EVENER_NS_PER_MS;
        /* A hint from inside an update that was accepted may have asked for an earlier one. */
        if (self->failing || !self->refresh.active ||
            self->refresh.deadline_ns > evener_loop_now_ns(self->loop) + delay_ns) {
            wait_and_begin(self, delay_ns);
        }
    }
    evener_list_clear(&list);
}

static void job_ended(void *arg)
{
    struct job *job = arg;
    struct native *self = job->native;
    pthread_mutex_lock(&job->lock); /* the thread is out of its critical section */
    pthread_mutex_unlock(&job->lock);
    if (self != NULL) {
        self->job = NULL;
        if (job->result == 0) {
            push(self, job->found);
        } else if (job->result == EAI_NONAME || job->result == EAI_NODATA) {
            push(self, NULL);
        } else {
            fail(self, EVENER_STATUS_UNAVAILABLE, evener_gai_strerror(job->result));
        }
    }
    job_free(job);
}

/* The process has no thread for the lookup. Usually there soon is one: that is reported only if it lasts, and once. */
static void wait_for_thread(struct native *self)
{
    const uint64_t now_ns = evener_loop_now_ns(self->loop);
    wait_and_begin(self, THREADS_AGAIN_MS * EVENER_NS_PER_MS);
    if (self->crowded_ns == 0) {
        self->crowded_ns = now_ns;
        self->crowd_reported = false;
    }
    if (!self->crowd_reported && now_ns - self->crowded_ns >= CROWDED_MS * EVENER_NS_PER_MS) {
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                          "native: %.200s: all %d threads of the process are in lookups", self->host, THREADS_MAX);
        self->crowd_reported = true;
        evener_resolver_sink_error(self->sink, &status);
    }
}

static void begin(void *arg)
{
    struct native *self = arg;
    pthread_t thread;
    pthread_attr_t attributes;
    if (self->job != NULL) {
        return;
    }
    self->began_ns = evener_loop_now_ns(self->loop);
    if (atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) >= THREADS_MAX) {
        (void)atomic_fetch_sub_explicit(&threads, 1, memory_order_relaxed);
        wait_for_thread(self);
        return;
    }
    self->crowded_ns = 0;
    struct job *job = calloc(1, sizeof *job);
    bool started = false;
    if (job != NULL) {
        pthread_mutex_init(&job->lock, NULL); /* default attributes: cannot fail in glibc */
        job->loop = self->loop;
        job->task = (evener_task)EVENER_TASK_INIT(job_ended, job);
        job->native = self;
        memcpy(job->host, self->host, sizeof job->host);
        (void)pthread_attr_init(&attributes);
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        self->job = job;
        started = pthread_create(&thread, &attributes, run, job) == 0;
        (void)pthread_attr_destroy(&attributes);
    }
    if (!started) {
        (void)atomic_fetch_sub_explicit(&threads, 1, memory_order_relaxed);
        if (job != NULL) {
            self->job = NULL;
            job_free(job);
        }
        fail(self, EVENER_STATUS_RESOURCE_EXHAUSTED, "no memory or no thread for a lookup");
    }
}

static void native_start(evener_resolver *resolver)
{
    begin(resolver);
}

static void native_resolve_now(evener_resolver *resolver)
{
    struct native *self = (struct native *)resolver;
    const uint64_t now_ns = evener_loop_now_ns(self->loop);
    const uint64_t earliest_ns = self->began_ns + RESOLVE_NOW_MS * EVENER_NS_PER_MS;
    const uint64_t delay_ns = earliest_ns > now_ns ? earliest_ns - now_ns : 0;
    if (self->job == NULL && (!self->refresh.active || self->refresh.deadline_ns > now_ns + delay_ns)) {
        wait_and_begin(self, delay_ns);
    }
}

static void native_reset_backoff(evener_resolver *resolver)
{
    struct native *self = (struct native *)resolver;
    evener_backoff_reset(&self->backoff);
    if (self->failing && self->job == NULL) {
        wait_and_begin(self, 0);
    }
}

static void native_close(evener_resolver *resolver)
{
    struct native *self = (struct native *)resolver;
    evener_timer_stop(self->loop, &self->refresh);
    if (self->job != NULL) {
        self->job->native = NULL;
        pthread_mutex_lock(&self->job->lock);
        self->job->abandoned = !self->job->posted; /* then its thread frees it, otherwise its task */
        pthread_mutex_unlock(&self->job->lock);
    }
    free(self);
}

static const evener_resolver_vtable native_vtable = {
    .size = sizeof native_vtable,
    .start = native_start,
    .resolve_now = native_resolve_now,
    .close = native_close,
    .reset_backoff = native_reset_backoff,
};

/* ---- builder ---- */

/* Split "host", "host:port" and "[v6]:port". The host is anything that NSS may know. */
static evener_status_code read_args(const evener_resolver_args *args, struct native *self, evener_status *status)
{
    const char *endpoint = evener_target_endpoint(args->target);
    const bool bracket = endpoint[0] == '[';
    const char *host = endpoint + (bracket ? 1 : 0);
    const size_t bytes = strcspn(host, bracket ? "]" : ":");
    const char *rest = host + bytes + (bracket && host[bytes] != '\0' ? 1 : 0);
    uint32_t port = args->default_port;
    if (evener_target_authority(args->target)[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "native: no server can be named (\"%.100s\"); write native:///HOST:PORT",
                                 evener_target_authority(args->target));
    }
    if (bytes == 0 || bytes >= HOST_BYTES || (bracket && host[bytes] != ']') || (rest[0] != '\0' && rest[0] != ':')) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "native: no host; write native:///HOST:PORT");
    }
    if (rest[0] == ':') {
        const size_t digits = strspn(rest + 1, "0123456789");
        port = digits > 0 && digits <= 5 && rest[1 + digits] == '\0' ? (uint32_t)strtoul(rest + 1, NULL, 10) : 0;
        if (port == 0 || port > 65535) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "native: \"%.100s\": the port is a whole number of 1 to 65535", rest + 1);
        }
    }
    snprintf(self->host, sizeof self->host, "%.*s", (int)bytes, host);
    snprintf(self->port, sizeof self->port, "%u", port);
    self->refresh_ms = REFRESH_MS;
    return evener_resolver_option_u64(args, "native.refresh_ms", REFRESH_MS_MIN, REFRESH_MS_MAX, &self->refresh_ms,
                                      status);
}

static evener_status_code native_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_status *status)
{
    (void)builder;
    struct native read;
    return read_args(args, &read, status);
}

static evener_status_code native_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    struct native *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "native: out of memory");
    }
    const evener_status_code code = read_args(args, self, status);
    if (code != EVENER_STATUS_OK) {
        free(self);
        return code;
    }
    self->base.vtable = &native_vtable;
    self->sink = args->sink;
    self->loop = args->loop;
    self->refresh = (evener_timer)EVENER_TIMER_INIT(begin, self);
    *resolver = &self->base;
    return EVENER_STATUS_OK;
}

const evener_resolver_builder evener_native_resolver = {
    .size = sizeof evener_native_resolver,
    .scheme = "native",
    .build = native_build,
    .check = native_check,
};
