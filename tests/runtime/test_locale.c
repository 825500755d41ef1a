/* What evener reads and writes does not depend on the program's locale. The locales come from tests/run.sh --locale; a
 * system without any skips. */
#include <criterion/criterion.h>

#include <locale.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "lb/base/c_locale.h"

static void need_decimal_comma(void)
{
    char text[8];
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL) {
        cr_skip_test("the locale de_DE.UTF-8 is not installed");
    }
    snprintf(text, sizeof text, "%.1f", 0.5);
    cr_assert_str_eq(text, "0,5", "the locale is in force");
}

Test(locale, numbers_are_written_and_read_with_a_point)
{
    need_decimal_comma();
    char text[16];
    char *end;
    cr_assert_eq(evener_snprintf(text, sizeof text, "%.2f", 0.25), 4);
    cr_assert_str_eq(text, "0.25");
    cr_assert_eq(strtod_l("0.25s", &end, evener_c_locale()), 0.25);
    cr_assert_str_eq(end, "s");
    snprintf(text, sizeof text, "%.1f", 0.5);
    cr_assert_str_eq(text, "0,5", "the thread's locale is as before");
}

Test(locale, errors_of_the_system_are_in_english)
{
    need_decimal_comma();
    cr_assert_str_eq(evener_gai_strerror(EAI_NONAME), "Name or service not known");
}

Test(locale, messages_have_points)
{
    need_decimal_comma();
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_INTERNAL, "%.1f", 2.5);
    cr_assert_str_eq(status.message, "2.5");
}

/* L2: refused in de_DE before. */
Test(locale, a_service_config_is_read_alike)
{
    need_decimal_comma();
    evener_status status;
    evener_credentials *insecure = NULL;
    evener_channel *channel = NULL;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .transport_name = "http2",
                                            .default_service_config =
                                                "{\"methodConfig\":[{\"name\":[{}],\"timeout\":\"0.5s\"}],"
                                                "\"loadBalancingConfig\":[{\"p2c_ewma\":{\"decay\":\"1.5s\"}}]}"};
    cr_assert_eq(evener_channel_create("static:127.0.0.1:1", &options, &channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
}
