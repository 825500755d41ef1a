/* An address is one block of memory: the struct, then all strings, with the attributes sorted by key. Lists of
 * 100,000 addresses are created and freed often, so an address costs one allocation, and its hash is computed once.
 * Only 32 bits of the hash are kept: this way 10.1.2.3:50051 with a weight takes 48 bytes of malloc instead of 64. */
#include <evener/address.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>

#include "lb/base/printable.h"

#define UNIX_PREFIX "unix:"
#define UNIX_ABSTRACT_PREFIX "unix-abstract:"
#define VSOCK_PREFIX "vsock:"
/* One byte of sun_path is reserved: the NUL at the end of a path, or before an abstract name. */
#define UNIX_PATH_BYTES_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define ZONE_BYTES_MAX 15 /* IF_NAMESIZE with its NUL */
#define PORT_MAX 65535

struct evener_address {
    uint32_t references; /* atomic */
    uint32_t identity_hash;
    uint8_t family; /* an evener_address_family */
    uint8_t attribute_count;
    bool has_authority; /* has the attribute "authority", which belongs to the identity */
    char strings[];     /* the address's text; then key, value, key, value ... of the attributes, sorted by key */
};

_Static_assert(EVENER_ADDRESS_ATTRIBUTES_MAX <= UINT8_MAX, "their number fits");

/* ---- the text ---- */

/* The reason why a text is refused, for a message; NULL: the text is accepted. */
typedef const char *problem;

static problem parse_port(const char *text, uint32_t *port)
{
    uint32_t value = 0;
    if (*text == '\0') {
        return "the port is missing behind the ':'";
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9') {
            return "the port is not a number";
        }
        value = value * 10 + (uint32_t)(*c - '0');
        if (value > PORT_MAX) {
            return "the port is larger than 65535";
        }
    }
    if (value == 0) {
        return "port 0 cannot be connected to";
    }
    *port = value;
    return NULL;
}

static problem canonical_ipv6(const char *text, char *canonical)
{
    const char *closing = strchr(text, ']');
    if (closing == NULL) {
        return "the '[' is not closed";
    }
    if (closing[1] != ':') {
        return closing[1] == '\0' ? "no port; write [ADDRESS]:PORT" : "only a ':' and a port may follow the ']'";
    }
    char host[INET6_ADDRSTRLEN];
    const char *zone = memchr(text, '%', (size_t)(closing - text));
    const size_t host_bytes = (size_t)((zone != NULL ? zone : closing) - text) - 1;
    const size_t zone_bytes = zone != NULL ? (size_t)(closing - zone) : 0; /* including the '%' */
    if (host_bytes >= sizeof host) {
        return "what the brackets hold is not an IPv6 address";
    }
    memcpy(host, text + 1, host_bytes);
    host[host_bytes] = '\0';
    struct in6_addr binary;
    if (inet_pton(AF_INET6, host, &binary) != 1) {
        return "what the brackets hold is not an IPv6 address";
    }
    if (zone != NULL && (zone_bytes < 2 || zone_bytes > ZONE_BYTES_MAX + 1)) {
        return "the zone behind the '%' is empty or longer than 15 bytes";
    }
    for (size_t i = 1; i < zone_bytes; i++) {
        if (strchr("[/:;,%\" ", zone[i]) != NULL) {
            return "the zone behind the '%' is no name of an interface";
        }
    }
    uint32_t port;
    const problem wrong = parse_port(closing + 2, &port);
    if (wrong != NULL) {
        return wrong;
    }
    /* glibc writes the form of RFC 5952. */
    inet_ntop(AF_INET6, &binary, host, sizeof host);
    snprintf(canonical, EVENER_ADDRESS_BYTES_MAX + 1, "[%s%.*s]:%u", host, (int)zone_bytes, zone != NULL ? zone : "",
             port);
    return NULL;
}

