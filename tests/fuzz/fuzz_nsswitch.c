/* nsswitch.conf: whatever the text, some service is asked, the hosts file is behind DNS only where DNS is asked, and
 * lines of other databases change nothing. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/dns/nsswitch.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const evener_dns_services *services)
{
    assert(services->hosts != EVENER_DNS_HOSTS_NO || services->dns);
    assert(services->hosts <= EVENER_DNS_HOSTS_FIRST || services->dns);
    assert(memchr(services->line, '\0', sizeof services->line) != NULL);
    assert(strpbrk(services->line, "\n#") == NULL);
    assert(services->line[0] == '\0' || strncmp(services->line, "hosts:", 6) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char before[] = "passwd: files\n";
    static const char after[] = "\nnetworks: dns files\n";
    char *text = fuzz_text(data, size);
    char *longer = malloc(size + sizeof before + sizeof after);
    evener_dns_services services, same;
    assert(longer != NULL);
    evener_dns_services_parse(text, &services);
    check(&services);
    snprintf(longer, size + sizeof before + sizeof after, "%s%s%s", before, text, after);
    evener_dns_services_parse(longer, &same);
    check(&same);
    assert(same.hosts == services.hosts && same.dns == services.dns && strcmp(same.line, services.line) == 0);
    free(longer);
    free(text);
    return 0;
}
