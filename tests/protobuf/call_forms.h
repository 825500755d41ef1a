/* Forms of calling: every method of GrpcDemo and GrpcGatewayDemo by protobuf-c's stubs, by generated functions, by
 * bytes, by the command line and by the gateway. What all of them share: messages in, answers out, as wire bytes. */
#ifndef TESTS_PROTOBUF_CALL_FORMS_H
#define TESTS_PROTOBUF_CALL_FORMS_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/bytes.h>
#include <evener/descriptors.h>
#include <evener/evener.h>

/* Wire bytes of messages, and a call's status. */
typedef struct call_messages {
    evener_bytes *list;
    size_t count, room;
    evener_status_code code;
} call_messages;

/* Append a message, which is taken over. */
void call_messages_add(call_messages *messages, evener_bytes *message);
/* Append a copy of a message of protobuf-c, packed. */
void call_messages_add_packed(call_messages *messages, const void *message);
void call_messages_clear(call_messages *messages);

/* One form of a method: call it with these requests, store the answers and the status. */
typedef void (*call_form)(evener_channel *channel, const call_messages *requests, call_messages *answers);

/* A method, and its forms in generated code. */
typedef struct call_method {
    const char *path; /* "/grpcdemo.GrpcDemo/UnaryCall" */
    call_form blocking, async;
    call_form stub; /* NULL: a stream, which stubs do not know */
} call_method;

#define CALL_METHODS 7
extern const call_method call_methods[CALL_METHODS];

/* By bytes: evener_unary_call(), or the stream of evener/call.h. */
void call_by_bytes(evener_channel *channel, const evener_method *method, const call_messages *requests,
                   call_messages *answers);

#endif
