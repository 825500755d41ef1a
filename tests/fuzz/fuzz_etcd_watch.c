/* Responses of etcd: whatever the bytes, changes that are sorted and can be applied, or a refusal; and the list stays
 * sorted. Also the other responses. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/etcd/endpoints.h"
#include "resolver/etcd/watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool count(void *arg, const evener_etcd_key_value *kv)
{
    assert(kv->key.length > 0);
    return ++*(size_t *)arg < 1000;
}

static void expect_sorted(const evener_etcd_entries *list)
{
    for (size_t i = 1; i < list->count; i++) {
        const evener_etcd_entry *a = &list->items[i - 1];
        const evener_etcd_entry *b = &list->items[i];
        const size_t least = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
        const int order = memcmp(a->key, b->key, least);
        assert(order < 0 || (order == 0 && a->key_bytes < b->key_bytes));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* a block of its own, so that a sanitizer reports reads past it */
    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    evener_etcd_layout layout;
    assert(evener_etcd_layout_init(&layout, EVENER_ETCD_LAYOUT_PLAIN, "o", NULL));
    evener_etcd_entries list = {0};
    /* Two messages, so that the second one changes what the first has made. */
    for (size_t part = 0; part < 2; part++) {
        const size_t half = size / 2;
        const evener_bytes message = {.data = copy + (part == 0 ? 0 : half), .length = part == 0 ? half : size - half};
        evener_etcd_entries changes = {0};
        evener_etcd_watch_response response;
        int64_t revision = 0;
        if (evener_etcd_watch_decode(&layout, &message, &response, &changes, &revision)) {
            evener_etcd_entries_sort(&changes);
            expect_sorted(&changes);
            assert(evener_etcd_entries_apply(&list, &changes) && changes.count == 0);
            expect_sorted(&list);
        }
        evener_etcd_entries_clear(&changes);
    }
    const evener_bytes whole = {.data = copy, .length = size};
    evener_etcd_range_response range;
    evener_etcd_lease_response lease;
    size_t keys = 0;
    char *token = NULL;
    (void)evener_etcd_range_parse(&whole, &range, count, &keys);
    (void)evener_etcd_lease_parse(&whole, &lease);
    if (evener_etcd_authenticate_parse(&whole, &token)) {
        assert(token[0] != '\0');
        free(token);
    }
    evener_etcd_entries_clear(&list);
    evener_etcd_layout_clear(&layout);
    free(copy);
    return 0;
}
