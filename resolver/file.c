/* `file:` - the endpoints listed in a file that is watched: `file:///etc/orders.endpoints`.
 *
 * Path of a change: inotify (file_watch) or the poll timer reports a possible change. When the file has been quiet for
 * the settle time, or after four times that, the file is read (file_read) and parsed (file_text, file_config). Its host
 * names get resolvers (file_hosts). Addresses and resolved names are combined in file order and pushed. Any failure on
 * this path leaves the last good list in use and is reported once.
 *
 * The file is read on the control thread: a list of 100,000 endpoints, 3 MB, takes some tens of milliseconds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "resolver/builtin.h"
#include "resolver/file_endpoints.h"
#include "resolver/file_hosts.h"
#include "resolver/file_read.h"
#include "resolver/file_watch.h"
#include "resolver/list.h"
#include "resolver/target.h"

#define POLL_MS_DEFAULT 5000 /* delays a change only where inotify does not work */
#define POLL_MS_MIN 10
#define POLL_MS_MAX 3600000
#define SETTLE_MS_DEFAULT 10 /* with the factor below: a change is applied within 50 ms */
#define SETTLE_MS_MAX 1000
#define FILE_BYTES_MAX_MAX (UINT64_C(1) << 30)
#define SETTLE_FACTOR_MAX 4 /* a file that is never quiet is read nevertheless */
/* A last line without newline may be half written: it is used only after this longer quiet time. */
#define UNFINISHED_MS 100
/* The first update waits this long for the host names, so that a channel does not start with a partial list. */
#define HOST_WAIT_MS 500
/* Answers of host names that come within this time are pushed together. */
#define HOSTS_TOGETHER_MS 10

enum form { FORM_AUTO, FORM_LINES, FORM_LIBCONFIG };

struct options {
    uint64_t poll_ns;
    uint64_t settle_ns;
    uint64_t bytes_max;
    bool allow_empty;
    enum form form;
};

/* `base` is the first member. */
struct file {
    evener_resolver base;
    evener_resolver_sink *sink;
    evener_loop *loop;
    char *path; /* absolute: it was made so when the target was parsed */
    char *source;
    struct options options;
    evener_file_watch *watch;
    evener_file_hosts *hosts;
    evener_timer poll;
    evener_timer settle;
    evener_timer host_wait;
    evener_timer hosts_together;
    uint64_t pushed_ns;                      /* when the last list was composed */
    evener_list pushed;                      /* the last list that was accepted */
    bool unwatched;                          /* the loss of inotify has been logged */
    bool change_seen;                        /* a change was reported: read regardless of the file's times */
    uint64_t change_began_ns;                /* first report of the change */
    evener_file_state read_state;            /* of the content applied or refused last */
    bool unfinished;                         /* the last line had no newline; waiting for the rest */
    evener_file_endpoints endpoints;         /* last good content */
    bool loaded;                             /* `endpoints` is valid */
    bool accepted;                           /* the sink accepted the last update */
    bool failing;                            /* an error has been reported since the last update */
    char error[EVENER_STATUS_MESSAGE_BYTES]; /* the reported error; the same text is not reported again */
};

/* ---- pushing ---- */

static void report(struct file *self, const evener_status *error)
{
    if (self->failing && strcmp(self->error, error->message) == 0) {
        return;
    }
    self->failing = true;
    memcpy(self->error, error->message, sizeof self->error);
    evener_resolver_sink_error(self->sink, error);
}

/* Add a resolved address. Attributes of the line override those of the address. */
static evener_status_code add_resolved(evener_list *list, const evener_file_entry *entry, const evener_address *address,
                                       evener_status *status)
{
    const size_t given = evener_address_attribute_count(entry->address);
    if (given == 0) {
        return evener_list_add(list, evener_address_ref(address), status);
    }
    evener_attribute attributes[2 * EVENER_ADDRESS_ATTRIBUTES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < evener_address_attribute_count(address); i++) {
        const evener_attribute attribute = evener_address_attribute_at(address, i);
        if (evener_address_attribute(entry->address, attribute.key) == NULL) {
            attributes[count++] = attribute;
        }
    }
    for (size_t i = 0; i < given; i++) {
        attributes[count++] = evener_address_attribute_at(entry->address, i);
    }
    evener_address *changed;
    const evener_status_code code = evener_address_with_attributes(address, attributes, count, &changed, status);
    return code == EVENER_STATUS_OK ? evener_list_add(list, changed, status) : code;
}

