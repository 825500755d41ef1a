/* What of evener/grpc.h a channel with the transport "http2" refuses. */
#include <criterion/criterion.h>

#include <string.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <evener/grpc.h>

static evener_status_code create_channel(const evener_credentials *credentials, evener_channel **channel,
                                         evener_status *status)
{
    const evener_channel_options options = {
        .size = sizeof options, .credentials = credentials, .transport_name = "http2"};
    return evener_channel_create("static:127.0.0.1:1", &options, channel, status);
}

Test(on_http2, credentials_of_the_core_are_refused_by_name)
{
    grpc_init();
    evener_status status;
    evener_credentials *core = NULL;
    cr_assert_eq(evener_credentials_from_grpc(grpc_insecure_credentials_create(), &core, &status), EVENER_STATUS_OK);
    evener_channel *channel = NULL;
    cr_expect_eq(create_channel(core, &channel, &status), EVENER_STATUS_FAILED_PRECONDITION, "%s", status.message);
    cr_expect(strstr(status.message, "need the transport \"grpc\"") != NULL, "%s", status.message);
    cr_expect_null(channel);
    evener_credentials_destroy(core);
    grpc_shutdown();
}

Test(on_http2, calls_of_the_core_are_refused_by_name)
{
    grpc_init();
    evener_status status;
    evener_credentials *insecure = NULL;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    evener_channel *channel = NULL;
    cr_assert_eq(create_channel(insecure, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    evener_pick pick = {0};
    struct grpc_call *call = NULL;
    cr_expect_eq(evener_channel_create_call(channel, queue, "/a.B/C", NULL, &pick, &call, &status),
                 EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect(strstr(status.message, "need the transport \"grpc\"") != NULL, "%s", status.message);
    cr_expect_eq(evener_pick_create_call(channel, &pick, queue, "/a.B/C", NULL, &call, &status),
                 EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect_null(call);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    grpc_shutdown();
}
