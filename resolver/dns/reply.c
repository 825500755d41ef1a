#include "resolver/dns/reply.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lb/base/c_locale.h"
#include "resolver/dns/ares_compat.h"
#include "resolver/dns/name.h"

/* RFC 1035 section 4.1 */
#define HEADER_BYTES 12
#define QUESTION_BYTES 4 /* after the name: type and class */
#define RECORD_BYTES 10  /* after the name: type, class, TTL, length of the data */
#define TYPE_CNAME 5
#define TYPE_SOA 6
#define TYPE_OPT 41              /* EDNS pseudo record: its TTL field is no TTL */
#define TTL_S_MAX 0x7fffffff     /* RFC 2181 section 8: with the highest bit set it is 0 */
#define LABEL_POINTER_MASK 0xc0u /* RFC 1035 section 4.1.4 */
#define CLASS_IN 1
#define CNAMES_MAX 32 /* of one answer; longer chains are not followed */

/* ---- a walk over a reply ---- */

struct reader {
    const unsigned char *bytes;
    size_t count;
    size_t at; /* never above count */
};

static bool skip(struct reader *reader, size_t bytes)
{
    if (reader->count - reader->at < bytes) {
        return false;
    }
    reader->at += bytes;
    return true;
}

static uint32_t big_endian(const unsigned char *bytes, size_t count)
{
    uint32_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* A compression pointer ends a name. It is not followed, so loops are impossible. */
static bool skip_name(struct reader *reader)
{
    while (reader->at < reader->count) {
        const unsigned char length = reader->bytes[reader->at];
        if ((length & LABEL_POINTER_MASK) == LABEL_POINTER_MASK) {
            return skip(reader, 2);
        }
        if (!skip(reader, 1u + length)) {
            return false;
        }
        if (length == 0) {
            return true;
        }
    }
    return false;
}

/* Expand the name at `at` to dotted text, without trailing dot; bytes that no name should have become '?'. Pointers
 * must point backwards, so that the walk ends. False if it is malformed. */
static bool expand_name(const struct reader *reader, size_t at, char name[EVENER_DNS_NAME_BYTES_MAX + 1])
{
    size_t used = 0;
    size_t limit = at + 1; /* a pointer must point below */
    while (at < reader->count) {
        const unsigned char length = reader->bytes[at];
        if ((length & LABEL_POINTER_MASK) == LABEL_POINTER_MASK) {
            const size_t target = at + 1 < reader->count ? (length & 0x3fu) << 8 | reader->bytes[at + 1] : SIZE_MAX;
            if (target >= limit - 1) {
                return false;
            }
            at = target;
            limit = target + 1;
            continue;
        }
        if (length == 0) {
            name[used] = '\0';
            return true;
        }
        if ((length & LABEL_POINTER_MASK) != 0 || reader->count - at - 1 < length ||
            used + length + 1 > EVENER_DNS_NAME_BYTES_MAX) {
            return false;
        }
        if (used > 0) {
            name[used++] = '.';
        }
        for (size_t i = 0; i < length; i++) {
            const unsigned char c = reader->bytes[at + 1 + i];
            name[used++] = (char)(c > ' ' && c < 0x7f && c != '.' ? c : '?');
        }
        at += 1u + length;
    }
    return false;
}

/* The last four bytes of a SOA record's data. */
static uint32_t soa_minimum(const unsigned char *data, size_t bytes)
{
    return bytes >= 22 ? big_endian(data + bytes - 4, 4) : 0;
}

/* Store the shortest TTL of `records` records in *shortest. */
static bool walk_section(struct reader *reader, uint32_t records, bool soa_only, bool *found, uint32_t *shortest)
{
    for (uint32_t i = 0; i < records; i++) {
        if (!skip_name(reader) || !skip(reader, RECORD_BYTES)) {
            return false;
        }
        const unsigned char *fixed = reader->bytes + reader->at - RECORD_BYTES;
        const uint32_t type = big_endian(fixed, 2);
        uint32_t ttl_s = big_endian(fixed + 4, 4);
        const size_t data_bytes = big_endian(fixed + 8, 2);
        const unsigned char *data = reader->bytes + reader->at;
        if (!skip(reader, data_bytes)) {
            return false;
        }
        if (type == TYPE_OPT || (soa_only && type != TYPE_SOA)) {
            continue;
        }
        const uint32_t minimum = soa_only ? soa_minimum(data, data_bytes) : ttl_s;
        ttl_s = minimum < ttl_s ? minimum : ttl_s;
        ttl_s = ttl_s > TTL_S_MAX ? 0 : ttl_s;
        *shortest = !*found || ttl_s < *shortest ? ttl_s : *shortest;
        *found = true;
    }
    return true;
}

bool evener_dns_reply_ttl(const unsigned char *bytes, size_t count, uint32_t *ttl_s)
{
    struct reader reader = {bytes, count, 0};
    if (!skip(&reader, HEADER_BYTES)) {
        return false;
    }
    const uint32_t questions = big_endian(bytes + 4, 2);
    const uint32_t answers = big_endian(bytes + 6, 2);
    const uint32_t authorities = big_endian(bytes + 8, 2);
    for (uint32_t i = 0; i < questions; i++) {
        if (!skip_name(&reader) || !skip(&reader, QUESTION_BYTES)) {
            return false;
        }
    }
    bool found = false;
    uint32_t shortest = 0;
    bool whole = walk_section(&reader, answers, false, &found, &shortest);
    if (whole && !found) {
        whole = walk_section(&reader, authorities, true, &found, &shortest);
    }
    if (!whole || !found) {
        return false;
    }
    *ttl_s = shortest;
    return true;
}

/* ---- records ---- */

static bool no_memory(evener_dns_answer *answer)
{
    evener_status_set(&answer->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return false;
}

static void read_services(const struct ares_srv_reply *services, evener_dns_answer *answer)
{
    size_t refused = 0;
    for (const struct ares_srv_reply *srv = services; srv != NULL; srv = srv->next) {
        evener_dns_record *record;
        if (srv->host == NULL || srv->host[0] == '\0' || strcmp(srv->host, ".") == 0) {
            continue; /* RFC 2782: "the service is decidedly not available" */
        }
        if (srv->port == 0 || evener_dns_name_problem(srv->host) != NULL) {
            refused++;
            continue;
        }
        if (!evener_dns_answer_add(answer, srv->host, &record)) {
            (void)no_memory(answer);
            return;
        }
        if (record != NULL) {
            record->port = srv->port;
            record->priority = srv->priority;
            record->weight = srv->weight;
        }
    }
    if (answer->record_count == 0 && refused > 0) {
        evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE,
                          "each of the %zu SRV records has an invalid target or port", refused);
    }
}

/* One record of a reply. */
struct record {
    size_t name_at;
    uint32_t type;
    uint32_t ttl_s;
    size_t data_at;
    size_t data_bytes;
    bool internet; /* its class is IN */
};

static bool next_record(struct reader *reader, struct record *record)
{
    record->name_at = reader->at;
    if (!skip_name(reader) || !skip(reader, RECORD_BYTES)) {
        return false;
    }
    const unsigned char *fixed = reader->bytes + reader->at - RECORD_BYTES;
    record->type = big_endian(fixed, 2);
    record->internet = big_endian(fixed + 2, 2) == CLASS_IN;
    record->ttl_s = big_endian(fixed + 4, 4);
    record->ttl_s = record->ttl_s > TTL_S_MAX ? 0 : record->ttl_s;
    record->data_bytes = big_endian(fixed + 8, 2);
    record->data_at = reader->at;
    return skip(reader, record->data_bytes);
}

/* Skip header and questions and store the name of the first question. */
static bool skip_questions(struct reader *reader, char name[EVENER_DNS_NAME_BYTES_MAX + 1])
{
    if (!skip(reader, HEADER_BYTES)) {
        return false;
    }
    const uint32_t questions = big_endian(reader->bytes + 4, 2);
    name[0] = '\0';
    for (uint32_t i = 0; i < questions; i++) {
        if ((i == 0 && !expand_name(reader, reader->at, name)) || !skip_name(reader) || !skip(reader, QUESTION_BYTES)) {
            return false;
        }
    }
    return true;
}

/* Write the address of an A or AAAA record; false if the record is neither. */
static bool address_of(const struct reader *reader, const struct record *record, char text[INET6_ADDRSTRLEN])
{
    const bool v4 = record->type == EVENER_DNS_A && record->data_bytes == 4;
    const bool v6 = record->type == EVENER_DNS_AAAA && record->data_bytes == 16;
    return record->internet && (v4 || v6) &&
           inet_ntop(v4 ? AF_INET : AF_INET6, reader->bytes + record->data_at, text, INET6_ADDRSTRLEN) != NULL;
}

struct alias {
    char owner[EVENER_DNS_NAME_BYTES_MAX + 1];
    char target[EVENER_DNS_NAME_BYTES_MAX + 1];
};

/* Return whether following the aliases from `name` comes back to a name. */
static bool is_loop(const struct alias *aliases, size_t count, const char *name)
{
    for (size_t steps = 0; steps <= count; steps++) {
        size_t i = 0;
        while (i < count && strcasecmp_l(aliases[i].owner, name, evener_c_locale()) != 0) {
            i++;
        }
        if (i == count) {
            return false;
        }
        name = aliases[i].target;
    }
    return true;
}

static bool malformed(evener_dns_answer *answer)
{
    evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE, "a malformed answer");
    return false;
}

