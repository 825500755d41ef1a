/* hosts files: whatever the text, addresses that are some, and every name of a line is found again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/dns/hosts_file.h"
#include "tests/fuzz/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool check(void *arg, const char *address)
{
    size_t *count = arg;
    assert(address[0] != '\0' && strspn(address, "0123456789abcdefABCDEF:.") > 0);
    return ++*count < 100;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    evener_dns_hosts *hosts = evener_dns_hosts_create(text);
    assert(hosts != NULL);
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\r\n#", &rest); word != NULL; word = strtok_r(NULL, " \t\r\n#", &rest)) {
        size_t count = 0;
        assert(evener_dns_hosts_find(hosts, word, check, &count) == (count > 0));
    }
    evener_dns_hosts_destroy(hosts);
    free(text);
    return 0;
}
