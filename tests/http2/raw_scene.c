#include "http2/raw_scene.h"

#include <criterion/criterion.h>

h2_fixture fixture;
raw_server server;
raw_peer raw;
h2_peer *peer;
raw_frame frame;

void raw_scene_open(void)
{
    h2_open(&fixture, NULL);
    raw_listen(&server);
}

void raw_scene_close(void)
{
    h2_forget(peer);
    raw_close(&raw);
    raw_stop(&server);
    h2_close(&fixture);
}

void raw_scene_connect_with(const uint32_t (*settings)[2], size_t count)
{
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    raw_handshake(&raw, settings, count);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
}

void raw_scene_connect(void)
{
    raw_scene_connect_with(NULL, 0);
}
