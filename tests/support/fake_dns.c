#include "tests/support/fake_dns.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRIPTS_MAX 64
#define MESSAGE_BYTES 65535
#define NAME_BYTES 256
#define TCP_MS_MAX 2000

struct script {
    unsigned type;
    char name[NAME_BYTES];
    fake_dns_fault fault;
    uint32_t ttl_s;
    char *lines;
};

struct fake_dns {
    int udp, tcp, stop;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct script scripts[SCRIPTS_MAX];
    size_t script_count;
    size_t asked, asked_tcp;
    unsigned tcp_delay_ms;
};

/* A message under construction; data that does not fit is dropped. */
struct message {
    uint8_t bytes[MESSAGE_BYTES];
    size_t count;
};

static void put(struct message *m, const void *data, size_t bytes)
{
    if (m->count + bytes <= sizeof m->bytes) {
        memcpy(m->bytes + m->count, data, bytes);
        m->count += bytes;
    }
}

static void put16(struct message *m, unsigned value)
{
    put(m, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void put32(struct message *m, uint32_t value)
{
    put16(m, value >> 16);
    put16(m, value & 0xffff);
}

/* Append a name. "@" is the question's name, as a pointer. A '\001' in a label is sent unchanged. */
static void put_name(struct message *m, const char *name)
{
    if (strcmp(name, "@") == 0) {
        put16(m, 0xc00c);
        return;
    }
    while (*name != '\0' && strcmp(name, ".") != 0) {
        const size_t label = strcspn(name, ".");
        put(m, (uint8_t[]){(uint8_t)label}, 1);
        put(m, name, label);
        name += label + (name[label] == '.' ? 1 : 0);
    }
    put(m, "", 1);
}

static void put_data(struct message *m, const char *type, char *data)
{
    uint8_t ip[16];
    unsigned priority, weight, port;
    char target[NAME_BYTES];
    if (strcmp(type, "A") == 0 && inet_pton(AF_INET, data, ip) == 1) {
        put(m, ip, 4);
    } else if (strcmp(type, "AAAA") == 0 && inet_pton(AF_INET6, data, ip) == 1) {
        put(m, ip, 16);
    } else if (strcmp(type, "CNAME") == 0) {
        put_name(m, data);
    } else if (strcmp(type, "SRV") == 0 && sscanf(data, "%u %u %u %255s", &priority, &weight, &port, target) == 4) {
        put16(m, priority);
        put16(m, weight);
        put16(m, port);
        put_name(m, target);
    } else if (strcmp(type, "TXT") == 0) {
        for (size_t left = strlen(data); left > 0;) {
            const size_t piece = left > 200 ? 200 : left; /* one record of several strings */
            put(m, (uint8_t[]){(uint8_t)piece}, 1);
            put(m, data, piece);
            data += piece;
            left -= piece;
        }
    } else if (strcmp(type, "SOA") == 0) {
        put_name(m, ".");
        put_name(m, ".");
        for (int i = 0; i < 4; i++) {
            put32(m, 1);
        }
        put32(m, (uint32_t)atoi(data));
    }
}

static unsigned type_number(const char *type)
{
    static const struct {
        const char *name;
        unsigned number;
    } types[] = {{"A", 1}, {"CNAME", 5}, {"SOA", 6}, {"TXT", 16}, {"AAAA", 28}, {"SRV", 33}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, type) == 0) {
            return types[i].number;
        }
    }
    return 0;
}

static void put_records(struct message *m, const struct script *script)
{
    unsigned answers = 0, authorities = 0, additional = 0;
    char *lines = strdup(script->lines);
    char *rest = NULL;
    assert(lines != NULL);
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char owner[NAME_BYTES], type[16];
        int data_at = 0;
        if (sscanf(line, "%255s %15s %n", owner, type, &data_at) != 2) {
            continue;
        }
        put_name(m, owner[0] == '+' ? owner + 1 : owner);
        put16(m, type_number(type));
        put16(m, 1);
        put32(m, script->ttl_s);
        const size_t length_at = m->count;
        put16(m, 0);
        put_data(m, type, line + data_at);
        const size_t length = m->count - length_at - 2;
        m->bytes[length_at] = (uint8_t)(length >> 8);
        m->bytes[length_at + 1] = (uint8_t)length;
        *(owner[0] == '+' ? &additional : strcmp(type, "SOA") == 0 ? &authorities : &answers) += 1;
    }
    free(lines);
    m->bytes[6] = (uint8_t)(answers >> 8);
    m->bytes[7] = (uint8_t)answers;
    m->bytes[9] = (uint8_t)authorities;
    m->bytes[10] = (uint8_t)(additional >> 8);
    m->bytes[11] = (uint8_t)additional;
}

