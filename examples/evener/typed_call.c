/* evener call TARGET package.Service/Method: a call of any kind, its messages as JSON. */
#include "examples/evener/typed_call.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"
#include "examples/evener/messages.h"
#include "examples/evener/types.h"

/* A stream of answers, printed as they come: with a client stream, beside the writing. */
typedef struct reading {
    const cli_options *options;
    const evener_method *method;
    evener_stream *stream;
    int ended[2]; /* a pipe; readable when there is no further answer, so that nobody waits for a message in vain */
    bool failed;  /* an answer could not be printed */
} reading;

static void *print_answers(void *arg)
{
    reading *r = arg;
    evener_bytes message;
    int error; /* main() prints it */
    while (evener_stream_read(r->stream, &message)) {
        /* Each answer when it comes: the reader may be a program. */
        if (!cli_print_message(r->options, r->method->output, &message) || !cli_flush(&error)) {
            r->failed = true;
            evener_stream_cancel(r->stream);
        }
        evener_bytes_clear(&message);
    }
    close(r->ended[1]);
    return NULL;
}

/* Send all messages of --data, each when it is there. False: the error was printed, and the call is cancelled. */
static bool send_messages(const reading *r)
{
    cli_messages messages = cli_messages_open(r->options, r->method);
    bool ok, more, open = true;
    evener_bytes message;
    messages.stop = r->ended[0];
    while ((ok = cli_messages_next(&messages, &more, &message)) && more) {
        open = open && evener_stream_write(r->stream, &message); /* false: the end says why */
        evener_bytes_clear(&message);
    }
    cli_messages_close(&messages);
    if (ok) {
        evener_stream_writes_done(r->stream);
    } else {
        evener_stream_cancel(r->stream);
    }
    return ok;
}

static evener_status_code stream(const cli_options *options, const cli_service *service, const evener_method *method,
                                 evener_call_details *details, bool *failed, evener_status *status)
{
    evener_call_options call = cli_call_options(options);
    reading r = {.options = options, .method = method};
    pthread_t reader;
    call.details = details;
    if (pipe(r.ended) != 0) {
        *failed = !cli_error("no pipe: %s", strerror(errno));
        return EVENER_STATUS_OK;
    }
    const evener_status_code code = evener_stream_open(service->channel, method->path, NULL, &call, &r.stream, status);
    if (code != EVENER_STATUS_OK) {
        close(r.ended[0]);
        close(r.ended[1]);
        return code;
    }
    if (pthread_create(&reader, NULL, print_answers, &r) != 0) {
        evener_stream_unref(r.stream);
        close(r.ended[0]);
        close(r.ended[1]);
        *failed = !cli_error("no thread can be started");
        return EVENER_STATUS_OK;
    }
    *failed = !send_messages(&r);
    pthread_join(reader, NULL);
    close(r.ended[0]); /* the reader has closed the other end */
    *failed = *failed || r.failed;
    const evener_status_code result = evener_stream_finish(r.stream, status);
    evener_stream_unref(r.stream);
    return result;
}

static evener_status_code unary(const cli_options *options, const cli_service *service, const evener_method *method,
                                evener_call_details *details, bool *failed, evener_status *status)
{
    evener_call_options call = cli_call_options(options);
    evener_bytes request, response = {0};
    evener_status_clear(status);
    *failed = !cli_messages_take_one(options, method, &request);
    if (*failed) {
        return EVENER_STATUS_OK;
    }
    call.details = details;
    const evener_status_code code =
        evener_unary_call(service->channel, method->path, &request, &call, &response, status);
    if (code == EVENER_STATUS_OK) {
        *failed = !cli_print_message(options, method->output, &response);
    }
    evener_bytes_clear(&request);
    evener_bytes_clear(&response);
    return code;
}

evener_status_code cli_typed_call(const cli_options *options, const cli_service *service, evener_call_details *details,
                                  bool *failed, evener_status *status)
{
    evener_descriptors *types = NULL;
    const evener_method *method = NULL;
    evener_status_code code = EVENER_STATUS_OK;
    char *name = cli_service_name(options->method);
    evener_status_clear(status);
    if (name != NULL && cli_types_open(options, service, name, &types, status)) {
        method = cli_types_method(options, types);
    }
    *failed = method == NULL && status->code == EVENER_STATUS_OK;
    if (method == NULL) {
        code = status->code;
    } else {
        code = method->client_streaming || method->server_streaming
                   ? stream(options, service, method, details, failed, status)
                   : unary(options, service, method, details, failed, status);
    }
    evener_descriptors_destroy(types);
    free(name);
    return code;
}
