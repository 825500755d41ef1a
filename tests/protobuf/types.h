/* The recorded types of the tests (data/types.proto, data/legacy.proto). */
#ifndef EVENER_TESTS_PROTOBUF_TYPES_H
#define EVENER_TESTS_PROTOBUF_TYPES_H

#include <assert.h>

#include <evener/descriptors.h>

static inline evener_descriptors *types_read(void)
{
    evener_descriptors *types = NULL;
    const evener_status_code created = evener_descriptors_create(&types, NULL);
    const evener_status_code added = created == EVENER_STATUS_OK
                                         ? evener_descriptors_add_set_file(types, TEST_DATA "/types.protoset", NULL)
                                         : created;
    assert(added == EVENER_STATUS_OK);
    return types;
}

#endif
