#include "resolver/etcd/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>
#include <evener/tls_watch.h>

#include "lb/base/memory.h"
#include "lb/base/read_file.h"

#define RECEIVE_BYTES_MAX ((size_t)32 * 1024 * 1024)
#define KEEPALIVE_TIME_MS 10000 /* members refuse pings that are closer than 5 s (--grpc-keepalive-min-time) */
#define KEEPALIVE_TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_MS 5000
#define BACKOFF_INITIAL_MS 100
#define PASSWORD_BYTES_MAX 4096

struct evener_etcd_client {
    const evener_etcd_options *options;
    evener_runtime *runtime;
    evener_loop *loop;
    evener_channel *channel;
    evener_tls_watch *tls_watch;                          /* or NULL */
    evener_etcd_operation *authenticate;                  /* under way, or NULL */
    evener_etcd_operation *first_waiting, **last_waiting; /* for a token */
    char *token;                                          /* NULL: none yet */
    uint64_t token_number;                                /* of the token, from 1 */
    bool needs_no_token;                                  /* authentication is not enabled in etcd */
};

/* ---- life ---- */

static evener_status_code make_credentials(const evener_etcd_options *options, evener_credentials **credentials,
                                           evener_status *status)
{
    if (!options->tls) {
        return evener_credentials_create_insecure(credentials, status);
    }
    const evener_tls_files files = {.size = sizeof files,
                                    .root_certificates = options->ca,
                                    .certificate_chain = options->certificate,
                                    .private_key = options->key};
    return options->ca != NULL || options->certificate != NULL
               ? evener_tls_files_read(&files, credentials, status)
               : evener_credentials_create_tls(NULL, credentials, status);
}

/* Follow renewed certificates. Without a watch, those that were read stay. */
static void watch_files(evener_etcd_client *client)
{
    const evener_tls_files files = {.size = sizeof files,
                                    .root_certificates = client->options->ca,
                                    .certificate_chain = client->options->certificate,
                                    .private_key = client->options->key};
    evener_status status;
    if ((files.root_certificates != NULL || files.certificate_chain != NULL) &&
        evener_tls_watch_start(client->channel, &files, &client->tls_watch, &status) != EVENER_STATUS_OK) {
        evener_log(EVENER_LOG_WARNING, "etcd", "%s: certificates are not followed: %s", client->options->members,
                   status.message);
    }
}

evener_status_code evener_etcd_client_create(const evener_etcd_options *options, evener_runtime *runtime,
                                             bool decodes_much, evener_etcd_client **client, evener_status *status)
{
    evener_credentials *credentials = NULL;
    evener_etcd_client *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcd: out of memory");
    }
    made->options = options;
    made->last_waiting = &made->first_waiting;
    evener_status_code code = make_credentials(options, &credentials, status);
    if (code == EVENER_STATUS_OK) {
        const evener_channel_options channel_options = {
            .size = sizeof channel_options,
            .runtime = runtime,
            .credentials = credentials,
            .transport_name = "http2",
            .policy = "round_robin",
            .authority = options->server_name,
            .ignore_service_config = true,
            .idle_timeout_ms = EVENER_NEVER_MS,
            .connect_timeout_ms = CONNECT_TIMEOUT_MS,
            .backoff_initial_ms = BACKOFF_INITIAL_MS,
            .backoff_max_ms = options->backoff_max_ms,
            .keepalive_time_ms = KEEPALIVE_TIME_MS,
            .keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS,
            .receive_bytes_max = RECEIVE_BYTES_MAX,
            .callbacks_on_call_threads = decodes_much,
        };
        code = evener_channel_create(options->inner_target, &channel_options, &made->channel, status);
    }
    evener_credentials_destroy(credentials);
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    made->runtime = evener_runtime_ref(runtime);
    made->loop = evener_runtime_loop(runtime);
    watch_files(made);
    *client = made;
    return evener_status_clear(status);
}

static void send_waiting(evener_etcd_client *client, const evener_status *failure);

