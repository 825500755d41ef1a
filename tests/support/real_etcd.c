#include "tests/support/real_etcd.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <evener/call.h>
#include <evener/channel.h>

#include "resolver/etcd/messages.h"
#include "resolver/etcd/wire.h"

#define MEMBERS_MAX 5
#define COMPACT "/etcdserverpb.KV/Compact"
#define TXN "/etcdserverpb.KV/Txn"
#define TXN_PUTS 5000
#define DELETE_RANGE "/etcdserverpb.KV/DeleteRange"

typedef struct member {
    uint16_t port, peer_port;
    pid_t pid; /* 0: not running */
    char name[16];
} member;

struct real_etcd {
    real_etcd_options options;
    member members[MEMBERS_MAX];
    unsigned count;
    char folder[64], text[256], cluster[512];
    evener_runtime *runtime;
    evener_channel *channel;
    int64_t revision; /* of the last answer */
};

/* Return a port that was free a moment ago: etcd cannot choose one itself. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) == 0 &&
                      getsockname(fd, (struct sockaddr *)&address, &bytes) == 0;
    assert(good);
    (void)good;
    close(fd);
    return ntohs(address.sin_port);
}

static bool is_installed(void)
{
    return system("command -v etcd >/dev/null && command -v etcdctl >/dev/null") == 0;
}

static void launch(real_etcd *etcd, member *m)
{
    const char *scheme = etcd->options.credentials != NULL ? "https" : "http";
    char data[128], client[64], peer[64], log[128];
    snprintf(data, sizeof data, "%s/%s", etcd->folder, m->name);
    snprintf(log, sizeof log, "%s/%s.log", etcd->folder, m->name);
    snprintf(client, sizeof client, "%s://127.0.0.1:%u", scheme, m->port);
    snprintf(peer, sizeof peer, "http://127.0.0.1:%u", m->peer_port);
    const char *arguments[40] = {"etcd",        "--name",
                                 m->name,       "--data-dir",
                                 data,          "--listen-client-urls",
                                 client,        "--advertise-client-urls",
                                 client,        "--listen-peer-urls",
                                 peer,          "--initial-advertise-peer-urls",
                                 peer,          "--initial-cluster",
                                 etcd->cluster, "--initial-cluster-state",
                                 "new",         "--heartbeat-interval",
                                 "50",          "--election-timeout",
                                 "500",         "--logger",
                                 "zap",         "--log-level",
                                 "error"};
    size_t count = 0;
    while (arguments[count] != NULL) {
        count++;
    }
    for (size_t i = 0; i < 8 && etcd->options.arguments[i] != NULL; i++) {
        arguments[count++] = etcd->options.arguments[i];
    }
    const pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test program that is killed leaves no etcd behind */
        if (freopen(log, "a", stderr) == NULL || freopen("/dev/null", "w", stdout) == NULL) {
            _exit(1);
        }
        setenv("ETCD_UNSUPPORTED_ARCH", "arm64", 0);
        execvp("etcd", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    m->pid = pid;
}

static void kill_member(member *m)
{
    if (m->pid != 0) {
        kill(m->pid, SIGKILL);
        waitpid(m->pid, NULL, 0);
        m->pid = 0;
    }
}

