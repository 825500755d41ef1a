#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

static struct {
    size_t count;
    evener_log_level level;
    char component[32];
    char message[2048];
} last;

static void record(void *arg, evener_log_level level, const char *component, const char *message)
{
    cr_assert_eq(arg, &last);
    last.count++;
    last.level = level;
    strncpy(last.component, component, sizeof(last.component) - 1);
    strncpy(last.message, message, sizeof(last.message) - 1);
}

/* Read everything written to standard error; NUL-terminated. */
static size_t standard_error(char *text, size_t bytes)
{
    fflush(stderr);
    FILE *file = cr_get_redirected_stderr();
    size_t length = 0;
    while (length + 1 < bytes && fgets(text + length, (int)(bytes - length), file) != NULL) {
        length += strlen(text + length);
    }
    text[length] = '\0';
    return length;
}

static void redirect(void)
{
    cr_redirect_stderr();
    unsetenv("EVENER_LOG");
}

TestSuite(log, .init = redirect);

Test(log, is_silent_without_sink_and_environment)
{
    evener_log(EVENER_LOG_ERROR, "channel", "unheard");
    cr_assert_not(evener_log_enabled(EVENER_LOG_ERROR));
    fputs("end\n", stderr);
    char text[256];
    standard_error(text, sizeof(text));
    cr_assert_str_eq(text, "end\n");
}

Test(log, the_environment_s_level_writes_readable_lines_to_standard_error)
{
    setenv("EVENER_LOG", "info", 1);
    cr_assert(evener_log_enabled(EVENER_LOG_INFO));
    cr_assert_not(evener_log_enabled(EVENER_LOG_DEBUG));
    evener_log(EVENER_LOG_DEBUG, "channel", "too low");
    evener_log(EVENER_LOG_WARNING, "resolver", "%d addresses", 3);
    fputs("end\n", stderr);
    char text[512];
    standard_error(text, sizeof(text));
    int year = 0;
    int month = 0;
    int seconds = 0;
    int microseconds = 0; /* after a point, also where the locale has a comma */
    char rest[256] = "";
    cr_assert_eq(
        sscanf(text, "%4d-%2d-%*2dT%*2d:%*2d:%2d.%6dZ %255[^\n]", &year, &month, &seconds, &microseconds, rest), 5,
        "%s", text);
    cr_assert(year >= 2020 && month >= 1 && month <= 12 && seconds < 61 && microseconds >= 0, "%s", text);
    cr_assert_str_eq(rest, "warning resolver: 3 addresses");
    cr_assert_not_null(strstr(text, "\nend\n"));
}

Test(log, an_unknown_level_in_the_environment_is_silence)
{
    setenv("EVENER_LOG", "loud", 1);
    cr_assert_not(evener_log_enabled(EVENER_LOG_ERROR));
    fputs("end\n", stderr);
}

Test(log, a_sink_gets_lines_of_its_level_and_above)
{
    evener_log_set_sink(record, &last, EVENER_LOG_WARNING);
    evener_log(EVENER_LOG_INFO, "channel", "too low");
    cr_assert_eq(last.count, 0);
    evener_log(EVENER_LOG_WARNING, "channel", "%s", "heard");
    cr_assert_eq(last.count, 1);
    cr_assert_eq(last.level, EVENER_LOG_WARNING);
    cr_assert_str_eq(last.component, "channel");
    cr_assert_str_eq(last.message, "heard");
    evener_log(EVENER_LOG_ERROR, "channel", "heard too");
    cr_assert_eq(last.count, 2);
    fputs("end\n", stderr);
}

Test(log, a_sink_that_wants_none_gets_none)
{
    evener_log_set_sink(record, &last, EVENER_LOG_NONE);
    evener_log(EVENER_LOG_ERROR, "channel", "unheard");
    evener_log(EVENER_LOG_NONE, "channel", "no level to log with");
    cr_assert_eq(last.count, 0);
    fputs("end\n", stderr);
}

Test(log, a_sink_takes_the_place_of_the_environment_and_no_sink_gives_it_back)
{
    setenv("EVENER_LOG", "debug", 1);
    evener_log_set_sink(record, &last, EVENER_LOG_ERROR);
    cr_assert_not(evener_log_enabled(EVENER_LOG_DEBUG));
    evener_log(EVENER_LOG_ERROR, "channel", "to the sink");
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
    cr_assert(evener_log_enabled(EVENER_LOG_DEBUG));
    evener_log(EVENER_LOG_DEBUG, "channel", "to standard error");
    cr_assert_eq(last.count, 1);
    char text[512];
    standard_error(text, sizeof(text));
    cr_assert_null(strstr(text, "to the sink"));
    cr_assert_not_null(strstr(text, "debug   channel: to standard error\n"));
}

/* A server's message must neither forge a line nor drive the reader's terminal. */
Test(log, control_characters_are_escaped)
{
    evener_log_set_sink(record, &last, EVENER_LOG_DEBUG);
    evener_log(EVENER_LOG_WARNING, "channel", "last error: %s", "no\r\nerror channel: forged \x1b[2J Grüße");
    cr_assert_str_eq(last.message, "last error: no\\r\\nerror channel: forged \\x1b[2J Grüße");
    fputs("end\n", stderr);
}

Test(log, a_message_that_is_too_long_is_cut)
{
    char text[4096];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    evener_log_set_sink(record, &last, EVENER_LOG_DEBUG);
    evener_log(EVENER_LOG_DEBUG, "channel", "%s", text);
    cr_assert_eq(last.count, 1);
    cr_assert_eq(strlen(last.message), 1023);
    fputs("end\n", stderr);
}
