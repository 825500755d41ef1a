/* The table of a pool's connectors, one per address, found by identity. */
#include "lb/backend/subchannel_pool.h"

evener_connector *evener_subchannel_pool_find(const evener_subchannel_pool *pool, const evener_address *address)
{
    return evener_address_table_find(&pool->table, address);
}

evener_connector *evener_connector_obtain(evener_subchannel_pool *pool, const evener_address *address)
{
    evener_connector *connector = evener_subchannel_pool_find(pool, address);
    if (connector != NULL) {
        return connector;
    }
    if (!evener_address_table_reserve(&pool->table, 1)) {
        return NULL;
    }
    connector = evener_slab_take(&pool->memory->connectors);
    if (connector == NULL) {
        return NULL;
    }
    connector->pool = pool;
    evener_connector_take_authority(pool, connector);
    connector->address = evener_address_ref(address);
    connector->state = EVENER_IDLE;
    connector->state_since_ns = evener_connector_time_ns(pool);
    evener_address_table_enter(&pool->table, connector);
    return connector;
}

void evener_connector_leave_table(evener_subchannel_pool *pool, const evener_connector *connector)
{
    evener_address_table_leave(&pool->table, connector);
}
