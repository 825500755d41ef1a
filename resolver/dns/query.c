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

/* Add a record with a copy of `text`. NULL: out of memory. */
static evener_dns_record *add(evener_dns_record **all, size_t *count, const char *text)
{
    if (is_full(*count)) {
        const size_t capacity = *count == 0 ? RECORDS_FIRST : *count * 2;
        evener_dns_record *records = realloc(*all, capacity * sizeof *records);
        if (records == NULL) {
            return NULL;
        }
        *all = records;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        return NULL;
    }
    evener_dns_record *record = &(*all)[(*count)++];
    *record = (evener_dns_record){.text = copy};
    return record;
}

static void free_records(evener_dns_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(records[i].text);
    }
    free(records);
}

bool evener_dns_answer_add(evener_dns_answer *answer, const char *text, evener_dns_record **record)
{
    if (answer->record_count >= EVENER_DNS_RECORDS_MAX) {
        *record = NULL;
        return true;
    }
    *record = add(&answer->records, &answer->record_count, text);
    return *record != NULL;
}

bool evener_dns_answer_add_glue(evener_dns_answer *answer, const char *text)
{
    return answer->glue_count >= EVENER_DNS_RECORDS_MAX || add(&answer->glue, &answer->glue_count, text) != NULL;
}

void evener_dns_answer_clear(evener_dns_answer *answer)
{
    free_records(answer->records, answer->record_count);
    free_records(answer->glue, answer->glue_count);
    answer->records = NULL;
    answer->record_count = 0;
    answer->glue = NULL;
    answer->glue_count = 0;
}