static bool read_address_section(struct reader *reader, uint32_t records, evener_dns_type type, struct alias *aliases,
                                 size_t *alias_count, evener_dns_answer *answer)
{
    for (uint32_t i = 0; i < records; i++) {
        struct record record;
        char text[INET6_ADDRSTRLEN];
        char owner[EVENER_DNS_NAME_BYTES_MAX + 1];
        evener_dns_record *added;
        if (!next_record(reader, &record) || !expand_name(reader, record.name_at, owner)) {
            return malformed(answer);
        }
        if (record.type == TYPE_CNAME && record.internet && *alias_count < CNAMES_MAX) {
            struct alias *alias = &aliases[*alias_count];
            memcpy(alias->owner, owner, sizeof owner);
            if (!expand_name(reader, record.data_at, alias->target)) {
                return malformed(answer);
            }
            (*alias_count)++;
        } else if (record.type == (uint32_t)type && record.internet) {
            if (!address_of(reader, &record, text)) {
                return malformed(answer);
            }
            if (!evener_dns_answer_add(answer, text, &added)) {
                return no_memory(answer);
            }
        }
    }
    return true;
}

/* A loop of CNAMEs is the mistake of a server, and no answer that there are no addresses. */
static void read_addresses(evener_dns_type type, const unsigned char *bytes, size_t count, evener_dns_answer *answer)
{
    struct reader reader = {bytes, count, 0};
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    size_t alias_count = 0;
    struct alias *aliases = malloc(CNAMES_MAX * sizeof *aliases);
    if (aliases == NULL) {
        (void)no_memory(answer);
        return;
    }
    if (!skip_questions(&reader, name)) {
        (void)malformed(answer);
    } else if (read_address_section(&reader, big_endian(bytes + 6, 2), type, aliases, &alias_count, answer) &&
               answer->record_count == 0 && is_loop(aliases, alias_count, name)) {
        evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE, "a loop of CNAME records");
    }
    free(aliases);
}

