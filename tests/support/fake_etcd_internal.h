/* The inside of the scripted etcd: fake_etcd.c is its store and its calls, fake_etcd_server.c the HTTP/2 server. */
#ifndef TESTS_SUPPORT_FAKE_ETCD_INTERNAL_H
#define TESTS_SUPPORT_FAKE_ETCD_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolver/etcd/wire.h"
#include "tests/support/fake_etcd.h"

typedef struct fake_server fake_server;
typedef struct fake_stream fake_stream;

/* One call, as the server hands it over. Everything under `fake_etcd.mutex`. */
struct fake_stream {
    fake_stream *next; /* of the connection */
    void *connection;
    int32_t id;
    char path[64], token[64];
    bool has_leader;
    uint8_t *in;
    size_t in_used;
    uint8_t *out;
    size_t out_used, out_sent;
    bool answered, ended, is_frozen;
    char status[8], message[256];
    /* of a watch */
    bool is_watch;
    char *key, *end;
    size_t key_bytes, end_bytes;
    int64_t next_revision;
};

/* Send a message on a stream; end it. */
void fake_stream_send(fake_stream *stream, const void *bytes, size_t length);
void fake_stream_end(fake_stream *stream, int code, const char *message);

/* The calls: a complete message has come. The mutex is held. */
void fake_etcd_handle(fake_etcd *etcd, fake_stream *stream, const uint8_t *bytes, size_t length);
/* Count; the mutex is held. */
void fake_etcd_note(fake_etcd *etcd, fake_etcd_count what);

fake_server *fake_server_start(fake_etcd *etcd, pthread_mutex_t *mutex);
void fake_server_stop(fake_server *server);
uint16_t fake_server_port(const fake_server *server);
/* Have the thread send what was queued. Any thread. */
void fake_server_wake(fake_server *server);
/* Close all connections, and the port if wanted. Waits. Not with the mutex held. */
void fake_server_hang_up(fake_server *server);
void fake_server_set_down(fake_server *server, bool is_down);
/* Visit all streams. The mutex is held. */
void fake_server_visit(fake_server *server, void (*visit)(void *arg, fake_stream *stream), void *arg);

#endif
