/* Uses a custom policy: makes calls over backends of different weights and counts the calls per backend.
 *
 *     demo_server 8897 8898 8899 &
 *     weighted_dice 'static:127.0.0.1:8897;weight=6,127.0.0.1:8898;weight=3,127.0.0.1:8899;weight=1' */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weighted_random_policy.h"

#define PICKS 10000
#define BACKENDS_MAX 64
#define CONNECT_MS 2000

typedef struct tally {
    char address[EVENER_ADDRESS_BYTES_MAX];
    unsigned picks;
} tally;

static int count_picks(evener_channel *channel)
{
    static tally tallies[BACKENDS_MAX];
    size_t known = 0;
    evener_status status;
    for (int i = 0; i < PICKS; i++) {
        const evener_pick_args args = {.size = sizeof args, .wait_for_ready = true, .timeout_ms = CONNECT_MS};
        evener_pick pick;
        if (evener_channel_pick(channel, &args, &pick, &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "weighted_dice: %s\n", status.message);
            return EXIT_FAILURE;
        }
        const char *address = evener_subchannel_address_text(pick.subchannel);
        size_t at = 0;
        while (at < known && strcmp(tallies[at].address, address) != 0) {
            at++;
        }
        if (at == known && known < BACKENDS_MAX) {
            snprintf(tallies[known++].address, sizeof tallies[0].address, "%s", address);
        }
        if (at < known) {
            tallies[at].picks++;
        }
        evener_pick_done(&pick, NULL);
    }
    for (size_t i = 0; i < known; i++) {
        printf("%s %u\n", tallies[i].address, tallies[i].picks);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    evener_status status;
    evener_credentials *insecure;
    evener_channel *channel;
    if (argc != 2) {
        fprintf(stderr, "usage: weighted_dice TARGET\n");
        return EXIT_FAILURE;
    }
    if (evener_policy_register(&weighted_dice, &status) != EVENER_STATUS_OK ||
        evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "weighted_dice: %s\n", status.message);
        return EXIT_FAILURE;
    }
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .policy = "weighted_dice"};
    if (evener_channel_create(argv[1], &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "weighted_dice: %s\n", status.message);
        evener_credentials_destroy(insecure);
        return EXIT_FAILURE;
    }
    const int result = count_picks(channel);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    return result;
}
