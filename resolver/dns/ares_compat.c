#include "resolver/dns/ares_compat.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_WITH_RECORDS 0x011c00 /* 1.28 */

#if ARES_VERSION >= VERSION_WITH_RECORDS

size_t evener_ares_servers(ares_channel channel, char *text, size_t bytes)
{
    char *list = ares_get_servers_csv(channel);
    size_t count = 0;
    size_t used = 0;
    text[0] = '\0';
    for (const char *server = list; server != NULL && *server != '\0';) {
        const size_t length = strcspn(server, ",");
        const int wanted = snprintf(text + used, bytes - used, "%s%.*s", count > 0 ? ", " : "", (int)length, server);
        if (wanted > 0 && (size_t)wanted < bytes - used) {
            used += (size_t)wanted;
        } else {
            text[used] = '\0';
        }
        count++;
        server += length;
        server += *server == ',';
    }
    ares_free_string(list);
    return count;
}

/* ---- queries ---- */

typedef struct search {
    ares_callback callback;
    void *arg;
} search;

static void search_ended(void *arg, ares_status_t status, size_t timeouts, const ares_dns_record_t *reply)
{
    const search own = *(search *)arg;
    free(arg);
    unsigned char *bytes = NULL;
    size_t count = 0;
    if (reply != NULL && ares_dns_write(reply, &bytes, &count) != ARES_SUCCESS) {
        bytes = NULL;
        count = 0;
        status = status == ARES_SUCCESS ? ARES_ENOMEM : status;
    }
    own.callback(own.arg, (int)status, (int)timeouts, bytes, (int)count);
    ares_free_string(bytes);
}

/* Return the query as a record; NULL: the name is malformed, or out of memory (stored in *status). */
static ares_dns_record_t *make_query(const char *name, int type, unsigned edns_bytes, ares_status_t *status)
{
    ares_dns_record_t *query = NULL;
    ares_dns_rr_t *edns = NULL;
    *status = ares_dns_record_create(&query, 0, ARES_FLAG_RD, ARES_OPCODE_QUERY, ARES_RCODE_NOERROR);
    if (*status == ARES_SUCCESS) {
        *status = ares_dns_record_query_add(query, name, (ares_dns_rec_type_t)type, ARES_CLASS_IN);
    }
    if (*status == ARES_SUCCESS && edns_bytes > 0) {
        *status =
            ares_dns_record_rr_add(&edns, query, ARES_SECTION_ADDITIONAL, "", ARES_REC_TYPE_OPT, ARES_CLASS_IN, 0);
        if (*status == ARES_SUCCESS) {
            *status = ares_dns_rr_set_u16(edns, ARES_RR_OPT_UDP_SIZE, (unsigned short)edns_bytes);
        }
    }
    if (*status != ARES_SUCCESS) {
        ares_dns_record_destroy(query);
        return NULL;
    }
    return query;
}

void evener_ares_search(ares_channel channel, const char *name, int type, unsigned edns_bytes, ares_callback callback,
                        void *arg)
{
    ares_status_t status = ARES_ENOMEM;
    search *own = malloc(sizeof *own);
    ares_dns_record_t *query = own != NULL ? make_query(name, type, edns_bytes, &status) : NULL;
    if (query == NULL) {
        free(own);
        callback(arg, (int)status, 0, NULL, 0);
        return;
    }
    *own = (search){.callback = callback, .arg = arg};
    (void)ares_search_dnsrec(channel, query, search_ended, own); /* on failure too, search_ended() is called */
    ares_dns_record_destroy(query);
}

/* ---- replies ---- */

/* Call `add` for each answer of class IN and the given type. Return as evener_ares_parse_srv(). */
static int visit_answers(const unsigned char *bytes, int count, ares_dns_rec_type_t type,
                         bool (*add)(void *arg, const ares_dns_rr_t *record), void *arg)
{
    ares_dns_record_t *reply = NULL;
    ares_status_t status = ares_dns_parse(bytes, count > 0 ? (size_t)count : 0, 0, &reply);
    const size_t answers = status == ARES_SUCCESS ? ares_dns_record_rr_cnt(reply, ARES_SECTION_ANSWER) : 0;
    bool found = false;
    for (size_t i = 0; status == ARES_SUCCESS && i < answers; i++) {
        const ares_dns_rr_t *record = ares_dns_record_rr_get_const(reply, ARES_SECTION_ANSWER, i);
        if (record != NULL && ares_dns_rr_get_type(record) == type && ares_dns_rr_get_class(record) == ARES_CLASS_IN) {
            found = true;
            status = add(arg, record) ? ARES_SUCCESS : ARES_ENOMEM;
        }
    }
    ares_dns_record_destroy(reply);
    return status == ARES_SUCCESS && !found ? ARES_ENODATA : (int)status;
}