/* Make a request until it succeeds. */
static void request(real_etcd *etcd, const char *method, evener_bytes *message, evener_bytes *response)
{
    evener_status status;
    for (int i = 0; i < 200; i++) {
        const evener_call_options options = {
            .size = sizeof options, .timeout_ms = 10000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
        if (evener_unary_call(etcd->channel, method, message, &options, response, &status) == EVENER_STATUS_OK) {
            evener_bytes_clear(message);
            return;
        }
        usleep(100000);
    }
    fprintf(stderr, "etcd: %s: %s\n", method, status.message);
    abort();
}

static void send_request(real_etcd *etcd, const char *method, evener_bytes *message)
{
    request(etcd, method, message, NULL);
}

static void ignore(void *arg, const char *key, const char *value)
{
    (void)arg, (void)key, (void)value;
}

real_etcd *real_etcd_start(unsigned members, const real_etcd_options *options)
{
    if (!is_installed()) {
        return NULL;
    }
    real_etcd *etcd = calloc(1, sizeof *etcd);
    assert(etcd != NULL && members <= MEMBERS_MAX);
    if (options != NULL) {
        etcd->options = *options;
    }
    etcd->count = members;
    snprintf(etcd->folder, sizeof etcd->folder, "/tmp/evener-etcd-XXXXXX");
    if (mkdtemp(etcd->folder) == NULL) {
        abort();
    }
    char target[320] = "static:";
    for (unsigned i = 0; i < members; i++) {
        member *m = &etcd->members[i];
        m->port = free_port();
        m->peer_port = free_port();
        snprintf(m->name, sizeof m->name, "m%u", i);
        const size_t used = strlen(etcd->text);
        snprintf(etcd->text + used, sizeof etcd->text - used, "%s127.0.0.1:%u", i > 0 ? "," : "", m->port);
        const size_t cluster_used = strlen(etcd->cluster);
        snprintf(etcd->cluster + cluster_used, sizeof etcd->cluster - cluster_used, "%s%s=http://127.0.0.1:%u",
                 i > 0 ? "," : "", m->name, m->peer_port);
    }
    for (unsigned i = 0; i < members; i++) {
        launch(etcd, &etcd->members[i]);
    }
    evener_credentials *insecure = NULL;
    evener_status status;
    evener_credentials_create_insecure(&insecure, NULL);
    snprintf(target + strlen(target), sizeof target - strlen(target), "%s", etcd->text);
    if (evener_runtime_create(NULL, &etcd->runtime, &status) != EVENER_STATUS_OK) {
        abort();
    }
    const evener_channel_options channel_options = {
        .size = sizeof channel_options,
        .runtime = etcd->runtime,
        .credentials = etcd->options.credentials != NULL ? etcd->options.credentials : insecure,
        .transport_name = "http2",
        .policy = "round_robin",
        .backoff_initial_ms = 50,
        .backoff_max_ms = 500,
        .receive_bytes_max = 64 << 20,
        .own_connections = true};
    if (evener_channel_create(target, &channel_options, &etcd->channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "etcd: %s\n", status.message);
        abort();
    }
    evener_credentials_destroy(insecure);
    real_etcd_visit(etcd, "ready", ignore, NULL);
    return etcd;
}

void real_etcd_stop(real_etcd *etcd)
{
    char command[96];
    evener_channel_unref(etcd->channel);
    evener_runtime_unref(etcd->runtime);
    for (unsigned i = 0; i < etcd->count; i++) {
        kill_member(&etcd->members[i]);
    }
    snprintf(command, sizeof command, "rm -rf %s", etcd->folder);
    if (system(command) != 0) {
        fprintf(stderr, "etcd: %s stays\n", etcd->folder);
    }
    free(etcd);
}

const char *real_etcd_members(const real_etcd *etcd)
{
    return etcd->text;
}

void real_etcd_kill(real_etcd *etcd, unsigned index)
{
    kill_member(&etcd->members[index]);
}

void real_etcd_revive(real_etcd *etcd, unsigned index)
{
    launch(etcd, &etcd->members[index]);
}

void real_etcd_reset(real_etcd *etcd, unsigned index)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s/%s", etcd->folder, etcd->members[index].name);
    if (system(command) != 0) {
        abort();
    }
    launch(etcd, &etcd->members[index]);
}

static evener_etcd_span span_of(const char *text)
{
    return (evener_etcd_span){(const uint8_t *)text, strlen(text)};
}

void real_etcd_put_leased(real_etcd *etcd, const char *key, const char *value, int64_t ttl_s, int64_t *lease)
{
    evener_bytes message, response;
    evener_etcd_lease_response granted;
    if (*lease == 0) {
        bool good = evener_etcd_lease_grant_request(ttl_s, &message);
        request(etcd, EVENER_ETCD_LEASE_GRANT, &message, &response);
        good = good && evener_etcd_lease_parse(&response, &granted);
        evener_bytes_clear(&response);
        if (!good) {
            abort();
        }
        *lease = granted.lease;
    }
    if (!evener_etcd_put_request(span_of(key), span_of(value), *lease, &message)) {
        abort();
    }
    send_request(etcd, EVENER_ETCD_PUT, &message);
}

void real_etcd_put(real_etcd *etcd, const char *key, const char *value)
{
    evener_bytes message;
    if (!evener_etcd_put_request(span_of(key), span_of(value), 0, &message)) {
        abort();
    }
    send_request(etcd, EVENER_ETCD_PUT, &message);
}

