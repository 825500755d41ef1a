#include <stdio.h>

#include <criterion/criterion.h>

#include <evener/version.h>

Test(version, string_is_made_of_the_numbers)
{
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", EVENER_VERSION_MAJOR, EVENER_VERSION_MINOR, EVENER_VERSION_PATCH);
    cr_assert_str_eq(EVENER_VERSION_STRING, text);
}

Test(version, library_and_header_agree)
{
    cr_assert_str_eq(evener_version_string(), EVENER_VERSION_STRING);
}
