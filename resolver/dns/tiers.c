#include "resolver/dns/tiers.h"

#include <stdio.h>

#include "resolver/dns/addresses.h"

/* Scale of weights that are divided among addresses: a weight of 1 among 100 addresses stays an integer, and 65535
 * stays far below 32 bits. */
#define WEIGHT_SCALE 100u

void evener_dns_services_sort(evener_dns_service *services, size_t count)
{
    /* Insertion sort: stable, needs no memory; SRV lists are short or already sorted. */
    for (size_t i = 1; i < count; i++) {
        const evener_dns_service moved = services[i];
        size_t at = i;
        for (; at > 0 && services[at - 1].srv.priority > moved.srv.priority; at--) {
            services[at] = services[at - 1];
        }
        services[at] = moved;
    }
}

static size_t tier_end(const evener_dns_service *services, size_t count, size_t begin)
{
    size_t end = begin;
    while (end < count && services[end].srv.priority == services[begin].srv.priority) {
        end++;
    }
    return end;
}

/* Return 1 if each target has one address and zero weights are not mixed with others, otherwise WEIGHT_SCALE. */
static uint32_t scale_of(const evener_dns_service *services, size_t count)
{
    bool zero = false;
    bool more = false;
    bool shared = false;
    for (size_t i = 0; i < count; i++) {
        zero = zero || services[i].srv.weight == 0;
        more = more || services[i].srv.weight > 0;
        shared = shared || services[i].target->record_count > 1;
    }
    return more && (zero || shared) ? WEIGHT_SCALE : 1;
}

static evener_status_code add_service(evener_list *list, const evener_dns_service *service, uint32_t scale, size_t tier,
                                      evener_status *status)
{
    const size_t addresses = service->target->record_count;
    const uint32_t share = addresses > 0 ? service->srv.weight * scale / (uint32_t)addresses : 0;
    char priority[24];
    char weight[16];
    snprintf(priority, sizeof priority, "%zu", tier);
    snprintf(weight, sizeof weight, "%u", share > 0 ? share : 1);
    const evener_attribute attributes[] = {{"priority", priority}, {"weight", weight}};
    evener_status_code code = EVENER_STATUS_OK;
    for (size_t i = 0; i < addresses && code == EVENER_STATUS_OK; i++) {
        code = evener_dns_list_add(list, service->target->records[i].text, service->srv.port, attributes, 2, status);
    }
    return code;
}

evener_status_code evener_dns_tiers_fill(evener_list *list, const evener_dns_service *services, size_t count,
                                         bool all_tiers, bool *waiting, evener_status *status)
{
    evener_status_code code = EVENER_STATUS_OK;
    size_t tier = 0;
    *waiting = false;
    for (size_t begin = 0; begin < count && code == EVENER_STATUS_OK; tier++) {
        const size_t end = tier_end(services, count, begin);
        const uint32_t scale = scale_of(services + begin, end - begin);
        for (size_t i = begin; i < end && code == EVENER_STATUS_OK; i++) {
            *waiting = *waiting || services[i].pending;
            code = add_service(list, &services[i], scale, tier, status);
        }
        if (list->count > 0 && !all_tiers) {
            break;
        }
        begin = end;
    }
    return code;
}
