#include "lb/policy/address_index.h"

#include <stdlib.h>

bool evener_address_index_init(evener_address_index *index, size_t capacity)
{
    *index = (evener_address_index){
        .table = EVENER_ADDRESS_TABLE_INIT(evener_address_place, table_next, address, table_tag)};
    index->places = malloc((capacity > 0 ? capacity : 1) * sizeof(evener_address_place));
    if (index->places == NULL || !evener_address_table_reserve(&index->table, capacity)) {
        evener_address_index_clear(index);
        return false;
    }
    return true;
}

void evener_address_index_clear(evener_address_index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        evener_address_unref(index->places[i].address);
    }
    free(index->places);
    index->places = NULL;
    index->count = 0;
    evener_address_table_clear(&index->table);
}

void evener_address_index_add(evener_address_index *index, const evener_address *address, size_t position)
{
    if (evener_address_table_find(&index->table, address) == NULL) {
        evener_address_place *place = &index->places[index->count++];
        *place = (evener_address_place){.address = evener_address_ref(address), .position = position};
        evener_address_table_enter(&index->table, place);
    }
}

size_t evener_address_index_find(const evener_address_index *index, const evener_address *address)
{
    const evener_address_place *place = evener_address_table_find(&index->table, address);
    return place != NULL ? place->position : EVENER_NO_INDEX;
}
