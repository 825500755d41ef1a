/* resolv.conf, and the names that it makes of one name: whatever the text, servers that can be asked and candidates
 * that are names. The text before the first NUL is the file, the rest is LOCALDOMAIN, RES_OPTIONS and the name. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/dns/name.h"
#include "resolver/dns/resolv_conf.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    const char *parts[4] = {text, "", "", "orders.prod"};
    const char *at = text;
    for (int i = 1; i < 4 && at + strlen(at) < text + size; i++) {
        at += strlen(at) + 1;
        parts[i] = at;
    }
    const evener_dns_environment environment = {
        .local_domain = parts[1][0] != '\0' ? parts[1] : NULL,
        .res_options = parts[2],
        .hostname = "me.host.example",
    };
    evener_dns_resolv_conf *conf = malloc(sizeof *conf);
    evener_dns_candidates candidates;
    assert(conf != NULL);
    evener_dns_resolv_conf_parse(parts[0], &environment, conf);
    char servers[EVENER_DNS_SERVERS_BYTES_MAX];
    evener_status status;
    assert(evener_dns_servers_parse(conf->servers, servers, &status) == EVENER_STATUS_OK);
    assert(conf->search_count <= EVENER_DNS_SEARCH_MAX && conf->ndots <= 15);
    if (evener_dns_name_problem(parts[3]) == NULL) {
        assert(evener_dns_candidates_make(conf, parts[3], false, &candidates));
        assert(candidates.count >= 1 && candidates.count <= conf->search_count + 2);
        for (size_t i = 0; i < candidates.count; i++) {
            assert(evener_dns_name_problem(candidates.names[i]) == NULL);
        }
        evener_dns_candidates_clear(&candidates);
    }
    free(conf);
    free(text);
    return 0;
}