static evener_status_code compose(const struct file *self, evener_list *list, evener_status *status)
{
    evener_status_code code = EVENER_STATUS_OK;
    for (size_t i = 0; i < self->endpoints.count && code == EVENER_STATUS_OK; i++) {
        const evener_file_entry *entry = &self->endpoints.entries[i];
        if (entry->host == NULL) {
            code = evener_list_add(list, evener_address_ref(entry->address), status);
            continue;
        }
        size_t count;
        const evener_address *const *found = evener_file_hosts_addresses(self->hosts, entry->host, &count);
        for (size_t j = 0; j < count && code == EVENER_STATUS_OK; j++) {
            code = add_resolved(list, entry, found[j], status);
        }
    }
    return code;
}

/* Push the known addresses, unless the first answers of host names are pending. */
static void push(struct file *self)
{
    const bool waiting = evener_file_hosts_waiting(self->hosts);
    if (waiting && self->host_wait.active) {
        return;
    }
    evener_timer_stop(self->loop, &self->host_wait);
    evener_timer_stop(self->loop, &self->hosts_together);
    self->pushed_ns = evener_loop_now_ns(self->loop);
    evener_list list = EVENER_LIST_INIT;
    evener_status status;
    evener_status reason;
    if (compose(self, &list, &reason) != EVENER_STATUS_OK) {
        evener_status_set(&status, reason.code, "%s: %s", self->source, reason.message);
        self->accepted = false; /* retried by the next poll */
        report(self, &status);
    } else if (list.count == 0 && evener_file_hosts_error(self->hosts) != NULL) {
        const evener_status *error = evener_file_hosts_error(self->hosts);
        evener_status_set(&status, error->code, "%s: %s", self->source, error->message);
        report(self, &status);
    } else if (self->accepted && !self->failing && evener_list_equal(&self->pushed, &list)) {
        /* nothing has changed */
    } else if (list.count > 0 || !waiting) {
        const evener_resolver_update update = {
            .size = sizeof update,
            .addresses = list.addresses,
            .address_count = list.count,
            .ttl_ms = evener_file_hosts_ttl_ms(self->hosts),
            .source = self->source,
        };
        self->failing = false;
        self->accepted = evener_resolver_sink_update(self->sink, &update);
        evener_list_clear(&self->pushed);
        self->pushed = list;
        list = (evener_list)EVENER_LIST_INIT;
    }
    evener_list_clear(&list);
}

/* The wait for host names has ended. */
static void hosts_changed(void *arg)
{
    struct file *self = arg;
    if (self->loaded) {
        push(self);
    }
}

/* A host name has another answer. */
static void host_changed(void *arg)
{
    struct file *self = arg;
    const uint64_t now_ns = evener_loop_now_ns(self->loop);
    const uint64_t earliest_ns = self->pushed_ns + HOSTS_TOGETHER_MS * EVENER_NS_PER_MS;
    if (!self->loaded || self->hosts_together.active) {
        return;
    }
    if (self->host_wait.active || self->pushed_ns == 0 || earliest_ns <= now_ns) {
        push(self);
    } else {
        evener_timer_start(self->loop, &self->hosts_together, earliest_ns - now_ns);
    }
}

/* ---- reading ---- */

static bool is_config(const struct file *self, const char *text)
{
    if (self->options.form != FORM_AUTO) {
        return self->options.form == FORM_LIBCONFIG;
    }
    const char *extension = strrchr(self->path, '.');
    return (extension != NULL && (strcmp(extension, ".cfg") == 0 || strcmp(extension, ".conf") == 0)) ||
           evener_file_looks_like_config(text);
}

static evener_status_code parse(const struct file *self, char *text, size_t bytes, bool config,
                                evener_file_endpoints *endpoints, evener_status *status)
{
    const evener_status_code code = config ? evener_file_parse_config(self->path, text, bytes, endpoints, status)
                                           : evener_file_parse_lines(self->path, text, bytes, endpoints, status);
    if (code == EVENER_STATUS_OK && endpoints->count == 0 && !self->options.allow_empty) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE,
                                 "%s: it lists no endpoint, and the option file.allow_empty is not set", self->source);
    }
    return code;
}

