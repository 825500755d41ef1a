/* Replies of a hostile server. The first byte chooses the type. SRV and TXT replies are the rest of the input; A and
 * AAAA replies get a header and a question before it, so that compression pointers have something to point to. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/dns/name.h"
#include "resolver/dns/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(evener_dns_type type, const evener_dns_answer *answer)
{
    assert(answer->record_count <= EVENER_DNS_RECORDS_MAX);
    for (size_t i = 0; i < answer->record_count; i++) {
        const evener_dns_record *record = &answer->records[i];
        assert(record->text != NULL);
        assert(type != EVENER_DNS_SRV || (record->port != 0 && evener_dns_name_problem(record->text) == NULL));
    }
    for (size_t i = 0; i < answer->record_count && (type == EVENER_DNS_A || type == EVENER_DNS_AAAA); i++) {
        unsigned char bytes[16];
        assert(inet_pton(type == EVENER_DNS_A ? AF_INET : AF_INET6, answer->records[i].text, bytes) == 1);
    }
    for (size_t i = 0; i < answer->glue_count; i++) {
        assert(type == EVENER_DNS_SRV && strchr(answer->glue[i].text, ' ') != NULL);
    }
    assert(answer->status.code == EVENER_STATUS_OK || answer->status.message[0] != '\0');
    assert(answer->record_count > 0 || answer->nothing != NULL);
}

static void read_reply(evener_dns_type type, const uint8_t *bytes, size_t count)
{
    evener_dns_answer answer = {.ttl_known = false};
    evener_dns_reply_read(type, bytes, count, &answer);
    check_answer(type, &answer);
    evener_dns_answer_clear(&answer);
}

/* The first two bytes are the flags, the next six the counts of records. */
static void read_with_question(evener_dns_type type, const uint8_t *data, size_t size)
{
    static const uint8_t question[] = "\1x\7example\0\0\1\0\1"; /* its NUL is not sent */
    const size_t question_bytes = sizeof question - 1;
    if (size < 8) {
        return;
    }
    uint8_t *reply = calloc(1, 12 + question_bytes + size);
    if (reply == NULL) {
        abort();
    }
    memcpy(reply + 2, data, 2);
    reply[5] = 1;
    memcpy(reply + 6, data + 2, 6);
    memcpy(reply + 12, question, question_bytes);
    memcpy(reply + 12 + question_bytes, data + 8, size - 8);
    read_reply(type, reply, 12 + question_bytes + size - 8);
    free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const evener_dns_type types[] = {EVENER_DNS_SRV, EVENER_DNS_TXT, EVENER_DNS_A, EVENER_DNS_AAAA};
    if (size == 0) {
        return 0;
    }
    const unsigned way = data[0] & 3;
    if (way < 2) {
        read_reply(types[way], data + 1, size - 1);
    } else {
        read_with_question(types[way], data + 1, size - 1);
    }
    return 0;
}