/* Both lists grow at their end: a pointer to the last element's `next`. */

static bool add_srv(void *arg, const ares_dns_rr_t *record)
{
    struct ares_srv_reply ***end = arg;
    const char *target = ares_dns_rr_get_str(record, ARES_RR_SRV_TARGET);
    struct ares_srv_reply *made = calloc(1, sizeof *made);
    if (made == NULL || (made->host = strdup(target != NULL ? target : "")) == NULL) {
        free(made);
        return false;
    }
    made->port = ares_dns_rr_get_u16(record, ARES_RR_SRV_PORT);
    made->priority = ares_dns_rr_get_u16(record, ARES_RR_SRV_PRIORITY);
    made->weight = ares_dns_rr_get_u16(record, ARES_RR_SRV_WEIGHT);
    **end = made;
    *end = &made->next;
    return true;
}

static bool add_txt(void *arg, const ares_dns_rr_t *record)
{
    struct ares_txt_ext ***end = arg;
    size_t bytes = 0;
    const unsigned char *text = ares_dns_rr_get_bin(record, ARES_RR_TXT_DATA, &bytes);
    struct ares_txt_ext *made = calloc(1, sizeof *made);
    if (made == NULL || (made->txt = malloc(bytes + 1)) == NULL) {
        free(made);
        return false;
    }
    if (text != NULL && bytes > 0) {
        memcpy(made->txt, text, bytes);
    }
    made->txt[bytes] = '\0';
    made->length = bytes;
    made->record_start = 1;
    **end = made;
    *end = &made->next;
    return true;
}

int evener_ares_parse_srv(const unsigned char *bytes, int count, struct ares_srv_reply **list)
{
    struct ares_srv_reply **end = list;
    *list = NULL;
    return visit_answers(bytes, count, ARES_REC_TYPE_SRV, add_srv, &end);
}

int evener_ares_parse_txt(const unsigned char *bytes, int count, struct ares_txt_ext **list)
{
    struct ares_txt_ext **end = list;
    *list = NULL;
    return visit_answers(bytes, count, ARES_REC_TYPE_TXT, add_txt, &end);
}

void evener_ares_free_srv(struct ares_srv_reply *list)
{
    while (list != NULL) {
        struct ares_srv_reply *next = list->next;
        free(list->host);
        free(list);
        list = next;
    }
}

void evener_ares_free_txt(struct ares_txt_ext *list)
{
    while (list != NULL) {
        struct ares_txt_ext *next = list->next;
        free(list->txt);
        free(list);
        list = next;
    }
}

#else /* c-ares 1.18 to 1.27 */

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>

size_t evener_ares_servers(ares_channel channel, char *text, size_t bytes)
{
    struct ares_addr_port_node *nodes = NULL;
    size_t count = 0;
    size_t used = 0;
    text[0] = '\0';
    if (ares_get_servers_ports(channel, &nodes) != ARES_SUCCESS) {
        return 0;
    }
    for (const struct ares_addr_port_node *node = nodes; node != NULL; node = node->next) {
        char ip[INET6_ADDRSTRLEN] = "?";
        const bool v6 = node->family == AF_INET6;
        (void)inet_ntop(node->family, &node->addr, ip, sizeof ip);
        const int length = snprintf(text + used, bytes - used, "%s%s%s%s:%d", count > 0 ? ", " : "", v6 ? "[" : "", ip,
                                    v6 ? "]" : "", node->udp_port != 0 ? node->udp_port : NAMESERVER_PORT);
        if (length > 0 && (size_t)length < bytes - used) {
            used += (size_t)length;
        } else {
            text[used] = '\0';
        }
        count++;
    }
    if (nodes != NULL) {
        ares_free_data(nodes);
    }
    return count;
}

/* The channel's own options announce the EDNS size. */
void evener_ares_search(ares_channel channel, const char *name, int type, unsigned edns_bytes, ares_callback callback,
                        void *arg)
{
    (void)edns_bytes;
    ares_search(channel, name, ns_c_in, type, callback, arg);
}

int evener_ares_parse_srv(const unsigned char *bytes, int count, struct ares_srv_reply **list)
{
    *list = NULL;
    return ares_parse_srv_reply(bytes, count, list);
}

int evener_ares_parse_txt(const unsigned char *bytes, int count, struct ares_txt_ext **list)
{
    *list = NULL;
    return ares_parse_txt_reply_ext(bytes, count, list);
}

void evener_ares_free_srv(struct ares_srv_reply *list)
{
    if (list != NULL) {
        ares_free_data(list);
    }
}

void evener_ares_free_txt(struct ares_txt_ext *list)
{
    if (list != NULL) {
        ares_free_data(list);
    }
}

#endif
