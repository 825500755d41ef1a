#include "lb/channel/saved_list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <evener/resolver.h>

#include "lb/base/fork.h"
#include "lb/base/read_file.h"
#include "lb/policy/xxh64.h"

#define MAGIC "evener-list 1\n"
#define CHECKSUM "checksum "
#define CHECKSUM_LINE_BYTES (sizeof CHECKSUM - 1 + 16 + 1)
#define SERVICE_CONFIG_BYTES_MAX ((size_t)16 * 1024 * 1024)

void evener_saved_list_clear(evener_saved_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        evener_address_unref(list->addresses[i]);
    }
    free(list->addresses);
    free(list->service_config);
    free(list->target);
    *list = (evener_saved_list){0};
}

/* ---- writing ---- */

typedef struct output {
    char *text;
    size_t used, room;
    bool failed;
} output;

static void put(output *out, const char *bytes, size_t count)
{
    if (out->failed) {
        return;
    }
    if (out->room - out->used < count) {
        const size_t room = (out->room + count) * 2;
        char *grown = realloc(out->text, room);
        if (grown == NULL) {
            out->failed = true;
            return;
        }
        out->text = grown;
        out->room = room;
    }
    memcpy(out->text + out->used, bytes, count);
    out->used += count;
}

static void put_text(output *out, const char *text)
{
    put(out, text, strlen(text));
}

static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '%' && c != '=';
}

static void put_escaped(output *out, const char *text)
{
    while (*text != '\0') {
        size_t plain = 0;
        while (is_plain((unsigned char)text[plain])) {
            plain++;
        }
        put(out, text, plain);
        text += plain;
        if (*text != '\0') {
            char escape[4];
            snprintf(escape, sizeof escape, "%%%02x", (unsigned)(unsigned char)*text++);
            put(out, escape, 3);
        }
    }
}

static void put_address(output *out, const evener_address *address)
{
    put_text(out, "address ");
    put_escaped(out, evener_address_text(address));
    for (size_t i = 0; i < evener_address_attribute_count(address); i++) {
        const evener_attribute attribute = evener_address_attribute_at(address, i);
        put_text(out, " ");
        put_escaped(out, attribute.key);
        put_text(out, "=");
        put_escaped(out, attribute.value);
    }
    put_text(out, "\n");
}

bool evener_saved_list_encode(const evener_saved_list *list, char **text, size_t *bytes, uint64_t *content)
{
    output out = {0};
    char line[64];
    put_text(&out, MAGIC);
    snprintf(line, sizeof line, "time %" PRIu64 "\n", list->time_ms);
    put_text(&out, line);
    const size_t content_start = out.used;
    put_text(&out, "target ");
    put_escaped(&out, list->target);
    put_text(&out, "\n");
    if (list->service_config != NULL) {
        put_text(&out, "service_config ");
        put_escaped(&out, list->service_config);
        put_text(&out, "\n");
    }
    for (size_t i = 0; i < list->count; i++) {
        put_address(&out, list->addresses[i]);
    }
    if (!out.failed) {
        *content = evener_xxh64(out.text + content_start, out.used - content_start, 0);
        snprintf(line, sizeof line, CHECKSUM "%016" PRIx64 "\n", evener_xxh64(out.text, out.used, 0));
        put_text(&out, line);
    }
    if (out.failed) {
        free(out.text);
        return false;
    }
    *text = out.text;
    *bytes = out.used;
    return true;
}

/* ---- reading ---- */

typedef struct input {
    char *next, *end;
    unsigned line;
    evener_status *status;
} input;

static evener_status_code damaged(const input *in, const char *reason)
{
    return evener_status_set(in->status, EVENER_STATUS_INVALID_ARGUMENT, "line %u: %s", in->line, reason);
}

