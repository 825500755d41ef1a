/* Cache files: whatever the bytes, a list or a reason; and a list that was read is written and read as the same. The
 * checksum is corrected, so that the lines are reached. */
#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/channel/saved_list.h"
#include "lb/policy/xxh64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const evener_saved_list *list)
{
    char *text = NULL;
    size_t bytes = 0;
    uint64_t content = 0;
    evener_saved_list again = {0};
    evener_status status;
    assert(evener_saved_list_encode(list, &text, &bytes, &content));
    assert(evener_saved_list_parse(text, bytes, &again, &status) == EVENER_STATUS_OK);
    assert(again.count == list->count && again.time_ms == list->time_ms && strcmp(again.target, list->target) == 0);
    for (size_t i = 0; i < list->count; i++) {
        assert(evener_address_equal(again.addresses[i], list->addresses[i]));
    }
    evener_saved_list_clear(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 64);
    evener_saved_list list = {0};
    evener_status status;
    assert(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    (void)evener_saved_list_parse(text, size, &list, &status);
    evener_saved_list_clear(&list);
    if (size > 0) {
        memcpy(text, data, size); /* parse() changes it */
    }
    const int more = snprintf(text + size, 64, "checksum %016" PRIx64 "\n", evener_xxh64(text, size, 0));
    if (evener_saved_list_parse(text, size + (size_t)more, &list, &status) == EVENER_STATUS_OK) {
        check_again(&list);
    } else {
        assert(status.message[0] != '\0');
    }
    evener_saved_list_clear(&list);
    free(text);
    return 0;
}
