#include "resolver/dns/query.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_FIRST 8

const char *evener_dns_type_name(evener_dns_type type)
{
    switch (type) {
    case EVENER_DNS_A:
        return "A";
    case EVENER_DNS_AAAA:
        return "AAAA";
    case EVENER_DNS_SRV:
        return "SRV";
    case EVENER_DNS_TXT:
        return "TXT";
    }
    return "?";
}

/* The capacity is the smallest power of two not below the count, so it needs no member. */
static bool is_full(size_t count)
{
    return count == 0 || (count >= RECORDS_FIRST && (count & (count - 1)) == 0);
}

bool evener_dns_answer_add(evener_dns_answer *answer, const char *text, evener_dns_record **record)
{
    if (answer->record_count >= EVENER_DNS_RECORDS_MAX) {
        *record = NULL;
        return true;
    }
    if (is_full(answer->record_count)) {
        const size_t capacity = answer->record_count == 0 ? RECORDS_FIRST : answer->record_count * 2;
        evener_dns_record *records = realloc(answer->records, capacity * sizeof *records);
        if (records == NULL) {
            return false;
        }
        answer->records = records;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        return false;
    }
    *record = &answer->records[answer->record_count++];
    **record = (evener_dns_record){.text = copy};
    return true;
}

void evener_dns_answer_clear(evener_dns_answer *answer)
{
    for (size_t i = 0; i < answer->record_count; i++) {
        free(answer->records[i].text);
    }
    free(answer->records);
    answer->records = NULL;
    answer->record_count = 0;
}