static evener_status_code no_memory(const input *in)
{
    return evener_status_set(in->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

/* Return the next line without its line feed, ended by a NUL; NULL at the end. */
static char *take_line(input *in)
{
    char *feed = in->next < in->end ? memchr(in->next, '\n', (size_t)(in->end - in->next)) : NULL;
    if (feed == NULL) {
        return NULL;
    }
    char *line = in->next;
    *feed = '\0';
    in->next = feed + 1;
    in->line++;
    return line;
}

/* Return what follows `name` and a space, or NULL if the line begins otherwise. */
static char *value_of(char *line, const char *name)
{
    const size_t bytes = strlen(name);
    return strncmp(line, name, bytes) == 0 && line[bytes] == ' ' ? line + bytes + 1 : NULL;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo put_escaped(), in place. Return false if the text cannot come from it. */
static bool unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        const int high = hex_digit(from[1]);
        const int low = high >= 0 ? hex_digit(from[2]) : -1;
        if (low < 0 || high + low == 0) {
            return false;
        }
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return true;
}

static evener_status_code take_text(const input *in, char *value, char **member)
{
    if (*member != NULL || !unescape(value)) {
        return damaged(in, *member != NULL ? "is there twice" : "cannot be read");
    }
    *member = strdup(value);
    return *member != NULL ? EVENER_STATUS_OK : no_memory(in);
}

static evener_status_code take_address(const input *in, char *value, evener_saved_list *list, size_t *room)
{
    evener_attribute attributes[EVENER_ADDRESS_ATTRIBUTES_MAX];
    size_t count = 0;
    char *rest = NULL;
    char *text = strtok_r(value, " ", &rest);
    if (text == NULL || !unescape(text)) {
        return damaged(in, "an address is needed");
    }
    for (char *pair = strtok_r(NULL, " ", &rest); pair != NULL; pair = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(pair, '=');
        if (equals == NULL || count == EVENER_ADDRESS_ATTRIBUTES_MAX) {
            return damaged(in, equals == NULL ? "an attribute has no value" : "too many attributes");
        }
        *equals = '\0';
        attributes[count] = (evener_attribute){.key = pair, .value = equals + 1};
        if (!unescape(pair) || !unescape(equals + 1)) {
            return damaged(in, "an attribute cannot be read");
        }
        count++;
    }
    if (list->count == *room) {
        const size_t grown_room = *room > 0 ? *room * 2 : 64;
        evener_address **grown =
            list->count < EVENER_RESOLVER_ADDRESSES_MAX ? realloc(list->addresses, grown_room * sizeof *grown) : NULL;
        if (grown == NULL) {
            return list->count < EVENER_RESOLVER_ADDRESSES_MAX ? no_memory(in) : damaged(in, "too many addresses");
        }
        list->addresses = grown;
        *room = grown_room;
    }
    evener_status reason;
    const evener_status_code code =
        evener_address_create(text, attributes, count, &list->addresses[list->count], &reason);
    if (code != EVENER_STATUS_OK) {
        return evener_status_set(in->status, code, "line %u: %s", in->line, reason.message);
    }
    list->count++;
    return EVENER_STATUS_OK;
}

static evener_status_code parse_lines(input *in, evener_saved_list *list)
{
    size_t room = 0;
    char *line = take_line(in);
    if (line == NULL || strcmp(line, "evener-list 1") != 0) {
        return damaged(in, "is no list of this version of evener");
    }
    line = take_line(in);
    char *value = line != NULL ? value_of(line, "time") : NULL;
    char *rest = NULL;
    list->time_ms = value != NULL ? strtoull(value, &rest, 10) : 0;
    if (value == NULL || value[0] < '0' || value[0] > '9' || *rest != '\0') {
        return damaged(in, "the time is needed");
    }
    evener_status_code code = EVENER_STATUS_OK;
    while (code == EVENER_STATUS_OK && (line = take_line(in)) != NULL) {
        if ((value = value_of(line, "address")) != NULL) {
            code = take_address(in, value, list, &room);
        } else if ((value = value_of(line, "target")) != NULL) {
            code = take_text(in, value, &list->target);
        } else if ((value = value_of(line, "service_config")) != NULL) {
            code = strlen(value) <= SERVICE_CONFIG_BYTES_MAX ? take_text(in, value, &list->service_config)
                                                             : damaged(in, "the service config is too long");
        } else {
            code = damaged(in, "is unknown");
        }
    }
    if (code == EVENER_STATUS_OK && (in->next != in->end || list->target == NULL)) {
        code = damaged(in, list->target == NULL ? "the target is missing" : "has no end");
    }
    return code;
}

/* Check the last line. Store the number of bytes before it. */
static bool checksum_is_good(const char *text, size_t bytes, size_t *content_bytes)
{
    char wanted[CHECKSUM_LINE_BYTES + 1];
    if (bytes < CHECKSUM_LINE_BYTES) {
        return false;
    }
    *content_bytes = bytes - CHECKSUM_LINE_BYTES;
    snprintf(wanted, sizeof wanted, CHECKSUM "%016" PRIx64 "\n", evener_xxh64(text, *content_bytes, 0));
    return memcmp(text + *content_bytes, wanted, CHECKSUM_LINE_BYTES) == 0;
}

evener_status_code evener_saved_list_parse(char *text, size_t bytes, evener_saved_list *list, evener_status *status)
{
    size_t content_bytes = 0;
    if (!checksum_is_good(text, bytes, &content_bytes)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "damaged: the checksum in the last line is not that of the text before it");
    }
    evener_saved_list read = {0};
    input in = {.next = text, .end = text + content_bytes, .status = status};
    const evener_status_code code = parse_lines(&in, &read);
    if (code != EVENER_STATUS_OK) {
        evener_saved_list_clear(&read);
        return code;
    }
    *list = read;
    return evener_status_clear(status);
}

/* ---- the file ---- */

static evener_status_code system_failed(const char *path, const char *step, int error, evener_status *status)
{
    const evener_status_code code = error == EACCES || error == EPERM || error == EROFS
                                        ? EVENER_STATUS_PERMISSION_DENIED
                                    : error == ENOENT ? EVENER_STATUS_NOT_FOUND
                                                      : EVENER_STATUS_UNAVAILABLE;
    return evener_status_set(status, code, "%s: %s: %s", path, step, strerror(error));
}

static bool write_all(int descriptor, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t count = write(descriptor, text, bytes);
        if (count < 0 && errno != EINTR) {
            return false;
        }
        text += count > 0 ? count : 0;
        bytes -= count > 0 ? (size_t)count : 0;
    }
    return true;
}

