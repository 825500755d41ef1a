/* Address lists: any input gives a list without duplicates whose members parse back to themselves, or an error with a
 * reason. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/list.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const evener_address *address)
{
    evener_attribute attributes[EVENER_ADDRESS_ATTRIBUTES_MAX];
    const size_t count = evener_address_attribute_count(address);
    assert(count <= EVENER_ADDRESS_ATTRIBUTES_MAX);
    for (size_t i = 0; i < count; i++) {
        attributes[i] = evener_address_attribute_at(address, i);
        assert(evener_address_attribute(address, attributes[i].key) == attributes[i].value);
        assert(i == 0 || strcmp(attributes[i - 1].key, attributes[i].key) < 0);
    }
    evener_address *again;
    evener_status status;
    assert(evener_address_create(evener_address_text(address), attributes, count, &again, &status) == EVENER_STATUS_OK);
    assert(evener_address_equal(address, again));
    assert(evener_address_identity_hash(address) == evener_address_identity_hash(again));
    evener_address_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);

    evener_list list = EVENER_LIST_INIT;
    evener_status status = {.code = EVENER_STATUS_OK};
    if (evener_list_parse(&list, "fuzz", text, &status) != EVENER_STATUS_OK) {
        assert(status.message[0] != '\0');
    }
    for (size_t i = 0; i < list.count; i++) {
        check_address(list.addresses[i]);
        for (size_t j = 0; j < i && list.count < 64; j++) {
            assert(!evener_address_same_backend(list.addresses[i], list.addresses[j]));
        }
    }
    evener_list_clear(&list);
    for (int family = EVENER_FAMILY_IPV4; family <= EVENER_FAMILY_VSOCK; family++) {
        const char *prefix = family == EVENER_FAMILY_UNIX ? "unix:" : "";
        (void)evener_list_parse_family(&list, "fuzz", prefix, (evener_address_family)family, text, &status);
        evener_list_clear(&list);
    }
    free(text);
    return 0;
}
