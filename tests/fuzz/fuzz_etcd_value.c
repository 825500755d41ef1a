/* Values of etcd: whatever the bytes, an address, none, or a reason. The first byte chooses the layout. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/etcd/layout.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    char *value = fuzz_text(data + 1, size - 1);
    char key[320];
    evener_etcd_layout layout;
    assert(evener_etcd_layout_init(&layout, (evener_etcd_layout_kind)(data[0] % 4), "orders", NULL));
    layout.secure = (data[0] & 4) != 0;
    /* The key ends with the beginning of the value, which `plain` may read as an address. */
    const int key_bytes = snprintf(key, sizeof key, "%s%.60s", layout.prefix, value);
    const evener_etcd_key_value kv = {.key = {(const uint8_t *)key, (size_t)key_bytes},
                                      .value = {(const uint8_t *)value, size - 1},
                                      .mod_revision = 1};
    evener_address *address = NULL;
    evener_status status;
    if (evener_etcd_layout_read(&layout, &kv, &address, &status) == EVENER_STATUS_OK) {
        if (address != NULL) {
            assert(evener_address_text(address)[0] != '\0');
            assert(evener_address_attribute_count(address) <= EVENER_ADDRESS_ATTRIBUTES_MAX);
        }
        evener_address_unref(address);
    } else {
        assert(status.message[0] != '\0');
    }
    evener_etcd_layout_clear(&layout);
    free(value);
    return 0;
}