static bool is_target(const evener_dns_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->record_count; i++) {
        if (strcasecmp_l(answer->records[i].text, name, evener_c_locale()) == 0) {
            return true;
        }
    }
    return false;
}

/* Read the addresses of the targets in the additional section (RFC 2782). The answer holds as long as the shortest of
 * them. What is malformed there is no loss: the targets are asked for. */
static void read_glue(const unsigned char *bytes, size_t count, evener_dns_answer *answer)
{
    struct reader reader = {bytes, count, 0};
    struct record record;
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    if (!skip_questions(&reader, name)) {
        return;
    }
    const uint32_t before = big_endian(bytes + 6, 2) + big_endian(bytes + 8, 2);
    const uint32_t additional = big_endian(bytes + 10, 2);
    for (uint32_t i = 0; i < before; i++) {
        if (!next_record(&reader, &record)) {
            return;
        }
    }
    for (uint32_t i = 0; i < additional && next_record(&reader, &record); i++) {
        char text[INET6_ADDRSTRLEN];
        char glue[sizeof name + sizeof text + 1];
        if (!address_of(&reader, &record, text) || !expand_name(&reader, record.name_at, name) ||
            !is_target(answer, name)) {
            continue;
        }
        snprintf(glue, sizeof glue, "%s %s", name, text);
        if (!evener_dns_answer_add_glue(answer, glue)) {
            return;
        }
        if (!answer->ttl_known || record.ttl_s < answer->ttl_s) {
            answer->ttl_s = record.ttl_s;
            answer->ttl_known = true;
        }
    }
}