/* Apply new content. `endpoints` is emptied, or left to the caller. */
static evener_status_code take(struct file *self, evener_file_endpoints *endpoints, evener_status *status)
{
    if (self->loaded && self->accepted && !self->failing && evener_file_endpoints_equal(&self->endpoints, endpoints)) {
        return EVENER_STATUS_OK;
    }
    const evener_status_code code = evener_file_hosts_follow(self->hosts, self->path, endpoints, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_file_endpoints_clear(&self->endpoints);
    self->endpoints = *endpoints;
    *endpoints = (evener_file_endpoints){.entries = NULL};
    self->loaded = true;
    evener_log(EVENER_LOG_INFO, "resolver", "%s: %zu endpoints", self->source, self->endpoints.count);
    if (evener_file_hosts_waiting(self->hosts)) {
        evener_timer_start(self->loop, &self->host_wait, HOST_WAIT_MS * EVENER_NS_PER_MS);
    }
    push(self);
    return EVENER_STATUS_OK;
}

static void wait_for_more(struct file *self, uint64_t delay_ns)
{
    self->change_seen = true;
    evener_timer_start(self->loop, &self->settle, delay_ns);
}

/* Return whether the content may be half written, so that the file must be read again later. */
static bool is_unfinished(struct file *self, const char *text, size_t bytes, bool config, bool torn)
{
    const uint64_t waited_ns = evener_loop_now_ns(self->loop) - self->change_began_ns;
    if (torn && waited_ns < SETTLE_FACTOR_MAX * self->options.settle_ns) {
        wait_for_more(self, self->options.settle_ns);
        return true;
    }
    const bool cut = !config && self->loaded && bytes > 0 && text[bytes - 1] != '\n';
    if (cut && !self->unfinished) {
        self->unfinished = true;
        wait_for_more(self, UNFINISHED_MS * EVENER_NS_PER_MS);
        return true;
    }
    self->unfinished = false;
    return false;
}

static void read_and_take(struct file *self)
{
    char *text;
    size_t bytes;
    evener_file_state state;
    bool torn;
    evener_status status;
    evener_status_code code =
        evener_file_read(self->path, self->options.bytes_max, &text, &bytes, &state, &torn, &status);
    if (code == EVENER_STATUS_OK) {
        const bool config = is_config(self, text);
        if (!is_unfinished(self, text, bytes, config, torn)) {
            evener_file_endpoints endpoints = {.entries = NULL};
            bool lasting = true; /* an error is caused by the content */
            self->change_seen = false;
            self->read_state = state;
            code = parse(self, text, bytes, config, &endpoints, &status);
            if (code == EVENER_STATUS_OK) {
                code = take(self, &endpoints, &status);
                lasting = code == EVENER_STATUS_OK;
            }
            if (!lasting || code == EVENER_STATUS_RESOURCE_EXHAUSTED) {
                self->read_state =
                    (evener_file_state){.bytes = 0}; /* the next poll may succeed with the same content */
            }
            evener_file_endpoints_clear(&endpoints);
        }
        free(text);
    } else {
        self->change_seen = false;
        self->read_state = (evener_file_state){.bytes = 0};
    }
    if (code != EVENER_STATUS_OK) {
        report(self, &status);
    }
}

/* Read the file if it may have changed. */
static void look(struct file *self)
{
    const bool watched = evener_file_watch_refresh(self->watch);
    if (!watched && !self->unwatched && evener_loop_uv(self->loop) != NULL) {
        evener_log(EVENER_LOG_WARNING, "resolver",
                   "%s: inotify does not watch all of the path (too many watches? see fs.inotify.max_user_watches): "
                   "changes are noticed every %llu ms only",
                   self->source, (unsigned long long)(self->options.poll_ns / EVENER_NS_PER_MS));
    }
    self->unwatched = !watched;
    const evener_file_state state = evener_file_state_of(self->path);
    if (self->change_seen || !evener_file_state_same(&state, &self->read_state)) {
        if (!self->change_seen) {
            self->change_seen = true;
            self->change_began_ns = evener_loop_now_ns(self->loop);
        }
        read_and_take(self);
    } else if (!self->accepted && self->loaded) {
        push(self);
    }
}

static void poll_timer_fired(void *arg)
{
    struct file *self = arg;
    evener_timer_start(self->loop, &self->poll, self->options.poll_ns);
    if (!self->settle.active) {
        look(self);
    }
}

static void settled(void *arg)
{
    look(arg);
}

/* Called by the watch: the file or its path may have changed. */
static void changed(void *arg)
{
    struct file *self = arg;
    const uint64_t now_ns = evener_loop_now_ns(self->loop);
    if (!self->change_seen) {
        self->change_began_ns = now_ns;
    }
    self->change_seen = true;
    self->unfinished = false;
    const uint64_t latest_ns = self->change_began_ns + SETTLE_FACTOR_MAX * self->options.settle_ns;
    const uint64_t left_ns = latest_ns > now_ns ? latest_ns - now_ns : 0;
    evener_timer_start(self->loop, &self->settle,
                       left_ns < self->options.settle_ns ? left_ns : self->options.settle_ns);
}

/* ---- the resolver ---- */

static void file_start(evener_resolver *resolver)
{
    struct file *self = (struct file *)resolver;
    evener_timer_start(self->loop, &self->poll, self->options.poll_ns);
    look(self);
}

static void file_resolve_now(evener_resolver *resolver)
{
    struct file *self = (struct file *)resolver;
    if (!self->settle.active) {
        evener_timer_start(self->loop, &self->settle, 0); /* not immediately: this may be called from inside a push */
    }
    evener_file_hosts_resolve_now(self->hosts);
}

/* The file is looked at now, for a file system that is back; its names are asked for again. */
static void file_reset_backoff(evener_resolver *resolver)
{
    struct file *self = (struct file *)resolver;
    if (!self->settle.active) {
        evener_timer_start(self->loop, &self->settle, 0);
    }
    evener_file_hosts_reset_backoff(self->hosts);
}

static void file_close(evener_resolver *resolver)
{
    struct file *self = (struct file *)resolver;
    evener_timer_stop(self->loop, &self->poll);
    evener_timer_stop(self->loop, &self->settle);
    evener_timer_stop(self->loop, &self->host_wait);
    evener_timer_stop(self->loop, &self->hosts_together);
    evener_list_clear(&self->pushed);
    evener_file_watch_destroy(self->watch);
    evener_file_hosts_destroy(self->hosts);
    evener_file_endpoints_clear(&self->endpoints);
    free(self->path);
    free(self->source);
    free(self);
}

static const evener_resolver_vtable file_vtable = {
    .size = sizeof file_vtable,
    .start = file_start,
    .resolve_now = file_resolve_now,
    .close = file_close,
    .reset_backoff = file_reset_backoff,
};

/* ---- builder ---- */

/* Find the option's value among the NULL-terminated words. `*index` is unchanged if the option is not set. */
static evener_status_code read_word(const evener_resolver_args *args, const char *key, const char *const *words,
                                    const char *wanted, unsigned *index, evener_status *status)
{
    const char *text = evener_resolver_option(args, key);
    if (text == NULL) {
        return EVENER_STATUS_OK;
    }
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *index = i;
            return EVENER_STATUS_OK;
        }
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "file: option %s = \"%.40s\": %s is wanted", key,
                             text, wanted);
}

