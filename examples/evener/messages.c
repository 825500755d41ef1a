#include "examples/evener/messages.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/json.h>

#include "examples/evener/cli.h"

#define READ_BYTES 65536

cli_messages cli_messages_open(const cli_options *options, const evener_method *method)
{
    return (cli_messages){
        .options = options,
        .method = method,
        .stop = -1,
        .text = (const char *)options->request.data,
        .length = options->request.length,
        .at_end = !options->standard_input,
    };
}

void cli_messages_close(cli_messages *messages)
{
    free(messages->owned);
    messages->owned = NULL;
}

/* Whether a whole value is at `at`: an object, array or string up to its last character, another one up to whitespace.
 * What is malformed is found later. */
static bool has_value(cli_messages *self)
{
    for (; self->scanned < self->length; self->scanned++) {
        const char c = self->text[self->scanned];
        if (self->in_string) {
            self->in_string = self->escaped || c != '"';
            self->escaped = !self->escaped && c == '\\';
        } else if (c == '"') {
            self->in_string = true;
        } else if (c == '{' || c == '[') {
            self->depth++;
        } else if ((c == '}' || c == ']') && self->depth > 0) {
            self->depth--;
        } else if (self->depth > 0) {
            continue;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            if (self->begun) {
                return true;
            }
            continue;
        } else {
            self->begun = true; /* a number or a word, up to whitespace */
            continue;
        }
        self->begun = true;
        if (self->depth == 0 && !self->in_string) {
            self->scanned++;
            return true;
        }
    }
    return false;
}

/* Wait for more of standard input. *stopped: `stop` came first. False: the error was printed. */
static bool read_more(cli_messages *self, bool *stopped)
{
    if (self->at > 0) {
        memmove(self->owned, self->owned + self->at, self->length - self->at);
    }
    self->length -= self->at;
    self->scanned -= self->at;
    self->at = 0;
    if (self->room - self->length < READ_BYTES) {
        const size_t room = 2 * self->room + READ_BYTES;
        char *owned = realloc(self->owned, room);
        if (owned == NULL || room > CLI_DATA_BYTES_MAX) {
            self->owned = owned != NULL ? owned : self->owned;
            return cli_error("standard input: a message larger than %d bytes", CLI_DATA_BYTES_MAX);
        }
        self->owned = owned;
        self->room = room;
    }
    self->text = self->owned;
    struct pollfd ends[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = self->stop, .events = POLLIN}};
    ssize_t bytes = -1;
    do {
        if (poll(ends, 2, -1) > 0) {
            *stopped = ends[1].revents != 0;
            bytes = *stopped ? 0 : read(STDIN_FILENO, self->owned + self->length, self->room - self->length);
        }
    } while (bytes < 0 && errno == EINTR);
    if (bytes < 0) {
        return cli_error("standard input: %s", strerror(errno));
    }
    self->at_end = bytes == 0;
    self->length += (size_t)bytes;
    return true;
}

bool cli_messages_next(cli_messages *self, bool *more, evener_bytes *message)
{
    const cli_options *options = self->options;
    const evener_json_options json = {
        .size = sizeof json, .ignore_unknown = options->allow_unknown_fields, .opaque_any = true};
    evener_status status;
    size_t start, end;
    if (!options->has_data) { /* a single request may be empty; a stream of requests is */
        *more = !self->is_later && !self->method->client_streaming;
        self->is_later = true;
        *message = (evener_bytes){0};
        return true;
    }
    bool stopped = false;
    while (!self->at_end && !has_value(self)) {
        if (!read_more(self, &stopped)) {
            return false;
        }
    }
    if (stopped) {
        *more = false;
        return true;
    }
    const size_t length = (self->at_end ? self->length : self->scanned) - self->at;
    const char *text = length > 0 ? self->text + self->at : "";
    if (evener_json_next(text, length, &start, &end, &status) != EVENER_STATUS_OK) {
        /* Of the last value the place in the whole text is of use only if it is the first. */
        return cli_error("--data: %s%s", self->is_later ? "after the messages before: " : "", status.message);
    }
    *more = start != end;
    if (!*more) {
        return true;
    }
    if (evener_json_to_bytes(self->method->input, text + start, end - start, &json, message, &status) !=
        EVENER_STATUS_OK) {
        return cli_error("--data: %s: %s", self->method->input->full_name, status.message);
    }
    self->at += end;
    self->scanned = self->at;
    self->depth = 0;
    self->begun = self->in_string = self->escaped = false;
    self->is_later = true;
    return true;
}

bool cli_messages_take_one(const cli_options *options, const evener_method *method, evener_bytes *message)
{
    cli_messages messages = cli_messages_open(options, method);
    evener_bytes second = {0};
    bool more = false;
    *message = (evener_bytes){0};
    bool ok = cli_messages_next(&messages, &more, message);
    if (ok && more && options->has_data) {
        ok = cli_messages_next(&messages, &more, &second);
        if (ok && more) {
            ok = cli_error("--data: %s takes one message", method->full_name);
        }
        evener_bytes_clear(&second);
    }
    cli_messages_close(&messages);
    if (!ok) {
        evener_bytes_clear(message);
    }
    return ok;
}