static problem canonical_ipv4(const char *text, char *canonical)
{
    const char *colon = strchr(text, ':');
    if (colon != NULL && strchr(colon + 1, ':') != NULL) {
        struct in6_addr binary;
        return inet_pton(AF_INET6, text, &binary) == 1 ? "an IPv6 address needs brackets; write [ADDRESS]:PORT"
                                                       : "more than one ':'";
    }
    char host[INET_ADDRSTRLEN];
    const size_t host_bytes = colon != NULL ? (size_t)(colon - text) : strlen(text);
    struct in_addr binary;
    bool literal = false;
    if (host_bytes < sizeof host) {
        memcpy(host, text, host_bytes);
        host[host_bytes] = '\0';
        literal = inet_pton(AF_INET, host, &binary) == 1;
    }
    if (!literal) {
        return "not an IP address; a host name is not taken here";
    }
    if (colon == NULL) {
        return "no port; write ADDRESS:PORT";
    }
    uint32_t port;
    const problem wrong = parse_port(colon + 1, &port);
    if (wrong != NULL) {
        return wrong;
    }
    /* inet_pton() accepts only one spelling of an IPv4 address, so only the port may have leading zeros. */
    const char *digits = colon + 1;
    while (*digits == '0') {
        digits++;
    }
    memcpy(canonical, text, host_bytes + 1);
    memcpy(canonical + host_bytes + 1, digits, strlen(digits) + 1);
    return NULL;
}

static problem check_unix_path(const char *path)
{
    const size_t bytes = strlen(path);
    if (bytes == 0) {
        return "the path is empty";
    }
    return bytes > UNIX_PATH_BYTES_MAX ? "the path is longer than a socket's may be (107 bytes)" : NULL;
}

/* Read decimal digits of a number below 2^32 - 1, which means "any" in vsock(7). Return what follows, or NULL. */
static const char *read_vsock_number(const char *text, uint32_t *number)
{
    uint64_t value = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9' && value < UINT32_MAX; c++) {
        value = value * 10 + (uint64_t)(*c - '0');
    }
    *number = (uint32_t)value;
    return c > text && value < UINT32_MAX ? c : NULL;
}

static problem canonical_vsock(const char *text, char *canonical)
{
    uint32_t cid, port;
    const char *end = read_vsock_number(text, &cid);
    if (end == NULL || *end != ':') {
        return "not vsock:CID:PORT with a context id of 0 to 4294967294";
    }
    end = read_vsock_number(end + 1, &port);
    if (end == NULL || *end != '\0') {
        return "the port of a vsock address is a number of 0 to 4294967294";
    }
    snprintf(canonical, EVENER_ADDRESS_BYTES_MAX + 1, VSOCK_PREFIX "%u:%u", cid, port);
    return NULL;
}

static problem canonical_text(const char *text, char *canonical, evener_address_family *family)
{
    if (strlen(text) > EVENER_ADDRESS_BYTES_MAX) {
        return "longer than 256 bytes";
    }
    problem wrong;
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
        *family = EVENER_FAMILY_UNIX;
        wrong = check_unix_path(text + strlen(UNIX_PREFIX));
    } else if (strncmp(text, UNIX_ABSTRACT_PREFIX, strlen(UNIX_ABSTRACT_PREFIX)) == 0) {
        *family = EVENER_FAMILY_UNIX_ABSTRACT;
        wrong = check_unix_path(text + strlen(UNIX_ABSTRACT_PREFIX));
    } else if (strncmp(text, VSOCK_PREFIX, strlen(VSOCK_PREFIX)) == 0) {
        *family = EVENER_FAMILY_VSOCK;
        return canonical_vsock(text + strlen(VSOCK_PREFIX), canonical);
    } else if (text[0] == '[') {
        *family = EVENER_FAMILY_IPV6;
        return canonical_ipv6(text, canonical);
    } else {
        *family = EVENER_FAMILY_IPV4;
        return text[0] == '\0' ? "it is empty" : canonical_ipv4(text, canonical);
    }
    memcpy(canonical, text, strlen(text) + 1);
    return wrong;
}

/* ---- the hash ---- */