static evener_status_code read_options(const evener_resolver_args *args, struct options *options, evener_status *status)
{
    static const char *const truths[] = {"false", "true", NULL};
    static const char *const forms[] = {
        [FORM_AUTO] = "auto", [FORM_LINES] = "lines", [FORM_LIBCONFIG] = "libconfig", NULL};
    uint64_t poll_ms = POLL_MS_DEFAULT;
    uint64_t settle_ms = SETTLE_MS_DEFAULT;
    uint64_t bytes_max = EVENER_FILE_BYTES_MAX;
    unsigned allow_empty = 0;
    unsigned form = FORM_AUTO;
    evener_status_code code =
        evener_resolver_option_u64(args, "file.poll_ms", POLL_MS_MIN, POLL_MS_MAX, &poll_ms, status);
    if (code == EVENER_STATUS_OK) {
        code = evener_resolver_option_u64(args, "file.settle_ms", 0, SETTLE_MS_MAX, &settle_ms, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = evener_resolver_option_u64(args, "file.bytes_max", 1, FILE_BYTES_MAX_MAX, &bytes_max, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_word(args, "file.allow_empty", truths, "true or false", &allow_empty, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_word(args, "file.format", forms, "auto, lines or libconfig", &form, status);
    }
    *options = (struct options){
        .poll_ns = poll_ms * EVENER_NS_PER_MS,
        .settle_ns = settle_ms * EVENER_NS_PER_MS,
        .bytes_max = bytes_max,
        .allow_empty = allow_empty == 1,
        .form = (enum form)form,
    };
    return code;
}

static evener_status_code check_target(const evener_target *target, evener_status *status)
{
    const char *authority = evener_target_authority(target);
    if (authority[0] != '\0' && strcmp(authority, "localhost") != 0) { /* RFC 8089 */
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "file: \"%.100s\" would be a host; write file:///PATH or file:RELATIVE/PATH",
                                 authority);
    }
    const size_t bytes = strlen(evener_target_path(target));
    if (bytes == 0 || evener_target_path(target)[bytes - 1] == '/') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "file: the path names no file");
    }
    return EVENER_STATUS_OK;
}

