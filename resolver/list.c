#include "resolver/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/resolver.h>

#include "resolver/percent.h"

#define FIRST_CAPACITY 16
#define BLANKS " \t\r\n"

/* ---- the list ---- */

void evener_list_clear(evener_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        evener_address_unref(list->addresses[i]);
    }
    free(list->addresses);
    free(list->slots);
    *list = (evener_list)EVENER_LIST_INIT;
}

/* Return the slot of the address's backend, or the free slot where it belongs. */
static uint32_t *find_slot(const evener_list *list, const evener_address *address)
{
    size_t at = evener_address_identity_hash(address) & (list->slot_count - 1);
    while (list->slots[at] != 0 && !evener_address_same_backend(list->addresses[list->slots[at] - 1], address)) {
        at = (at + 1) & (list->slot_count - 1);
    }
    return &list->slots[at];
}

static bool grow(evener_list *list)
{
    const size_t capacity = list->capacity > 0 ? list->capacity * 2 : FIRST_CAPACITY;
    evener_address **addresses = realloc(list->addresses, capacity * sizeof *addresses);
    if (addresses == NULL) {
        return false;
    }
    list->addresses = addresses;
    uint32_t *slots = calloc(2 * capacity, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(list->slots);
    list->slots = slots;
    list->slot_count = 2 * capacity;
    list->capacity = capacity;
    for (size_t i = 0; i < list->count; i++) {
        *find_slot(list, list->addresses[i]) = (uint32_t)(i + 1);
    }
    return true;
}

evener_status_code evener_list_add(evener_list *list, evener_address *address, evener_status *status)
{
    if (list->count == list->capacity && !grow(list)) {
        evener_address_unref(address);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a list of %zu addresses",
                                 list->count + 1);
    }
    uint32_t *slot = find_slot(list, address);
    if (*slot != 0) {
        evener_address_unref(address);
        return EVENER_STATUS_OK;
    }
    if (list->count == EVENER_RESOLVER_ADDRESSES_MAX) {
        evener_address_unref(address);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "more than %d addresses",
                                 EVENER_RESOLVER_ADDRESSES_MAX);
    }
    list->addresses[list->count++] = address;
    *slot = (uint32_t)list->count;
    return EVENER_STATUS_OK;
}

bool evener_list_equal(const evener_list *a, const evener_list *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!evener_address_equal(a->addresses[i], b->addresses[i])) {
            return false;
        }
    }
    return true;
}

/* ---- text form ---- */

static bool is_u32(const char *text, uint32_t minimum)
{
    uint64_t value = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > UINT32_MAX) {
            return false;
        }
    }
    return value >= minimum;
}

const char *evener_list_attribute_problem(const char *key, const char *value)
{
    if (strcmp(key, "weight") == 0 && !is_u32(value, 1)) {
        return "a weight is a whole number of 1 to 4294967295";
    }
    if (strcmp(key, "priority") == 0 && !is_u32(value, 0)) {
        return "a priority is a whole number of 0 to 4294967295";
    }
    return NULL;
}

static char *trim(char *text)
{
    text += strspn(text, BLANKS);
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(BLANKS, text[bytes - 1]) != NULL) {
        bytes--;
    }
    text[bytes] = '\0';
    return text;
}

/* Split the "key=value" items after the address, in place. Return the problem, or NULL. */
static const char *split_attributes(char *text, evener_attribute *attributes, size_t *count)
{
    *count = 0;
    while (text != NULL) {
        char *next = strchr(text, ';');
        if (next != NULL) {
            *next++ = '\0';
        }
        char *key = trim(text);
        text = next;
        if (*key == '\0') {
            continue;
        }
        char *value = strchr(key, '=');
        if (value == NULL || value == key) {
            return "an attribute is written key=value";
        }
        *value++ = '\0';
        if (!evener_percent_decode(key) || !evener_percent_decode(value)) {
            return "a '%' in an attribute without two hexadecimal digits; a '%' itself is written %25";
        }
        const char *wrong = evener_list_attribute_problem(key, value);
        if (wrong != NULL) {
            return wrong;
        }
        if (*count == EVENER_ADDRESS_ATTRIBUTES_MAX) {
            return "more than 64 attributes";
        }
        attributes[(*count)++] = (evener_attribute){key, value};
    }
    return NULL;
}

/* The properties of one kind of list. */
struct form {
    const char *prefix; /* of every item */
    bool attributes;    /* items may have attributes */
    bool one_family;
    evener_address_family family;
};

static const char *const family_names[] = {[EVENER_FAMILY_IPV4] = "IPv4",
                                           [EVENER_FAMILY_IPV6] = "IPv6",
                                           [EVENER_FAMILY_UNIX] = "unix",
                                           [EVENER_FAMILY_UNIX_ABSTRACT] = "unix-abstract",
                                           [EVENER_FAMILY_VSOCK] = "vsock"};

/* Add one item. `item` is trimmed, not empty, and is modified. Messages contain the reason only. */
static evener_status_code add_item(evener_list *list, const struct form *form, char *item, evener_status *status)
{
    evener_attribute attributes[EVENER_ADDRESS_ATTRIBUTES_MAX];
    size_t attribute_count = 0;
    char *semicolon = form->attributes ? strchr(item, ';') : NULL;
    if (semicolon != NULL) {
        *semicolon = '\0';
        const char *wrong = split_attributes(semicolon + 1, attributes, &attribute_count);
        if (wrong != NULL) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "\"%.100s\": %s", item, wrong);
        }
        item = trim(item);
    }
    char prefixed[EVENER_ADDRESS_BYTES_MAX + 2]; /* a text that is too long stays too long */
    if (form->prefix[0] != '\0') {
        snprintf(prefixed, sizeof prefixed, "%s%s", form->prefix, item);
        item = prefixed;
    }
    evener_address *address;
    const evener_status_code code = evener_address_create(item, attributes, attribute_count, &address, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (form->one_family && evener_address_get_family(address) != form->family) {
        evener_address_unref(address);
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "address \"%.100s\": not an %s address", item,
                                 family_names[form->family]);
    }
    return evener_list_add(list, address, status);
}

static evener_status_code parse(evener_list *list, const struct form *form, const char *what, const char *text,
                                evener_status *status)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory for the list", what);
    }
    evener_status_code code = EVENER_STATUS_OK;
    size_t number = 0;
    char *next = copy;
    const char *end = copy + strlen(copy);
    while (next != NULL && code == EVENER_STATUS_OK) {
        char *item = next;
        /* Not strchr(): with strict string checks (ASan) each call scans the rest, and a long list takes minutes. */
        next = memchr(item, ',', (size_t)(end - item));
        if (next != NULL) {
            *next++ = '\0';
        }
        item = trim(item);
        if (*item == '\0') {
            continue;
        }
        number++;
        evener_status reason;
        code = add_item(list, form, item, &reason);
        if (code != EVENER_STATUS_OK) {
            evener_status_set(status, code, "%s: item %zu of the list, at byte %zu: %s", what, number,
                              (size_t)(item - copy), reason.message);
        }
    }
    free(copy);
    return code;
}

evener_status_code evener_list_parse(evener_list *list, const char *what, const char *text, evener_status *status)
{
    const struct form form = {.prefix = "", .attributes = true};
    return parse(list, &form, what, text, status);
}

evener_status_code evener_list_parse_family(evener_list *list, const char *what, const char *prefix,
                                            evener_address_family family, const char *text, evener_status *status)
{
    const struct form form = {.prefix = prefix, .one_family = true, .family = family};
    return parse(list, &form, what, text, status);
}
