#include "grpc/transport_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/held_port.h"

#define WAIT_S 10

/* One lock for all fixtures: tests are not in a hurry. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void die(const char *what, const evener_status *status)
{
    fprintf(stderr, "transport fixture: %s: %s\n", what, status->message);
    abort();
}

void fixture_open(transport_fixture *fixture, const evener_credentials *credentials)
{
    fixture_open_on(fixture, credentials, NULL);
}

void fixture_open_on(transport_fixture *fixture, const evener_credentials *credentials, evener_loop *loop)
{
    evener_status status;
    const evener_runtime_options options = {.size = sizeof options, .loop = loop};
    if (evener_runtime_create(&options, &fixture->runtime, &status) != EVENER_STATUS_OK) {
        die("open", &status);
    }
    const evener_transport_args args = {.size = sizeof args, .runtime = fixture->runtime, .credentials = credentials};
    if (evener_transport_find("grpc")->create(&args, &fixture->transport, &status) != EVENER_STATUS_OK) {
        die("open", &status);
    }
}

static void destroy_transport(void *arg)
{
    transport_fixture *fixture = arg;
    fixture->transport->vtable->destroy(fixture->transport);
}

void fixture_close(transport_fixture *fixture)
{
    evener_runtime_call(fixture->runtime, destroy_transport, fixture);
    evener_runtime_unref(fixture->runtime);
}

static void disconnect_now(void *arg)
{
    followed *self = arg;
    if (!self->disconnected && self->connection != NULL) {
        self->disconnected = true;
        self->fixture->transport->vtable->disconnect(self->fixture->transport, self->connection);
    }
}

static void state_changed(void *arg, evener_connectivity_state state, const evener_status *status)
{
    followed *self = arg;
    pthread_mutex_lock(&lock);
    self->events[self->event_count++ % EVENTS_MAX] = state;
    self->last_status = *status;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (self->disconnect_in_report) {
        disconnect_now(self);
    }
}

static void health_changed(void *arg, evener_connectivity_state state, const evener_status *status)
{
    followed *self = arg;
    pthread_mutex_lock(&lock);
    self->health[self->health_count++ % EVENTS_MAX] = state;
    self->health_status = *status;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

typedef struct connect_request {
    followed *self;
    evener_connect_args args;
} connect_request;

static void connect_now(void *arg)
{
    connect_request *request = arg;
    followed *self = request->self;
    (void)self->fixture->transport->vtable->connect(self->fixture->transport, &request->args, &self->connection,
                                                    &self->connect_status);
}

followed *fixture_connect(transport_fixture *fixture, const char *address_text, const char *authority)
{
    evener_status status;
    evener_address *address;
    if (evener_address_create(address_text, NULL, 0, &address, &status) != EVENER_STATUS_OK) {
        die("address", &status);
    }
    followed *self = calloc(1, sizeof *self);
    self->fixture = fixture;
    connect_request request = {.self = self,
                               .args = {.size = sizeof request.args,
                                        .address = address,
                                        .authority = authority,
                                        .server_name = authority,
                                        .timeout_ms = 20000,
                                        .state_changed = state_changed,
                                        .arg = self}};
    evener_runtime_call(fixture->runtime, connect_now, &request);
    evener_address_unref(address);
    return self;
}

static int wait_for(const uint32_t *count, const evener_connectivity_state *states, uint32_t wanted)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&lock);
    int error = 0;
    while (*count < wanted && error == 0) {
        error = pthread_cond_timedwait(&changed, &lock, &until);
    }
    int state = *count < wanted ? -1 : (int)states[(*count - 1) % EVENTS_MAX];
    pthread_mutex_unlock(&lock);
    return state;
}

int followed_wait(followed *self, uint32_t count)
{
    return wait_for(&self->event_count, self->events, count);
}

int followed_wait_health(followed *self, uint32_t count)
{
    return wait_for(&self->health_count, self->health, count);
}

uint32_t followed_count(followed *self)
{
    pthread_mutex_lock(&lock);
    uint32_t count = self->event_count;
    pthread_mutex_unlock(&lock);
    return count;
}

uint32_t followed_health_count(followed *self)
{
    pthread_mutex_lock(&lock);
    uint32_t count = self->health_count;
    pthread_mutex_unlock(&lock);
    return count;
}

typedef struct health_request {
    followed *self;
    const char *service;
} health_request;

static void watch_health_now(void *arg)
{
    health_request *request = arg;
    followed *self = request->self;
    (void)self->fixture->transport->vtable->watch_health(self->fixture->transport, self->connection, request->service,
                                                         health_changed, self);
}

void followed_watch_health(followed *self, const char *service)
{
    health_request request = {.self = self, .service = service};
    evener_runtime_call(self->fixture->runtime, watch_health_now, &request);
}

void followed_disconnect(followed *self)
{
    evener_runtime_call(self->fixture->runtime, disconnect_now, self);
}

static void nothing(void *arg)
{
    (void)arg;
}

void followed_forget(followed *self)
{
    followed_disconnect(self);
    evener_runtime_call(self->fixture->runtime, nothing, NULL); /* an event that was under way has passed */
    free(self);
}

const char *address_of_port(uint16_t port)
{
    static _Thread_local char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)port);
    return text;
}

uint16_t free_port(void)
{
    uint16_t port;
    (void)held_port(&port); /* as long as this process lives */
    return port;
}

static void read_name(const char *task, char name[32])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", task);
    name[0] = '\0';
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        (void)!fgets(name, 32, file);
        fclose(file);
    }
}

/* With `must_print` also print which they are. */
static unsigned count_named_threads(bool must_print)
{
    char own[32];
    char main_thread[20];
    snprintf(main_thread, sizeof main_thread, "%d", (int)getpid());
    read_name(main_thread, own);
    DIR *tasks = opendir("/proc/self/task");
    unsigned count = 0;
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        char name[32];
        if (entry->d_name[0] != '.') {
            read_name(entry->d_name, name);
            const bool is_named = name[0] != '\0' && strcmp(name, own) != 0;
            count += is_named;
            if (is_named && must_print) {
                fprintf(stderr, "thread left: %s", name);
            }
        }
    }
    closedir(tasks);
    return count;
}

unsigned named_threads_left(void)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    for (int i = 0; i < WAIT_S * 200 && count_named_threads(false) > 0; i++) {
        nanosleep(&pause, NULL);
    }
    return count_named_threads(true);
}