static size_t question_name(const uint8_t *query, size_t bytes, char *name)
{
    size_t at = 12, used = 0;
    while (at < bytes && query[at] != 0) {
        const size_t label = query[at];
        if (at + 1 + label >= bytes || used + label + 2 > NAME_BYTES) {
            return 0;
        }
        memcpy(name + used, query + at + 1, label);
        used += label;
        name[used++] = '.';
        at += 1 + label;
    }
    name[used > 0 ? used - 1 : 0] = '\0';
    return at + 5 <= bytes ? at + 5 : 0;
}

static const unsigned result_codes[] = {
    [FAKE_DNS_FORMERR] = 1, [FAKE_DNS_SERVFAIL] = 2, [FAKE_DNS_NXDOMAIN] = 3,
    [FAKE_DNS_NOTIMP] = 4,  [FAKE_DNS_REFUSED] = 5,  [FAKE_DNS_NO_EDNS] = 0,
};

/* Write the response. Return false if there is to be no response. */
static bool respond(fake_dns *server, const uint8_t *query, size_t bytes, bool tcp, struct message *m)
{
    char name[NAME_BYTES];
    const size_t question_end = bytes > 12 ? question_name(query, bytes, name) : 0;
    if (question_end == 0) {
        return false;
    }
    static const char nothing[] = "";
    const struct script unknown = {.fault = FAKE_DNS_NXDOMAIN, .lines = (char *)(uintptr_t)nothing};
    const struct script *script = &unknown;
    const unsigned type = (unsigned)(query[question_end - 4] << 8 | query[question_end - 3]);
    server->asked++;
    server->asked_tcp += tcp ? 1 : 0;
    for (size_t i = 0; i < server->script_count; i++) {
        const char *own = server->scripts[i].name;
        const bool any = strcmp(own, "*") == 0 && script == &unknown;
        if (server->scripts[i].type == type && (any || strcasecmp(own, name) == 0)) {
            script = &server->scripts[i];
        }
    }
    const fake_dns_fault fault = script->fault;
    const bool edns = query[10] != 0 || query[11] != 0;
    if (fault == FAKE_DNS_SILENT || (fault == FAKE_DNS_NO_EDNS && edns) || (fault == FAKE_DNS_TRUNCATED_DEAF && tcp)) {
        return false;
    }
    const bool truncated = !tcp && (fault == FAKE_DNS_TRUNCATED || fault == FAKE_DNS_TRUNCATED_DEAF);
    m->count = 0;
    put(m, query, 2);
    put16(m, 0x8180 | (truncated ? 0x0200 : 0) | result_codes[fault <= FAKE_DNS_NO_EDNS ? fault : 0]);
    put16(m, 1);
    put16(m, 0);
    put32(m, 0);
    put(m, query + 12, question_end - 12);
    if (fault == FAKE_DNS_WRONG_ID) {
        m->bytes[0] ^= 0xff;
    } else if (fault == FAKE_DNS_WRONG_QUESTION) {
        m->bytes[13] = (uint8_t)(m->bytes[13] == 'z' ? 'y' : 'z');
    }
    if (!truncated) {
        put_records(m, script);
    }
    if (fault == FAKE_DNS_SHORT) {
        m->count = question_end + (m->count - question_end) / 2;
    } else if (fault == FAKE_DNS_GARBAGE) {
        memset(m->bytes + question_end, 0xa5, m->count - question_end);
    } else if (fault == FAKE_DNS_LOOP) {
        m->bytes[question_end] = (uint8_t)(0xc0 | question_end >> 8);
        m->bytes[question_end + 1] = (uint8_t)question_end;
    }
    return true;
}

static void serve_udp(fake_dns *server, struct message *m)
{
    uint8_t query[2048];
    struct sockaddr_storage from;
    socklen_t from_bytes = sizeof from;
    const ssize_t got = recvfrom(server->udp, query, sizeof query, 0, (struct sockaddr *)&from, &from_bytes);
    if (got > 0 && respond(server, query, (size_t)got, false, m)) {
        (void)sendto(server->udp, m->bytes, m->count, 0, (struct sockaddr *)&from, from_bytes);
    }
}

static bool read_all(int fd, uint8_t *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t got = read(fd, bytes, count);
        if (got <= 0) {
            return false;
        }
        bytes += got;
        count -= (size_t)got;
    }
    return true;
}