/* Return whether the name still belongs to the open file: another writer may have renamed it between open and lock. */
static bool is_still(int descriptor, const char *path)
{
    struct stat open_file;
    struct stat named;
    return fstat(descriptor, &open_file) == 0 && stat(path, &named) == 0 && open_file.st_dev == named.st_dev &&
           open_file.st_ino == named.st_ino;
}

/* Unlock and close. A child of a fork may still have a copy of the descriptor, which would keep the lock. */
static void close_beside(int descriptor)
{
    (void)flock(descriptor, LOCK_UN);
    evener_fork_close(descriptor);
}

/* Open and lock the file that is written beside the real one. It has a fixed name, so that writers that were killed
 * leave one file at most, and a lock, so that two processes never write it at once. Return the descriptor, or -1. */
static int open_beside(const char *path, evener_status *status)
{
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (descriptor < 0) {
        system_failed(path, "open", errno, status);
        return -1;
    }
    evener_fork_close_in_child(descriptor); /* a child would keep the lock of a writer that is killed */
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 || !is_still(descriptor, path)) {
        evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "%s: another process writes it now", path);
        evener_fork_close(descriptor);
        return -1;
    }
    if (ftruncate(descriptor, 0) != 0) {
        system_failed(path, "truncate", errno, status);
        close_beside(descriptor);
        return -1;
    }
    return descriptor;
}

/* Bring the new name to the disk. Best effort: without it, a power failure may bring the old list back. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t bytes = slash != NULL ? (size_t)(slash - path) + 1 : 1;
    if (bytes >= sizeof folder) {
        return;
    }
    memcpy(folder, slash != NULL ? path : ".", bytes);
    folder[bytes] = '\0';
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        close(descriptor);
    }
}

evener_status_code evener_saved_list_write(const char *path, const char *text, size_t bytes, evener_status *status)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%.200s...: the path is too long", path);
    }
    const int descriptor = open_beside(beside, status);
    if (descriptor < 0) {
        return status->code;
    }
    const char *failed = !write_all(descriptor, text, bytes) ? "write"
                         : fsync(descriptor) != 0            ? "fsync"
                         : rename(beside, path) != 0         ? "rename"
                                                             : NULL;
    const int error = errno;
    close_beside(descriptor);
    if (failed != NULL) {
        return system_failed(beside, failed, error, status);
    }
    sync_folder(path);
    return evener_status_clear(status);
}

evener_status_code evener_saved_list_read(const char *path, evener_saved_list *list, evener_status *status)
{
    char *text = NULL;
    size_t bytes = 0;
    evener_status_code code = evener_read_regular_file(path, EVENER_SAVED_LIST_BYTES_MAX, &text, &bytes, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_status reason;
    code = evener_saved_list_parse(text, bytes, list, &reason);
    free(text);
    return code == EVENER_STATUS_OK ? evener_status_clear(status)
                                    : evener_status_set(status, code, "%s: %s", path, reason.message);
}
