/* A plug-in that uses evener through the shared library, as a module of another program would. */
#include <evener/evener.h>

int plugin_pick(void);

/* Pick with a channel of its own, so that the calling thread has all thread-local state of a picking thread. Return 0
 * on the expected result: there is no backend, so the pick fails or times out. */
__attribute__((visibility("default"))) int plugin_pick(void)
{
    evener_credentials *credentials;
    evener_channel *channel;
    evener_status status;
    if (evener_credentials_create_insecure(&credentials, &status) != EVENER_STATUS_OK) {
        return 1;
    }
    const evener_channel_options options = {
        .size = sizeof options, .credentials = credentials, .policy = "round_robin"};
    const evener_status_code code = evener_channel_create("static:127.0.0.1:1", &options, &channel, &status);
    evener_credentials_destroy(credentials);
    if (code != EVENER_STATUS_OK) {
        return 2;
    }
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 100};
    evener_pick pick;
    const bool picked = evener_channel_pick(channel, &args, &pick, &status) == EVENER_STATUS_OK;
    if (picked) {
        evener_pick_done(&pick, NULL);
    }
    evener_channel_unref(channel);
    return picked ? 3 : 0;
}