/* The seed is random per process: otherwise a hostile name server could choose names that all hash to one bucket. */
static uint64_t hash_seed(void)
{
    static uint64_t seed; /* atomic; 0: not drawn yet */
    uint64_t drawn = __atomic_load_n(&seed, __ATOMIC_RELAXED);
    if (drawn == 0) {
        uint64_t unset = 0;
        if (getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != (ssize_t)sizeof drawn || drawn == 0) {
            drawn = (uint64_t)(uintptr_t)&seed;
        }
        /* Relaxed: no other data depends on the seed. If two threads draw one, the first one is used. */
        if (!__atomic_compare_exchange_n(&seed, &unset, drawn, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            drawn = unset;
        }
    }
    return drawn;
}

/* Multiply and fold, eight bytes per step. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    size_t left = strlen(text);
    hash ^= left;
    while (left > 0) {
        uint64_t chunk = 0;
        const size_t bytes = left < sizeof chunk ? left : sizeof chunk;
        memcpy(&chunk, text, bytes);
        hash = mix(hash ^ chunk ^ UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db));
        text += bytes;
        left -= bytes;
    }
    return hash;
}

/* ---- the attributes ---- */

static evener_status_code check_attributes(const char *text, const evener_attribute *attributes, size_t count,
                                           evener_status *status)
{
    if (count > EVENER_ADDRESS_ATTRIBUTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "address \"%s\": %zu attributes; at most %d",
                                 text, count, EVENER_ADDRESS_ATTRIBUTES_MAX);
    }
    if (count > 0 && attributes == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "address \"%s\": %zu attributes, but the list of them is NULL", text, count);
    }
    for (size_t i = 0; i < count; i++) {
        const evener_attribute *one = &attributes[i];
        if (one->key == NULL || one->value == NULL || one->key[0] == '\0') {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "address \"%s\": attribute %zu has no %s",
                                     text, i + 1, one->key == NULL || one->key[0] == '\0' ? "key" : "value");
        }
        if (strlen(one->key) > EVENER_ATTRIBUTE_BYTES_MAX || strlen(one->value) > EVENER_ATTRIBUTE_BYTES_MAX) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "address \"%s\": attribute \"%.40s\": key or value is longer than %d bytes", text,
                                     one->key, EVENER_ATTRIBUTE_BYTES_MAX);
        }
        if (strcmp(one->key, "authority") == 0 && !evener_is_authority(one->value)) {
            return evener_status_set(
                status, EVENER_STATUS_INVALID_ARGUMENT,
                "address \"%s\": the attribute \"authority\" is no host name with or without a port: "
                "servers refuse its calls",
                text);
        }
    }
    return EVENER_STATUS_OK;
}

/* Sort by key into `sorted`; of two attributes with one key the last wins. Return the resulting count. Insertion
 * sort: the lists are short. */
static size_t sort_attributes(const evener_attribute *attributes, size_t count, evener_attribute *sorted)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = left;
        int order = 1;
        while (at > 0 && (order = strcmp(sorted[at - 1].key, attributes[i].key)) > 0) {
            at--;
        }
        if (at > 0 && order == 0) {
            sorted[at - 1] = attributes[i];
            continue;
        }
        memmove(&sorted[at + 1], &sorted[at], (left - at) * sizeof *sorted);
        sorted[at] = attributes[i];
        left++;
    }
    return left;
}

/* ---- create ---- */

static const char *append(char **end, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    const char *copy = memcpy(*end, text, bytes);
    *end += bytes;
    return copy;
}

/* Create an address from canonical text. */
static evener_status_code make(const char *text, evener_address_family family, const evener_attribute *attributes,
                               size_t attribute_count, evener_address **address, evener_status *status)
{
    const evener_status_code code = check_attributes(text, attributes, attribute_count, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_attribute sorted[EVENER_ADDRESS_ATTRIBUTES_MAX];
    const size_t count = sort_attributes(attributes, attribute_count, sorted);
    size_t bytes = offsetof(evener_address, strings) + strlen(text) + 1;
    for (size_t i = 0; i < count; i++) {
        bytes += strlen(sorted[i].key) + 1 + strlen(sorted[i].value) + 1;
    }
    evener_address *made = malloc(bytes);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "address \"%s\": no memory", text);
    }
    char *end = made->strings;
    made->references = 1;
    made->family = (uint8_t)family;
    made->attribute_count = (uint8_t)count;
    made->has_authority = false;
    uint64_t identity_hash = hash_text(hash_seed(), append(&end, text));
    for (size_t i = 0; i < count; i++) {
        (void)append(&end, sorted[i].key);
        (void)append(&end, sorted[i].value);
        if (strcmp(sorted[i].key, "authority") == 0) {
            made->has_authority = true;
            identity_hash = hash_text(identity_hash, sorted[i].value);
        }
    }
    made->identity_hash = (uint32_t)(identity_hash ^ identity_hash >> 32);
    *address = made;
    return EVENER_STATUS_OK;
}

