/* The messages of grpc.health.v1.Health/Watch (lb/base/health_message.h). */
#include <criterion/criterion.h>

#include <string.h>

#include "lb/base/health_message.h"

Test(health_message, reads_the_response)
{
    bool serving = false;
    const uint8_t yes[] = {0x08, 0x01};
    cr_expect(evener_health_response_parse(yes, sizeof yes, &serving) && serving);
    const uint8_t no[] = {0x08, 0x02};
    cr_expect(evener_health_response_parse(no, sizeof no, &serving) && !serving);
    cr_expect(evener_health_response_parse(NULL, 0, &serving) && !serving, "an empty message is UNKNOWN");
    const uint8_t with_unknown_fields[] = {0x12, 0x02, 'h', 'i', 0x1d, 1, 2, 3, 4, 0x08, 0x01, 0x20, 0xff, 0x01};
    cr_expect(evener_health_response_parse(with_unknown_fields, sizeof with_unknown_fields, &serving) && serving);
    const uint8_t cut[] = {0x08, 0x81};
    cr_expect_not(evener_health_response_parse(cut, sizeof cut, &serving));
    const uint8_t long_field[] = {0x12, 0x7f, 'x'};
    cr_expect_not(evener_health_response_parse(long_field, sizeof long_field, &serving));
}

Test(health_message, writes_the_request)
{
    uint8_t request[EVENER_HEALTH_REQUEST_BYTES_MAX];
    const uint8_t of_server[] = {0x0a, 0x00};
    cr_assert_eq(evener_health_request_write("", request), sizeof of_server);
    cr_expect_arr_eq(request, of_server, sizeof of_server);
    const uint8_t of_service[] = {0x0a, 0x03, 'a', '.', 'B'};
    cr_assert_eq(evener_health_request_write("a.B", request), sizeof of_service);
    cr_expect_arr_eq(request, of_service, sizeof of_service);
}

Test(health_message, writes_the_longest_service)
{
    static char service[EVENER_HEALTH_SERVICE_BYTES_MAX + 1];
    memset(service, 's', EVENER_HEALTH_SERVICE_BYTES_MAX);
    uint8_t request[EVENER_HEALTH_REQUEST_BYTES_MAX];
    const size_t bytes = evener_health_request_write(service, request);
    cr_assert_eq(bytes, 3 + EVENER_HEALTH_SERVICE_BYTES_MAX);
    const uint8_t head[] = {0x0a, 0x80, 0x20}; /* 4096 as a varint */
    cr_expect_arr_eq(request, head, sizeof head);
    cr_expect_eq(request[bytes - 1], 's');
}
