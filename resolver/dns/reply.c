#include "resolver/dns/reply.h"

#include <stdlib.h>
#include <string.h>

#include "resolver/dns/ares_compat.h"
#include "resolver/dns/name.h"

/* RFC 1035 section 4.1 */
#define HEADER_BYTES 12
#define QUESTION_BYTES 4 /* after the name: type and class */
#define RECORD_BYTES 10  /* after the name: type, class, TTL, length of the data */
#define TYPE_SOA 6
#define TYPE_OPT 41              /* EDNS pseudo record: its TTL field is no TTL */
#define TTL_S_MAX 0x7fffffff     /* RFC 2181 section 8: with the highest bit set it is 0 */
#define LABEL_POINTER_MASK 0xc0u /* RFC 1035 section 4.1.4 */

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
    (void)evener_status_set(&answer->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
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
        (void)evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE,
                                "each of the %zu SRV records has an invalid target or port", refused);
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

void evener_dns_reply_read(evener_dns_type type, const unsigned char *bytes, size_t count, evener_dns_answer *answer)
{
    struct ares_srv_reply *services = NULL;
    struct ares_txt_ext *texts = NULL;
    const int length = count > INT32_MAX ? INT32_MAX : (int)count;
    evener_status_clear(&answer->status);
    const int result = type == EVENER_DNS_SRV ? evener_ares_parse_srv(bytes, length, &services)
                                              : evener_ares_parse_txt(bytes, length, &texts);
    answer->ttl_known = evener_dns_reply_ttl(bytes, count, &answer->ttl_s);
    if (result == ARES_ENOMEM) {
        (void)no_memory(answer);
    } else if (result != ARES_SUCCESS && result != ARES_ENODATA) {
        (void)evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE, "a malformed answer");
    } else if (type == EVENER_DNS_SRV) {
        read_services(services, answer);
    } else {
        read_texts(texts, answer);
    }
    answer->nothing = answer->record_count == 0 ? "NODATA" : NULL;
    evener_ares_free_srv(services);
    evener_ares_free_txt(texts);
}