/* Join the strings of one record from `*chunk` on; advance to the next record. NULL: out of memory. */
static char *join(const struct ares_txt_ext **chunk)
{
    size_t bytes = 0;
    const struct ares_txt_ext *first = *chunk;
    const struct ares_txt_ext *end = first;
    do {
        bytes += end->length;
        end = end->next;
    } while (end != NULL && !end->record_start);
    *chunk = end;
    char *text = malloc(bytes + 1);
    if (text != NULL) {
        size_t at = 0;
        for (; first != end; first = first->next) {
            memcpy(text + at, first->txt, first->length);
            at += first->length;
        }
        text[at] = '\0';
        if (strlen(text) != at) {
            text[0] = '\0'; /* embedded NUL: treated as an empty record, which is ignored */
        }
    }
    return text;
}

static void read_texts(const struct ares_txt_ext *chunk, evener_dns_answer *answer)
{
    while (chunk != NULL) {
        evener_dns_record *record;
        char *text = join(&chunk);
        const bool added = text != NULL && evener_dns_answer_add(answer, text, &record);
        free(text);
        if (!added) {
            (void)no_memory(answer);
            return;
        }
    }
}

static void read_by_ares(evener_dns_type type, const unsigned char *bytes, size_t count, evener_dns_answer *answer)
{
    struct ares_srv_reply *services = NULL;
    struct ares_txt_ext *texts = NULL;
    const int length = count > INT32_MAX ? INT32_MAX : (int)count;
    const int result = type == EVENER_DNS_SRV ? evener_ares_parse_srv(bytes, length, &services)
                                              : evener_ares_parse_txt(bytes, length, &texts);
    if (result == ARES_ENOMEM) {
        (void)no_memory(answer);
    } else if (result != ARES_SUCCESS && result != ARES_ENODATA) {
        (void)malformed(answer);
    } else if (type == EVENER_DNS_SRV) {
        read_services(services, answer);
        read_glue(bytes, count, answer);
    } else {
        read_texts(texts, answer);
    }
    evener_ares_free_srv(services);
    evener_ares_free_txt(texts);
}

void evener_dns_reply_read(evener_dns_type type, const unsigned char *bytes, size_t count, evener_dns_answer *answer)
{
    evener_status_clear(&answer->status);
    answer->ttl_known = evener_dns_reply_ttl(bytes, count, &answer->ttl_s);
    if (type == EVENER_DNS_A || type == EVENER_DNS_AAAA) {
        read_addresses(type, bytes, count, answer);
    } else {
        read_by_ares(type, bytes, count, answer);
    }
    answer->nothing = answer->record_count == 0 ? "NODATA" : NULL;
}
