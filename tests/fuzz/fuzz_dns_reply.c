/* Replies of a hostile server. The first byte chooses the record type. SRV and TXT replies go directly to their
 * parsers; A and AAAA replies go through c-ares, whose sockets answer the query with the rest of the input. */
#include <ares.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "resolver/dns/name.h"
#include "resolver/dns/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS_MAX 8 /* then the server is silent */
#define SOCKETS_MAX 16

struct wire {
    const uint8_t *data;
    size_t size;
    uint8_t query[512];
    size_t query_bytes;
    int answers;
    bool ended;
    ares_socket_t sockets[SOCKETS_MAX]; /* readable ones; ARES_SOCKET_BAD: free place */
};

static void check_answer(evener_dns_type type, const evener_dns_answer *answer)
{
    assert(answer->record_count <= EVENER_DNS_RECORDS_MAX);
    for (size_t i = 0; i < answer->record_count; i++) {
        const evener_dns_record *record = &answer->records[i];
        assert(record->text != NULL);
        assert(type != EVENER_DNS_SRV || (record->port != 0 && evener_dns_name_problem(record->text) == NULL));
    }
    assert(answer->status.code == EVENER_STATUS_OK || answer->status.message[0] != '\0');
    assert(answer->record_count > 0 || answer->nothing != NULL);
}

static ares_socket_t wire_socket(int family, int type, int protocol, void *arg)
{
    (void)arg;
    return socket(family, type, protocol); /* c-ares needs a descriptor; nothing is sent over it */
}

static int wire_close(ares_socket_t fd, void *arg)
{
    (void)arg;
    return close(fd);
}

static void wire_record(struct wire *wire, const void *bytes, size_t count)
{
    const size_t room = sizeof wire->query - wire->query_bytes;
    const size_t taken = count < room ? count : room;
    memcpy(wire->query + wire->query_bytes, bytes, taken);
    wire->query_bytes += taken;
}

/* Build a reply: ID and question of the query, so that c-ares reads on, then the input. The input's first two bytes are
 * the flags, the next six the record counts. */
static ares_ssize_t wire_receive(ares_socket_t fd, void *buffer, size_t room, int flags, struct sockaddr *from,
                                 ares_socklen_t *from_bytes, void *arg)
{
    (void)fd;
    (void)flags;
    struct wire *wire = arg;
    uint8_t reply[66000];
    if (wire->answers >= ANSWERS_MAX || wire->query_bytes < 16 || wire->size < 8) {
        errno = EAGAIN;
        return -1;
    }
    wire->answers++;
    size_t question = 12;
    while (question < wire->query_bytes && wire->query[question] != 0) {
        question += 1u + wire->query[question];
    }
    question += 5;
    if (question > wire->query_bytes) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(reply, wire->query, question);
    reply[2] = (uint8_t)(wire->data[0] | 0x80);
    reply[3] = wire->data[1];
    memcpy(reply + 6, wire->data + 2, 6);
    size_t bytes = wire->size - 8;
    bytes = bytes > sizeof reply - question ? sizeof reply - question : bytes;
    memcpy(reply + question, wire->data + 8, bytes);
    bytes += question;
    bytes = bytes > room ? room : bytes;
    memcpy(buffer, reply, bytes);
    if (from != NULL && from_bytes != NULL && *from_bytes >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in server = {
            .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        memcpy(from, &server, sizeof server);
        *from_bytes = sizeof server;
    }
    return (ares_ssize_t)bytes;
}

#if ARES_VERSION >= 0x012200 /* 1.34: the socket functions have another form */

static int wire_set_option(ares_socket_t fd, ares_socket_opt_t option, const void *value, ares_socklen_t bytes,
                           void *arg)
{
    (void)fd, (void)option, (void)value, (void)bytes, (void)arg;
    return 0;
}

static int wire_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t bytes, unsigned flags,
                        void *arg)
{
    (void)fd, (void)address, (void)bytes, (void)flags, (void)arg;
    return 0;
}

