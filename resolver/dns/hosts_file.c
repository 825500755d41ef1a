/* The index is a hash table of names, so that lists of 100,000 blocked names cost nothing per query. */
#include "resolver/dns/hosts_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lb/base/c_locale.h"
#include "resolver/dns/name.h"

struct entry {
    const char *name;
    const char *address;
    uint32_t next; /* index + 1 of the next entry of the bucket, in file order; 0: none */
};

struct evener_dns_hosts {
    char *text; /* cut into words */
    struct entry *entries;
    size_t count;
    uint32_t *buckets;
    size_t bucket_count; /* a power of two */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static size_t name_bytes(const char *name)
{
    const size_t bytes = strlen(name);
    return bytes > 1 && name[bytes - 1] == '.' ? bytes - 1 : bytes;
}

/* FNV-1a of the name in lower case. */
static uint32_t hash(const char *name, size_t bytes)
{
    uint32_t state = 0x811c9dc5u;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)name[i];
        state = (state ^ (c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c)) * 0x01000193u;
    }
    return state;
}

/* Split off the next word of a line, in place. NULL at the end of the line. */
static char *next_word(char **at)
{
    char *word = *at;
    while (is_blank(*word)) {
        word++;
    }
    if (*word == '\0') {
        return NULL;
    }
    char *end = word;
    while (*end != '\0' && !is_blank(*end)) {
        end++;
    }
    *at = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return word;
}

static bool add(evener_dns_hosts *hosts, size_t *capacity, const char *name, const char *address)
{
    if (hosts->count == *capacity) {
        const size_t more = *capacity == 0 ? 64 : *capacity * 2;
        struct entry *entries = realloc(hosts->entries, more * sizeof *entries);
        if (entries == NULL) {
            return false;
        }
        hosts->entries = entries;
        *capacity = more;
    }
    hosts->entries[hosts->count++] = (struct entry){.name = name, .address = address};
    return true;
}

static bool read_line(evener_dns_hosts *hosts, size_t *capacity, char *line)
{
    char *comment = strchr(line, '#');
    if (comment != NULL) {
        *comment = '\0';
    }
    const char *address = next_word(&line);
    if (address == NULL || !evener_dns_is_ip(address)) {
        return true;
    }
    for (const char *name = next_word(&line); name != NULL; name = next_word(&line)) {
        if (!add(hosts, capacity, name, address)) {
            return false;
        }
    }
    return true;
}

static bool make_index(evener_dns_hosts *hosts)
{
    hosts->bucket_count = 16;
    while (hosts->bucket_count < hosts->count) {
        hosts->bucket_count *= 2;
    }
    hosts->buckets = calloc(hosts->bucket_count, sizeof *hosts->buckets);
    for (size_t i = hosts->count; hosts->buckets != NULL && i-- > 0;) { /* backwards: the first one comes to the head */
        struct entry *entry = &hosts->entries[i];
        uint32_t *bucket = &hosts->buckets[hash(entry->name, name_bytes(entry->name)) & (hosts->bucket_count - 1)];
        entry->next = *bucket;
        *bucket = (uint32_t)(i + 1);
    }
    return hosts->buckets != NULL;
}

evener_dns_hosts *evener_dns_hosts_create(const char *text)
{
    evener_dns_hosts *hosts = calloc(1, sizeof *hosts);
    size_t capacity = 0;
    bool whole = hosts != NULL && (hosts->text = strdup(text)) != NULL;
    const char *text_end = whole ? hosts->text + strlen(hosts->text) : NULL;
    for (char *line = whole ? hosts->text : NULL; line != NULL && whole;) {
        char *end = memchr(line, '\n', (size_t)(text_end - line)); /* not strchr(): see list.c */
        if (end != NULL) {
            *end = '\0';
        }
        whole = read_line(hosts, &capacity, line);
        line = end != NULL ? end + 1 : NULL;
    }
    if (!whole || !make_index(hosts)) {
        evener_dns_hosts_destroy(hosts);
        return NULL;
    }
    return hosts;
}

bool evener_dns_hosts_find(const evener_dns_hosts *hosts, const char *name,
                           bool (*found)(void *arg, const char *address), void *arg)
{
    const size_t bytes = name_bytes(name);
    bool any = false;
    uint32_t at = hosts->buckets[hash(name, bytes) & (hosts->bucket_count - 1)];
    while (at != 0) {
        const struct entry *entry = &hosts->entries[at - 1];
        at = entry->next;
        if (name_bytes(entry->name) == bytes && strncasecmp_l(entry->name, name, bytes, evener_c_locale()) == 0) {
            any = true;
            if (!found(arg, entry->address)) {
                break;
            }
        }
    }
    return any;
}

void evener_dns_hosts_destroy(evener_dns_hosts *hosts)
{
    if (hosts != NULL) {
        free(hosts->buckets);
        free(hosts->entries);
        free(hosts->text);
        free(hosts);
    }
}