static evener_status_code read_args(const evener_resolver_args *args, struct options *options, evener_status *status)
{
    const evener_status_code code = check_target(args->target, status);
    return code == EVENER_STATUS_OK ? read_options(args, options, status) : code;
}

static evener_status_code file_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                     evener_status *status)
{
    (void)builder;
    struct options options;
    return read_args(args, &options, status);
}

/* A relative path counts from the directory in which the target was parsed, whatever chdir() does later. NULL: out of
 * memory. */
static char *absolute_path(const evener_target *target)
{
    const char *path = evener_target_path(target);
    const char *directory = path[0] != '/' ? evener_target_directory(target) : NULL;
    char *absolute = NULL;
    if (directory == NULL) {
        return strdup(path);
    }
    return asprintf(&absolute, "%s/%s", directory, path) < 0 ? NULL : absolute;
}

static evener_status_code file_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                     evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    struct options options;
    const evener_status_code code = read_args(args, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    struct file *self = calloc(1, sizeof *self);
    char *path = self != NULL ? absolute_path(args->target) : NULL;
    const size_t source_bytes = path != NULL ? strlen("file ") + strlen(path) + 1 : 0;
    if (path == NULL || (self->source = malloc(source_bytes)) == NULL) {
        free(path);
        goto no_memory;
    }
    snprintf(self->source, source_bytes, "file %s", path);
    self->base.vtable = &file_vtable;
    self->sink = args->sink;
    self->loop = args->loop;
    self->path = path;
    self->options = options;
    self->poll = (evener_timer)EVENER_TIMER_INIT(poll_timer_fired, self);
    self->settle = (evener_timer)EVENER_TIMER_INIT(settled, self);
    self->host_wait = (evener_timer)EVENER_TIMER_INIT(hosts_changed, self);
    self->hosts_together = (evener_timer)EVENER_TIMER_INIT(hosts_changed, self);
    self->watch = evener_file_watch_create(args->loop, path, changed, self);
    self->hosts = evener_file_hosts_create(args, host_changed, self);
    if (self->watch == NULL || self->hosts == NULL) {
        goto no_memory;
    }
    *resolver = &self->base;
    return EVENER_STATUS_OK;

no_memory:
    if (self != NULL) {
        evener_file_watch_destroy(self->watch);
        evener_file_hosts_destroy(self->hosts);
        free(self->path);
        free(self->source);
        free(self);
    }
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "file: out of memory");
}

/* A local path names no host. */
static evener_server_names file_server_names(const evener_resolver_builder *builder, const evener_target *target)
{
    (void)builder;
    (void)target;
    return EVENER_SERVER_NAMES_ADDRESSES;
}

const evener_resolver_builder evener_file_resolver = {
    .size = sizeof evener_file_resolver,
    .scheme = "file",
    .build = file_build,
    .check = file_check,
    .server_names = file_server_names,
};
