/* `static:` - a list of addresses with attributes, written in the target itself:
 *
 *     static:10.0.0.1:80;weight=3;zone=a,10.0.0.2:80
 *
 * A port is required, as for `ipv4:`: a list that silently uses a default port would hide a mistake in one of its
 * items. Its default :authority is the first address ("localhost" for a socket in the file system): the whole list
 * with its attributes names no host. That is for plain text; TLS verifies each backend against its own address. */
#include <stdio.h>
#include <string.h>

#include "resolver/builtin.h"
#include "resolver/fixed.h"
#include "resolver/list.h"

static evener_status_code parse(const evener_target *target, evener_list *list, evener_status *status)
{
    if (evener_target_authority(target)[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "static: an authority (\"%.100s\") has no meaning here; write static:ADDRESS:PORT,...",
                                 evener_target_authority(target));
    }
    evener_status_code code = evener_list_parse(list, "static", evener_target_endpoint(target), status);
    if (code == EVENER_STATUS_OK && list->count == 0) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "static: no address in the list");
    }
    if (code != EVENER_STATUS_OK) {
        evener_list_clear(list);
    }
    return code;
}

static evener_status_code static_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_status *status)
{
    (void)builder;
    evener_list list = EVENER_LIST_INIT;
    const evener_status_code code = parse(args->target, &list, status);
    evener_list_clear(&list);
    return code;
}

static evener_status_code static_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                       evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    evener_list list = EVENER_LIST_INIT;
    evener_status_code code = parse(args->target, &list, status);
    if (code == EVENER_STATUS_OK) {
        code = evener_fixed_resolver_create(args, &list, "static list", resolver, status);
    }
    evener_list_clear(&list);
    return code;
}

static evener_status_code static_default_authority(const evener_resolver_builder *builder, const evener_target *target,
                                                   char *buffer, size_t buffer_bytes, evener_status *status)
{
    (void)builder;
    evener_list list = EVENER_LIST_INIT;
    evener_status_code code = parse(target, &list, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    const char *authority = "localhost";
    const evener_address *first = list.count > 0 ? list.addresses[0] : NULL;
    if (first != NULL && evener_address_get_family(first) <= EVENER_FAMILY_IPV6 &&
        strchr(evener_address_text(first), '%') == NULL) { /* a zone means nothing to a server */
        authority = evener_address_text(first);
    }
    if (strlen(authority) < buffer_bytes) {
        memcpy(buffer, authority, strlen(authority) + 1);
    } else {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "static: no room for the authority");
    }
    evener_list_clear(&list);
    return code;
}

static evener_server_names static_server_names(const evener_resolver_builder *builder, const evener_target *target)
{
    (void)builder;
    evener_list list = EVENER_LIST_INIT;
    evener_status status;
    evener_server_names names = EVENER_SERVER_NAMES_ADDRESSES;
    if (parse(target, &list, &status) != EVENER_STATUS_OK) {
        return names;
    }
    for (size_t i = 0; i < list.count; i++) {
        const char *authority = evener_address_authority(list.addresses[i]);
        if (evener_address_get_family(list.addresses[i]) > EVENER_FAMILY_IPV6 &&
            (authority == NULL || authority[0] == '\0')) {
            names = EVENER_SERVER_NAMES_MISSING;
        }
    }
    evener_list_clear(&list);
    return names;
}

const evener_resolver_builder evener_static_resolver = {
    .size = sizeof evener_static_resolver,
    .scheme = "static",
    .build = static_build,
    .check = static_check,
    .default_authority = static_default_authority,
    .server_names = static_server_names,
};