evener_status_code evener_address_create(const char *text, const evener_attribute *attributes, size_t attribute_count,
                                         evener_address **address, evener_status *status)
{
    if (text == NULL || address == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "address: %s is NULL",
                                 text == NULL ? "the text" : "where to store it");
    }
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            /* The message leaves the text out: it would reach a log. */
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "address: byte %zu of its text is a control character", (size_t)(c - text));
        }
    }
    char canonical[EVENER_ADDRESS_BYTES_MAX + 1];
    evener_address_family family;
    const problem wrong = canonical_text(text, canonical, &family);
    if (wrong != NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "address \"%.100s\": %s", text, wrong);
    }
    return make(canonical, family, attributes, attribute_count, address, status);
}

evener_status_code evener_address_with_attributes(const evener_address *address, const evener_attribute *attributes,
                                                  size_t attribute_count, evener_address **changed,
                                                  evener_status *status)
{
    if (address == NULL || changed == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "address: %s is NULL",
                                 address == NULL ? "the one to change" : "where to store it");
    }
    return make(evener_address_text(address), evener_address_get_family(address), attributes, attribute_count, changed,
                status);
}

evener_address *evener_address_ref(const evener_address *address)
{
    evener_address *counted = (evener_address *)(uintptr_t)address; /* the count is not part of the value */
    if (counted != NULL) {
        /* Relaxed: the caller already holds a reference. */
        (void)__atomic_fetch_add(&counted->references, 1, __ATOMIC_RELAXED);
    }
    return counted;
}

void evener_address_unref(const evener_address *address)
{
    evener_address *counted = (evener_address *)(uintptr_t)address;
    /* Release and acquire: all reads of all threads happen before the free. */
    if (counted != NULL && __atomic_sub_fetch(&counted->references, 1, __ATOMIC_ACQ_REL) == 0) {
        free(counted);
    }
}

/* ---- read ---- */

const char *evener_address_text(const evener_address *address)
{
    return address->strings;
}

evener_address_family evener_address_get_family(const evener_address *address)
{
    return (evener_address_family)address->family;
}

/* Return the string that follows a string. */
static const char *next_string(const char *string)
{
    return string + strlen(string) + 1;
}

const char *evener_address_attribute(const evener_address *address, const char *key)
{
    if (address->attribute_count == 0) {
        return NULL;
    }
    const char *at = next_string(address->strings);
    for (size_t i = 0; i < address->attribute_count; i++) {
        const char *value = next_string(at);
        if (strcmp(at, key) == 0) {
            return value;
        }
        at = next_string(value);
    }
    return NULL;
}

const char *evener_address_authority(const evener_address *address)
{
    return address->has_authority ? evener_address_attribute(address, "authority") : NULL;
}

uint32_t evener_address_attribute_u32(const evener_address *address, const char *key, uint32_t fallback)
{
    const char *text = evener_address_attribute(address, key);
    if (text == NULL || *text == '\0') {
        return fallback;
    }
    uint64_t value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return fallback;
        }
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > UINT32_MAX) {
            return fallback;
        }
    }
    return (uint32_t)value;
}

size_t evener_address_attribute_count(const evener_address *address)
{
    return address->attribute_count;
}

evener_attribute evener_address_attribute_at(const evener_address *address, size_t index)
{
    if (index >= address->attribute_count) {
        return (evener_attribute){NULL, NULL};
    }
    const char *key = next_string(address->strings);
    for (size_t i = 0; i < index; i++) {
        key = next_string(next_string(key));
    }
    return (evener_attribute){.key = key, .value = next_string(key)};
}

bool evener_address_same_backend(const evener_address *a, const evener_address *b)
{
    if (a == b) {
        return true;
    }
    if (a->identity_hash != b->identity_hash || strcmp(evener_address_text(a), evener_address_text(b)) != 0) {
        return false;
    }
    const char *of_a = evener_address_authority(a);
    const char *of_b = evener_address_authority(b);
    return of_a == NULL || of_b == NULL ? of_a == of_b : strcmp(of_a, of_b) == 0;
}

bool evener_address_equal(const evener_address *a, const evener_address *b)
{
    if (a == b) {
        return true;
    }
    if (!evener_address_same_backend(a, b) || a->attribute_count != b->attribute_count) {
        return false;
    }
    const char *of_a = a->strings;
    const char *of_b = b->strings;
    for (size_t i = 0; i < 2U * a->attribute_count; i++) {
        of_a = next_string(of_a);
        of_b = next_string(of_b);
        if (strcmp(of_a, of_b) != 0) {
            return false;
        }
    }
    return true;
}

uint64_t evener_address_identity_hash(const evener_address *address)
{
    return address->identity_hash;
}