void evener_etcd_client_destroy(evener_etcd_client *client)
{
    evener_status closed;
    if (client == NULL) {
        return;
    }
    evener_status_set(&closed, EVENER_STATUS_CANCELLED, "closed");
    send_waiting(client, &closed);
    if (client->authenticate != NULL) {
        client->authenticate->client = NULL;
        evener_etcd_operation_cancel(client->authenticate);
    }
    evener_tls_watch_stop(client->tls_watch);
    evener_channel_close(client->channel);
    evener_channel_unref(client->channel);
    evener_runtime_unref(client->runtime);
    if (client->token != NULL) {
        explicit_bzero(client->token, strlen(client->token));
    }
    free(client->token);
    free(client);
}

void evener_etcd_client_reset_backoff(evener_etcd_client *client)
{
    evener_channel_reset_connect_backoff(client->channel);
}

/* ---- what is sent with a call ---- */

typedef struct call_settings {
    evener_metadata metadata[2];
    evener_call_options options;
} call_settings;

static void fill_settings(const evener_etcd_client *client, bool with_token, call_settings *settings)
{
    /* A member that has lost its leader refuses or ends such calls, instead of waiting or serving old data. */
    settings->metadata[0] = (evener_metadata){.key = "hasleader", .value = "true", .value_bytes = 4};
    settings->options = (evener_call_options){.size = sizeof settings->options,
                                              .wait_for_ready = EVENER_WAIT_FOR_READY_NO,
                                              .metadata = settings->metadata,
                                              .metadata_count = 1};
    if (with_token && client->token != NULL) {
        settings->metadata[settings->options.metadata_count++] =
            (evener_metadata){.key = "token", .value = client->token, .value_bytes = strlen(client->token)};
    }
}

void evener_etcd_peer_text(const char *peer, char *text, size_t room)
{
    const char *colon = strchr(peer, ':');
    snprintf(text, room, "%s", colon != NULL ? colon + 1 : peer);
}

/* ---- operations ---- */

static void send_operation(evener_etcd_client *client, evener_etcd_operation *operation);

/* These errors differ by their texts only, which etcd's own clients compare too: two of them have INVALID_ARGUMENT, as
 * many others (etcd: api/v3rpc/rpctypes/error.go). etcd refuses before it does anything, so the request may be sent
 * again. */
bool evener_etcd_is_token_refused(const evener_status *status)
{
    return status->code == EVENER_STATUS_UNAUTHENTICATED || strstr(status->message, "invalid auth token") != NULL ||
           strstr(status->message, "revision of auth store is old") != NULL ||
           strstr(status->message, "user name is empty") != NULL;
}

static void end_operation(evener_etcd_operation *operation)
{
    evener_runtime *runtime = operation->runtime;
    evener_bytes_clear(&operation->request);
    evener_call_unref(operation->call);
    operation->call = NULL;
    operation->runtime = NULL;
    operation->done(operation);
    evener_runtime_unref(runtime);
}

/* On the control thread, when the call has ended. */
static void operation_ended(void *arg)
{
    evener_etcd_operation *operation = arg;
    evener_etcd_client *client = operation->client;
    if (!operation->canceled && operation->with_token && !operation->renewed && client->options->user != NULL &&
        operation->status.code != EVENER_STATUS_OK && evener_etcd_is_token_refused(&operation->status)) {
        operation->renewed = true; /* once per operation */
        evener_call_unref(operation->call);
        operation->call = NULL;
        if (operation->token_number == client->token_number) {
            evener_etcd_client_drop_token(client);
        }
        send_operation(client, operation);
        return;
    }
    end_operation(operation);
}

/* On a call or I/O thread, or on the control thread if there was no backend. */
static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    evener_etcd_operation *operation = arg;
    operation->status = *status;
    evener_etcd_peer_text(operation->details.peer != NULL ? operation->details.peer : "", operation->peer,
                          sizeof operation->peer);
    evener_call_details_clear(&operation->details);
    if (status->code == EVENER_STATUS_OK && operation->decode != NULL) {
        evener_status_clear(&operation->status);
        (void)operation->decode(operation, response, &operation->status);
    }
    evener_loop_post(operation->loop, &operation->task);
}

static void start_call(evener_etcd_client *client, evener_etcd_operation *operation)
{
    call_settings settings;
    evener_status refused; /* not the operation's: that is the callback's, which may come before this returns */
    fill_settings(client, operation->with_token, &settings);
    settings.options.timeout_ms = client->options->timeout_ms;
    operation->details = (evener_call_details){.size = sizeof operation->details};
    settings.options.details = &operation->details;
    operation->token_number = client->token_number;
    if (evener_call_start(client->channel, operation->method, &operation->request, &settings.options, call_ended,
                          operation, &operation->call, &refused) != EVENER_STATUS_OK) {
        operation->status = refused;
        evener_loop_post(operation->loop, &operation->task);
    }
}