static ares_ssize_t wire_send(ares_socket_t fd, const void *bytes, size_t count, int flags, const struct sockaddr *to,
                              ares_socklen_t to_bytes, void *arg)
{
    (void)fd, (void)flags, (void)to, (void)to_bytes;
    struct wire *wire = arg;
    wire->query_bytes = 0;
    wire_record(wire, bytes, count);
    return (ares_ssize_t)count;
}

static void set_functions(ares_channel channel, struct wire *wire)
{
    static const struct ares_socket_functions_ex functions = {.version = 1,
                                                              .flags = ARES_SOCKFUNC_FLAG_NONBLOCKING,
                                                              .asocket = wire_socket,
                                                              .aclose = wire_close,
                                                              .asetsockopt = wire_set_option,
                                                              .aconnect = wire_connect,
                                                              .arecvfrom = wire_receive,
                                                              .asendto = wire_send};
    if (ares_set_socket_functions_ex(channel, &functions, wire) != ARES_SUCCESS) {
        abort();
    }
}

#else

static int wire_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t bytes, void *arg)
{
    (void)fd, (void)address, (void)bytes, (void)arg;
    return 0;
}

static ares_ssize_t wire_send(ares_socket_t fd, const struct iovec *pieces, int count, void *arg)
{
    (void)fd;
    struct wire *wire = arg;
    size_t all = 0;
    wire->query_bytes = 0;
    for (int i = 0; i < count; i++) {
        wire_record(wire, pieces[i].iov_base, pieces[i].iov_len);
        all += pieces[i].iov_len;
    }
    return (ares_ssize_t)all;
}

static void set_functions(ares_channel channel, struct wire *wire)
{
    static const struct ares_socket_functions functions = {wire_socket, wire_close, wire_connect, wire_receive,
                                                           wire_send};
    ares_set_socket_functions(channel, &functions, wire);
}

#endif

/* Note the sockets that c-ares waits for. */
static void socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    (void)writable;
    struct wire *wire = arg;
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        if (wire->sockets[i] == fd || (readable && wire->sockets[i] == ARES_SOCKET_BAD)) {
            wire->sockets[i] = readable ? fd : ARES_SOCKET_BAD;
            return;
        }
    }
}

static void came(void *arg, int result, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct wire *wire = arg;
    wire->ended = true;
    assert(result != ARES_SUCCESS || info != NULL);
    ares_freeaddrinfo(info);
}

static void ask(int family, const uint8_t *data, size_t size)
{
    struct wire wire = {.data = data, .size = size};
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        wire.sockets[i] = ARES_SOCKET_BAD;
    }
    char lookups[] = "b";
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOCHECKRESP | ARES_FLAG_IGNTC,
                                   .timeout = 1,
                                   .tries = 1,
                                   .lookups = lookups,
                                   .sock_state_cb = socket_state,
                                   .sock_state_cb_data = &wire};
    const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
    ares_channel channel;
    if (ares_init_options(&channel, &options, mask) != ARES_SUCCESS) {
        abort();
    }
    if (ares_set_servers_csv(channel, "127.0.0.1:53") != ARES_SUCCESS) {
        abort();
    }
    set_functions(channel, &wire);
    const struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(channel, "x.example", NULL, &hints, came, &wire);
    for (int turn = 0; turn < ANSWERS_MAX && !wire.ended; turn++) {
        for (size_t i = 0; i < SOCKETS_MAX; i++) {
            if (wire.sockets[i] != ARES_SOCKET_BAD) {
                ares_process_fd(channel, wire.sockets[i], ARES_SOCKET_BAD);
            }
        }
    }
    ares_destroy(channel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const evener_dns_type types[] = {EVENER_DNS_SRV, EVENER_DNS_TXT};
    if (size == 0) {
        return 0;
    }
    const unsigned way = data[0] & 3;
    if (way < 2) {
        evener_dns_answer answer = {.ttl_known = false};
        evener_dns_reply_read(types[way], data + 1, size - 1, &answer);
        check_answer(types[way], &answer);
        evener_dns_answer_clear(&answer);
    } else {
        ask(way == 2 ? AF_INET : AF_INET6, data + 1, size - 1);
    }
    return 0;
}
