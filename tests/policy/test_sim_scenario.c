/* The simulator's scenarios: those of bench/sim can be read, and what is wrong in one is named by file and line. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/sim/scenario.h"

Test(sim_scenario, those_that_come_along_can_be_read)
{
    static const char *const names[] = {"slow_of_four", "beyond_round_robin", "faults", "joining", "prequal_ramp",
                                        "ten_thousand", "ten_thousand_uneven"};
    static sim_scenario scenario;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512], message[512] = "";
        snprintf(path, sizeof path, "%s/%s.cfg", SIM_FOLDER, names[i]);
        cr_assert(sim_scenario_read(path, &scenario, message, sizeof message), "%s", message);
        cr_assert_str_eq(scenario.name, names[i]);
        cr_assert_geq(scenario.policy_count, 5);
        cr_assert_leq(scenario.windows[scenario.window_count > 0 ? scenario.window_count - 1 : 0].to_s,
                      scenario.duration_s + 0.001);
    }
}

static void refused(const char *text, const char *expected)
{
    static sim_scenario scenario;
    char path[] = "/tmp/scenario-XXXXXX", message[512] = "";
    const int file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    const bool read = sim_scenario_read(path, &scenario, message, sizeof message);
    unlink(path);
    cr_assert_not(read, "%s", text);
    cr_assert_not_null(strstr(message, expected), "%s", message);
}

Test(sim_scenario, what_is_wrong_is_named)
{
    const char *const good = "groups = ( { name = \"a\"; } );\npolicies = ( { name = \"random\"; } );\n";
    char text[512];
    refused("clients = ;", ":1:");
    refused("clients = 1;\n", "groups and policies must be given");
    snprintf(text, sizeof text, "%sclients = \"many\";\n", good);
    refused(text, ":3: must be a number");
    snprintf(text, sizeof text, "%sevents = ( { action = \"explode\"; group = \"a\"; } );\n", good);
    refused(text, ":3: is not known");
    snprintf(text, sizeof text, "%sevents = ( { action = \"fail\"; group = \"a\"; code = \"LOST\"; } );\n", good);
    refused(text, ":3: is no status code but OK");
    snprintf(text, sizeof text, "%sevents = ( { action = \"hang\"; group = \"b\"; } );\n", good);
    refused(text, "no group has this name");
    snprintf(text, sizeof text, "%swindows = ( { from_s = 2.0; to_s = 1.0; } );\n", good);
    refused(text, "to_s must be after from_s");
}