/* End an operation without a call, or without a further one. */
static void end_with(evener_etcd_operation *operation, evener_status_code code, const char *message)
{
    evener_status_set(&operation->status, code, "%s", message);
    operation->with_token = false; /* its failure is final */
    evener_loop_post(operation->loop, &operation->task);
}

static void stop_waiting(evener_etcd_operation *operation)
{
    evener_etcd_client *client = operation->client;
    evener_etcd_operation **link = &client->first_waiting;
    while (*link != operation) {
        link = &(*link)->next;
    }
    *link = operation->next;
    if (operation->next == NULL) {
        client->last_waiting = link;
    }
    operation->waiting = false;
}

void evener_etcd_operation_cancel(evener_etcd_operation *operation)
{
    operation->canceled = true;
    if (operation->waiting) {
        stop_waiting(operation);
        end_with(operation, EVENER_STATUS_CANCELLED, "");
    } else if (operation->call != NULL) {
        evener_call_cancel(operation->call);
    }
}

/* ---- the token ---- */

typedef struct authentication {
    evener_etcd_operation operation;
    char *token;
} authentication;

static evener_status_code decode_token(evener_etcd_operation *operation, const evener_bytes *response,
                                       evener_status *status)
{
    authentication *self = EVENER_CONTAINER_OF(operation, authentication, operation);
    return evener_etcd_authenticate_parse(response, &self->token)
               ? EVENER_STATUS_OK
               : evener_status_set(status, EVENER_STATUS_INTERNAL, "the answer has no token");
}

static void send_waiting(evener_etcd_client *client, const evener_status *failure)
{
    evener_etcd_operation *next = NULL;
    evener_etcd_operation *operation = client->first_waiting;
    client->first_waiting = NULL;
    client->last_waiting = &client->first_waiting;
    for (; operation != NULL; operation = next) {
        next = operation->next;
        operation->waiting = false;
        if (failure != NULL) {
            end_with(operation, failure->code, failure->message);
        } else {
            start_call(client, operation);
        }
    }
}

static void authenticated(evener_etcd_operation *operation)
{
    authentication *self = EVENER_CONTAINER_OF(operation, authentication, operation);
    evener_etcd_client *client = operation->client;
    if (client != NULL) {
        evener_status failure;
        client->authenticate = NULL;
        /* The code alone would not do: etcd has it for other errors of authentication too. */
        const bool not_enabled = operation->status.code == EVENER_STATUS_FAILED_PRECONDITION &&
                                 strstr(operation->status.message, "authentication is not enabled") != NULL;
        if (operation->status.code == EVENER_STATUS_OK || not_enabled) {
            client->needs_no_token = not_enabled;
            client->token = self->token;
            client->token_number++;
            self->token = NULL;
            send_waiting(client, NULL);
        } else {
            evener_status_set(&failure, operation->status.code, "user %s: %s", client->options->user,
                              operation->status.message);
            send_waiting(client, &failure);
        }
    }
    free(self->token);
    free(self);
}

