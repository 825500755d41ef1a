#include "tests/support/refusing_server.h"

static const h2_step refused[] = {
    {.kind = H2_AWAIT_END_STREAM}, {.kind = H2_RST_STREAM, .code = H2_REFUSED_STREAM}, {.kind = H2_END}};
static const h2_step ok[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
    {.kind = H2_DATA, .data = "\0\0\0\0", .data_bytes = 5},
    {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
    {.kind = H2_END}};

h2_script_server *refusing_server_start(uint64_t refused_every)
{
    static const h2_script willing = {.steps = ok};
    static h2_script scripts[] = {{.steps = ok}, {.steps = refused, .plays = 1}};
    if (refused_every == 0) {
        return h2_script_server_start(&(h2_script_server_options){.scripts = &willing, .count = 1});
    }
    scripts[0].plays = refused_every - 1;
    return h2_script_server_start(&(h2_script_server_options){.scripts = scripts, .count = 2, .cycle = true});
}
