#include "resolver/dns/ares_compat.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_WITH_RECORDS 0x011c00 /* 1.28 */

#if ARES_VERSION >= VERSION_WITH_RECORDS

/* ---- queries ---- */

typedef struct query {
    ares_callback callback;
    void *arg;
} query;

static void query_ended(void *arg, ares_status_t status, size_t timeouts, const ares_dns_record_t *reply)
{
    const query own = *(query *)arg;
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

void evener_ares_query(ares_channel channel, const char *name, int type, ares_callback callback, void *arg)
{
    query *own = malloc(sizeof *own);
    if (own == NULL) {
        callback(arg, ARES_ENOMEM, 0, NULL, 0);
        return;
    }
    *own = (query){.callback = callback, .arg = arg};
    /* On failure, too, query_ended() is called. */
    (void)ares_query_dnsrec(channel, name, ARES_CLASS_IN, (ares_dns_rec_type_t)type, query_ended, own, NULL);
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

void evener_ares_query(ares_channel channel, const char *name, int type, ares_callback callback, void *arg)
{
    ares_query(channel, name, ns_c_in, type, callback, arg);
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