void real_etcd_put_many(real_etcd *etcd, const char *prefix, unsigned count)
{
    for (unsigned first = 0; first < count; first += TXN_PUTS) {
        evener_etcd_writer transaction = {0};
        evener_bytes message;
        for (unsigned i = first; i < count && i < first + TXN_PUTS; i++) {
            evener_etcd_writer put = {0}, operation = {0};
            char key[128], value[128];
            snprintf(key, sizeof key, "%s%08u", prefix, i);
            snprintf(value, sizeof value, "{\"Op\":0,\"Addr\":\"127.%u.%u.%u:80\",\"Metadata\":null}", i / 62500 + 1,
                     i / 250 % 250, i % 250 + 1);
            evener_etcd_put_bytes(&put, 1, key, strlen(key));
            evener_etcd_put_bytes(&put, 2, value, strlen(value));
            evener_etcd_put_message(&operation, 2, &put);         /* RequestOp.request_put */
            evener_etcd_put_message(&transaction, 2, &operation); /* TxnRequest.success */
        }
        if (!evener_etcd_finish(&transaction, &message)) {
            abort();
        }
        send_request(etcd, TXN, &message);
    }
}

void real_etcd_delete(real_etcd *etcd, const char *key)
{
    evener_etcd_writer writer = {0};
    evener_bytes message;
    evener_etcd_put_bytes(&writer, 1, key, strlen(key));
    if (!evener_etcd_finish(&writer, &message)) {
        abort();
    }
    send_request(etcd, DELETE_RANGE, &message);
}

typedef struct visitor {
    void (*visit)(void *arg, const char *key, const char *value);
    void *arg;
} visitor;

static bool visit_one(void *arg, const evener_etcd_key_value *kv)
{
    const visitor *v = arg;
    char *key = strndup((const char *)kv->key.bytes, kv->key.length);
    char *value = kv->value.length > 0 ? strndup((const char *)kv->value.bytes, kv->value.length) : strdup("");
    v->visit(v->arg, key, value);
    free(key);
    free(value);
    return true;
}

void real_etcd_visit(real_etcd *etcd, const char *prefix, void (*visit)(void *arg, const char *key, const char *value),
                     void *arg)
{
    uint8_t end[256];
    evener_bytes message, response;
    visitor v = {visit, arg};
    evener_etcd_range_response range;
    const evener_etcd_range wanted = {.key = span_of(prefix),
                                      .end = {end, evener_etcd_prefix_end(span_of(prefix), end)}};
    bool good = evener_etcd_range_request(&wanted, &message);
    request(etcd, EVENER_ETCD_RANGE, &message, &response);
    good = good && evener_etcd_range_parse(&response, &range, visit_one, &v);
    evener_bytes_clear(&response);
    if (!good) {
        abort();
    }
    etcd->revision = range.header.revision;
}

void real_etcd_compact(real_etcd *etcd)
{
    evener_etcd_writer writer = {0};
    evener_bytes message;
    evener_status status;
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 10000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    real_etcd_visit(etcd, "ready", ignore, NULL);
    evener_etcd_put_number(&writer, 1, (uint64_t)etcd->revision);
    if (!evener_etcd_finish(&writer, &message)) {
        abort();
    }
    /* May fail, as the revision may be compacted already. */
    (void)evener_unary_call(etcd->channel, COMPACT, &message, &options, NULL, &status);
    evener_bytes_clear(&message);
}

char *real_etcd_ctl(real_etcd *etcd, const char *arguments)
{
    char command[1024];
    char *output = NULL;
    size_t bytes = 0;
    FILE *collected = open_memstream(&output, &bytes);
    /* Its own limits, 2 s and 5 s, are too short for a busy machine. */
    snprintf(command, sizeof command,
             "ETCDCTL_API=3 etcdctl --dial-timeout=60s --command-timeout=60s --endpoints=%s %s %s 2>&1", etcd->text,
             etcd->options.etcdctl != NULL ? etcd->options.etcdctl : "", arguments);
    FILE *pipe = popen(command, "r");
    assert(pipe != NULL && collected != NULL);
    for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) {
        fputc(c, collected);
    }
    pclose(pipe);
    fclose(collected);
    return output;
}