static void serve_tcp(fake_dns *server, struct message *m)
{
    uint8_t query[2048];
    const int fd = accept(server->tcp, NULL, NULL);
    if (fd < 0) {
        return;
    }
    const struct timeval patience = {.tv_sec = TCP_MS_MAX / 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (read_all(fd, query, 2)) {
        const size_t bytes = (size_t)(query[0] << 8 | query[1]);
        if (bytes > sizeof query || !read_all(fd, query, bytes) || !respond(server, query, bytes, true, m)) {
            break;
        }
        (void)usleep(server->tcp_delay_ms * 1000);
        const uint8_t length[] = {(uint8_t)(m->count >> 8), (uint8_t)m->count};
        if (send(fd, length, 2, MSG_NOSIGNAL) != 2 || send(fd, m->bytes, m->count, MSG_NOSIGNAL) != (ssize_t)m->count) {
            break;
        }
        break; /* one question per connection */
    }
    (void)close(fd);
}

static void *serve(void *arg)
{
    fake_dns *server = arg;
    struct message *m = malloc(sizeof *m);
    assert(m != NULL);
    for (;;) {
        struct pollfd fds[] = {{server->stop, POLLIN, 0}, {server->udp, POLLIN, 0}, {server->tcp, POLLIN, 0}};
        if (poll(fds, 3, -1) < 0 && errno != EINTR) {
            break;
        }
        if (fds[0].revents != 0) {
            break;
        }
        (void)pthread_mutex_lock(&server->lock);
        if (fds[1].revents != 0) {
            serve_udp(server, m);
        }
        if (fds[2].revents != 0) {
            serve_tcp(server, m);
        }
        (void)pthread_mutex_unlock(&server->lock);
    }
    free(m);
    return NULL;
}

/* Open both sockets on one port. Retried, as the port that UDP gets may be in use for TCP. */
static bool open_sockets(fake_dns *server, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->udp, (struct sockaddr *)&address, sizeof address) == 0 &&
        getsockname(server->udp, (struct sockaddr *)&address, &bytes) == 0 &&
        bind(server->tcp, (struct sockaddr *)&address, sizeof address) == 0 && listen(server->tcp, 16) == 0) {
        server->port = ntohs(address.sin_port);
        return true;
    }
    (void)close(server->udp);
    (void)close(server->tcp);
    return false;
}

static fake_dns *create(uint16_t port)
{
    fake_dns *server = calloc(1, sizeof *server);
    assert(server != NULL);
    (void)pthread_mutex_init(&server->lock, NULL);
    server->stop = eventfd(0, EFD_CLOEXEC);
    int tries = 0;
    while (!open_sockets(server, port)) {
        assert(++tries < 100);
    }
    assert(pthread_create(&server->thread, NULL, serve, server) == 0);
    return server;
}

fake_dns *fake_dns_create(void)
{
    return create(0);
}

fake_dns *fake_dns_create_on_port_53(void)
{
    return create(53);
}

void fake_dns_destroy(fake_dns *server)
{
    const uint64_t one = 1;
    assert(write(server->stop, &one, sizeof one) == sizeof one);
    (void)pthread_join(server->thread, NULL);
    (void)close(server->stop);
    (void)close(server->udp);
    (void)close(server->tcp);
    for (size_t i = 0; i < server->script_count; i++) {
        free(server->scripts[i].lines);
    }
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

uint16_t fake_dns_port(const fake_dns *server)
{
    return server->port;
}

void fake_dns_set_answer(fake_dns *server, unsigned type, const char *name, fake_dns_fault fault, uint32_t ttl_s,
                         const char *lines)
{
    (void)pthread_mutex_lock(&server->lock);
    size_t i = 0;
    while (i < server->script_count &&
           (server->scripts[i].type != type || strcmp(server->scripts[i].name, name) != 0)) {
        i++;
    }
    assert(i < SCRIPTS_MAX);
    struct script *script = &server->scripts[i];
    server->script_count += i == server->script_count ? 1 : 0;
    free(script->lines);
    *script = (struct script){.type = type, .fault = fault, .ttl_s = ttl_s, .lines = strdup(lines)};
    (void)snprintf(script->name, sizeof script->name, "%s", name);
    (void)pthread_mutex_unlock(&server->lock);
}

static size_t read_count(fake_dns *server, const size_t *count)
{
    (void)pthread_mutex_lock(&server->lock);
    const size_t value = *count;
    (void)pthread_mutex_unlock(&server->lock);
    return value;
}

size_t fake_dns_asked(fake_dns *server)
{
    return read_count(server, &server->asked);
}

size_t fake_dns_asked_tcp(fake_dns *server)
{
    return read_count(server, &server->asked_tcp);
}

void fake_dns_set_tcp_delay_ms(fake_dns *server, unsigned delay_ms)
{
    (void)pthread_mutex_lock(&server->lock);
    server->tcp_delay_ms = delay_ms;
    (void)pthread_mutex_unlock(&server->lock);
}
