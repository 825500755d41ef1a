/* Everything but start and the end of stop runs on the control thread. */
#include <evener/tls_watch.h>

#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/absolute_path.h"
#include "lb/base/credentials.h"
#include "lb/base/fork.h"
#include "lb/base/options.h"
#include "lb/base/read_file.h"
#include "lb/base/secret.h"
#include "lb/base/tls_pem.h"
#include "lb/factory/warning.h"
#include "lb/factory/watch.h"
#include "lb/runtime/runtime_internal.h"

#define PEM_BYTES_MAX ((size_t)1 << 20)
#define INTERVAL_MS 1000

enum { ROOTS, CHAIN, KEY, FILES };

struct evener_tls_watch {
    evener_channel *channel; /* borrowed */
    char *paths[FILES];      /* absolute; NULL: none */
    char *watched[FILES];    /* those that there are */
    evener_factory_watch watch;
    evener_tls_watch_stats stats;
    uint64_t in_force; /* content_of() the credentials in force */
    evener_factory_warning warning;
};

/* ---- reading ---- */

static evener_status_code read_text(const char *path, char **text, evener_status *status)
{
    size_t bytes = 0;
    const evener_status_code code = evener_read_regular_file(path, PEM_BYTES_MAX, text, &bytes, status);
    if (code == EVENER_STATUS_OK && strlen(*text) != bytes) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: holds a NUL byte, so it is no PEM", path);
    }
    return code;
}

/* Return an FNV-1a hash that identifies the contents. */
static uint64_t content_of(char *const texts[FILES])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (int i = 0; i < FILES; i++) {
        const char *at = texts[i] != NULL ? texts[i] : "";
        do {
            hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
        } while (*at++ != '\0');
    }
    return hash;
}

static evener_status_code read_files(char *const paths[FILES], evener_credentials **credentials, uint64_t *content,
                                     evener_status *status)
{
    char *texts[FILES] = {NULL};
    evener_status_code code = EVENER_STATUS_OK;
    for (int i = 0; code == EVENER_STATUS_OK && i < FILES; i++) {
        if (paths[i] != NULL) {
            code = read_text(paths[i], &texts[i], status);
        }
    }
    if (code == EVENER_STATUS_OK) {
        const evener_tls_pems pems = {.roots = {texts[ROOTS], paths[ROOTS]},
                                      .chain = {texts[CHAIN], paths[CHAIN]},
                                      .key = {texts[KEY], paths[KEY]},
                                      .hint = ""};
        code = evener_tls_pems_check(&pems, status);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_tls_options options = {.size = sizeof options,
                                            .root_certificates = texts[ROOTS],
                                            .certificate_chain = texts[CHAIN],
                                            .private_key = texts[KEY]};
        code = evener_credentials_create_tls_checked(&options, credentials, status);
        *content = content_of(texts);
    }
    for (int i = 0; i < FILES; i++) {
        evener_secret_wipe(texts[i]);
    }
    return code;
}

static evener_status_code take_paths(const evener_tls_files *given, char *paths[FILES], uint64_t *interval_ms,
                                     evener_status *status)
{
    evener_tls_files files;
    const evener_status_code code =
        evener_options_read(&files, sizeof files, given, "TLS files", "evener_tls_files", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if ((files.certificate_chain == NULL) != (files.private_key == NULL)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TLS files: certificate_chain and private_key go together: %s is missing",
                                 files.private_key == NULL ? "private_key" : "certificate_chain");
    }
    const char *const names[FILES] = {files.root_certificates, files.certificate_chain, files.private_key};
    for (int i = 0; i < FILES; i++) {
        paths[i] = names[i] != NULL ? evener_absolute_path(names[i]) : NULL;
        if (names[i] != NULL && paths[i] == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                     "TLS files: %.200s: no memory for its path, or no working folder", names[i]);
        }
    }
    *interval_ms = files.interval_ms;
    return EVENER_STATUS_OK;
}

static void free_paths(char *paths[FILES])
{
    for (int i = 0; i < FILES; i++) {
        free(paths[i]);
    }
}

evener_status_code evener_tls_files_read(const evener_tls_files *files, evener_credentials **credentials,
                                         evener_status *status)
{
    char *paths[FILES] = {NULL};
    uint64_t interval_ms;
    uint64_t content;
    if (credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "evener_tls_files_read: `credentials` is NULL");
    }
    evener_status_code code = take_paths(files, paths, &interval_ms, status);
    if (code == EVENER_STATUS_OK) {
        code = read_files(paths, credentials, &content, status);
    }
    free_paths(paths);
    return code == EVENER_STATUS_OK ? evener_status_clear(status) : code;
}

/* ---- rotation ---- */

static void warn(evener_tls_watch *watch, const char *reason)
{
    if (evener_factory_warning_is_due(&watch->warning, reason, evener_loop_now_ns(watch->watch.loop))) {
        evener_log(EVENER_LOG_WARNING, "tls", "%s: the credentials in force are kept: %s",
                   evener_channel_target(watch->channel), reason);
    }
}