/* Return the password as owned text; NULL with a filled status. */
static char *read_password(const evener_etcd_options *options, evener_status *status)
{
    char *text = NULL;
    size_t bytes = 0;
    if (options->password_file == NULL) {
        text = strdup(options->password);
        if (text == NULL) {
            evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
    } else if (evener_read_regular_file(options->password_file, PASSWORD_BYTES_MAX, &text, &bytes, status) ==
               EVENER_STATUS_OK) {
        text[strcspn(text, "\r\n")] = '\0'; /* the first line */
    }
    return text;
}

static void get_token(evener_etcd_client *client)
{
    evener_status status;
    if (client->authenticate != NULL) {
        return;
    }
    authentication *self = calloc(1, sizeof *self);
    char *password = self != NULL ? read_password(client->options, &status) : NULL;
    const bool ready =
        password != NULL && evener_etcd_authenticate_request(client->options->user, password, &self->operation.request);
    if (password != NULL) {
        explicit_bzero(password, strlen(password));
    }
    free(password);
    if (!ready) {
        if (self == NULL || password != NULL) {
            evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
        free(self);
        send_waiting(client, &status);
        return;
    }
    evener_etcd_operation *operation = &self->operation;
    operation->method = EVENER_ETCD_AUTHENTICATE;
    operation->decode = decode_token;
    operation->done = authenticated;
    operation->client = client;
    operation->runtime = evener_runtime_ref(client->runtime);
    operation->loop = client->loop;
    operation->task = (evener_task)EVENER_TASK_INIT(operation_ended, operation);
    client->authenticate = operation;
    start_call(client, operation);
}

void evener_etcd_client_drop_token(evener_etcd_client *client)
{
    free(client->token);
    client->token = NULL;
    client->needs_no_token = false;
}

/* Send the operation, with a token if one is needed. */
static void send_operation(evener_etcd_client *client, evener_etcd_operation *operation)
{
    if (client->options->user == NULL || client->token != NULL || client->needs_no_token) {
        start_call(client, operation);
        return;
    }
    operation->next = NULL;
    operation->waiting = true;
    *client->last_waiting = operation;
    client->last_waiting = &operation->next;
    get_token(client);
}

void evener_etcd_client_start(evener_etcd_client *client, evener_etcd_operation *operation)
{
    operation->client = client;
    operation->runtime = evener_runtime_ref(client->runtime);
    operation->loop = client->loop;
    operation->call = NULL;
    operation->task = (evener_task)EVENER_TASK_INIT(operation_ended, operation);
    operation->canceled = operation->renewed = operation->waiting = false;
    operation->with_token = true;
    send_operation(client, operation);
}

/* ---- streams ---- */

static void stream_message_task(void *arg)
{
    evener_etcd_stream *stream = arg;
    if (!stream->detached) {
        stream->message(stream);
    }
}

static void stream_end_task(void *arg)
{
    evener_etcd_stream *stream = arg;
    evener_runtime *runtime = stream->runtime;
    if (!stream->detached) {
        stream->ended(stream);
    }
    evener_stream_unref(stream->stream);
    stream->release(stream);
    evener_runtime_unref(runtime);
}

static void stream_message(void *arg, evener_bytes *message)
{
    evener_etcd_stream *stream = arg;
    if (stream->decode != NULL) {
        stream->decode(stream, message);
    }
    evener_bytes_clear(message);
    evener_loop_post(stream->loop, &stream->message_task);
}

static void stream_ended(void *arg, const evener_status *status)
{
    evener_etcd_stream *stream = arg;
    stream->status = *status;
    evener_loop_post(stream->loop, &stream->end_task); /* after the task of the last message */
}

static const evener_stream_callbacks stream_callbacks = {
    .size = sizeof stream_callbacks,
    .message = stream_message,
    .ended = stream_ended,
};

evener_status_code evener_etcd_client_open(evener_etcd_client *client, const char *method, evener_etcd_stream *stream,
                                           evener_bytes *first, evener_status *status)
{
    call_settings settings;
    fill_settings(client, true, &settings);
    stream->loop = client->loop;
    stream->detached = false;
    stream->message_task = (evener_task)EVENER_TASK_INIT(stream_message_task, stream);
    stream->end_task = (evener_task)EVENER_TASK_INIT(stream_end_task, stream);
    stream->runtime = evener_runtime_ref(client->runtime);
    const evener_status_code code = evener_stream_start(client->channel, method, NULL, &settings.options,
                                                        &stream_callbacks, stream, &stream->stream, status);
    if (code != EVENER_STATUS_OK) {
        evener_runtime_unref(stream->runtime);
        evener_bytes_clear(first);
        return code;
    }
    (void)evener_stream_send(stream->stream, first); /* false: it has ended, and says so */
    evener_bytes_clear(first);
    (void)evener_stream_ask(stream->stream);
    return code;
}

void evener_etcd_stream_next(evener_etcd_stream *stream)
{
    (void)evener_stream_ask(stream->stream);
}

bool evener_etcd_stream_send(evener_etcd_stream *stream, evener_bytes *message)
{
    const bool sent = evener_stream_send(stream->stream, message);
    evener_bytes_clear(message);
    return sent;
}

void evener_etcd_stream_detach(evener_etcd_stream *stream)
{
    stream->detached = true;
    evener_stream_cancel(stream->stream);
}