static evener_status_code rotate(evener_tls_watch *watch, evener_status *status)
{
    evener_credentials *credentials = NULL;
    uint64_t content = 0;
    evener_factory_watch_mark(&watch->watch); /* before reading: a change meanwhile is seen by the next look */
    evener_status_code code = read_files(watch->paths, &credentials, &content, status);
    const bool is_news = content != watch->in_force;
    if (code == EVENER_STATUS_OK && is_news) {
        code = evener_channel_set_credentials(watch->channel, credentials, status);
    }
    evener_credentials_destroy(credentials);
    evener_factory_watch_note_result(&watch->watch, code);
    if (code == EVENER_STATUS_OK) {
        watch->in_force = content;
        watch->stats.rotations += is_news;
        watch->stats.last_error[0] = '\0';
        evener_factory_warning_clear(&watch->warning);
    } else {
        watch->stats.refused++;
        memcpy(watch->stats.last_error, status->message, sizeof watch->stats.last_error);
        warn(watch, watch->stats.last_error);
    }
    return code;
}

static void files_changed(void *arg)
{
    evener_status status;
    (void)rotate(arg, &status);
}

typedef struct request {
    evener_tls_watch *watch;
    evener_status status;
    evener_tls_watch_stats *stats;
} request;

static void start_on_control_thread(void *arg)
{
    request *r = arg;
    evener_tls_watch *watch = r->watch;
    size_t count = 0;
    for (int i = 0; i < FILES; i++) {
        if (watch->paths[i] != NULL) {
            watch->watched[count++] = watch->paths[i];
        }
    }
    watch->watch.loop = evener_runtime_loop(evener_channel_runtime(watch->channel));
    evener_factory_watch_set_files(&watch->watch, watch->watched, count);
    if (rotate(watch, &r->status) == EVENER_STATUS_OK) {
        watch->stats.rotations = 0;
        evener_factory_watch_start(&watch->watch);
    }
}

evener_status_code evener_tls_watch_start(evener_channel *channel, const evener_tls_files *files,
                                          evener_tls_watch **watch, evener_status *status)
{
    if (channel == NULL || watch == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_tls_watch_start: `%s` is NULL",
                                 channel == NULL ? "channel" : "watch");
    }
    if (evener_runtime_is_older_than_fork(evener_channel_runtime(channel))) {
        return evener_fork_refuse(status, "channel");
    }
    evener_tls_watch *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "TLS watch: out of memory");
    }
    uint64_t interval_ms = 0;
    evener_status_code code = take_paths(files, made->paths, &interval_ms, status);
    if (code == EVENER_STATUS_OK) {
        interval_ms = interval_ms != 0 ? interval_ms : INTERVAL_MS;
        made->channel = channel;
        made->watch.interval_ns =
            interval_ms <= UINT64_MAX / EVENER_NS_PER_MS ? interval_ms * EVENER_NS_PER_MS : UINT64_MAX;
        made->watch.changed = files_changed;
        made->watch.arg = made;
        request r = {.watch = made};
        evener_runtime_call(evener_channel_runtime(channel), start_on_control_thread, &r);
        code = evener_status_set(status, r.status.code, "%s", r.status.message);
    }
    if (code != EVENER_STATUS_OK) {
        free_paths(made->paths);
        free(made);
        return code;
    }
    *watch = made;
    return code;
}

static void read_now(void *arg)
{
    request *r = arg;
    (void)rotate(r->watch, &r->status);
}

evener_status_code evener_tls_watch_read_now(evener_tls_watch *watch, evener_status *status)
{
    if (evener_runtime_is_older_than_fork(evener_channel_runtime(watch->channel))) {
        return evener_fork_refuse(status, "TLS watch");
    }
    request r = {.watch = watch};
    evener_runtime_call(evener_channel_runtime(watch->channel), read_now, &r);
    return evener_status_set(status, r.status.code, "%s", r.status.message);
}

static void copy_stats(void *arg)
{
    const request *r = arg;
    const size_t bytes = r->stats->size;
    memcpy(r->stats, &r->watch->stats, bytes);
    r->stats->size = bytes;
}

evener_status_code evener_tls_watch_get_stats(evener_tls_watch *watch, evener_tls_watch_stats *stats,
                                              evener_status *status)
{
    if (stats->size != sizeof *stats) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TLS watch stats: size is %zu: set it to sizeof(evener_tls_watch_stats)", stats->size);
    }
    if (evener_runtime_is_older_than_fork(evener_channel_runtime(watch->channel))) {
        return evener_fork_refuse(status, "TLS watch");
    }
    request r = {.watch = watch, .stats = stats};
    evener_runtime_call(evener_channel_runtime(watch->channel), copy_stats, &r);
    return evener_status_clear(status);
}

static void stop_on_control_thread(void *arg)
{
    evener_tls_watch *watch = arg;
    evener_factory_watch_stop(&watch->watch);
}

void evener_tls_watch_stop(evener_tls_watch *watch)
{
    if (watch == NULL || evener_runtime_is_older_than_fork(evener_channel_runtime(watch->channel))) {
        return;
    }
    evener_runtime_call(evener_channel_runtime(watch->channel), stop_on_control_thread, watch);
    free_paths(watch->paths);
    free(watch);
}
