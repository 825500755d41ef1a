/* Reads a scenario from a libconfig file. Settings have the names of the members of sim_scenario; examples are in
 * this folder. */
#include "bench/sim/scenario.h"

#include <stdio.h>
#include <string.h>

#include <libconfig.h>

#define CLIENTS_MAX 100000
#define SERVERS_MAX 100000
#define SEEDS 20
#define SEEDS_MAX 100000

typedef struct reader {
    const char *path;
    char *message;
    uint32_t message_bytes;
    bool failed;
} reader;

/* Record an error; only the first one is reported. */
static void fail(reader *r, const config_setting_t *at, const char *what)
{
    if (!r->failed) {
        r->failed = true;
        snprintf(r->message, r->message_bytes, "%s:%u: %s", r->path, at != NULL ? config_setting_source_line(at) : 0,
                 what);
    }
}

static double number(reader *r, const config_setting_t *group, const char *name, double fallback)
{
    const config_setting_t *setting = config_setting_get_member(group, name);
    if (setting == NULL) {
        return fallback;
    }
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
        return config_setting_get_int(setting);
    case CONFIG_TYPE_INT64:
        return (double)config_setting_get_int64(setting);
    case CONFIG_TYPE_FLOAT:
        return config_setting_get_float(setting);
    default:
        fail(r, setting, "must be a number");
        return fallback;
    }
}

static uint32_t count(reader *r, const config_setting_t *group, const char *name, uint32_t fallback, uint32_t most)
{
    const double value = number(r, group, name, fallback);
    if (value < 0 || value > most || value != (double)(uint32_t)value) {
        fail(r, config_setting_get_member(group, name), "is out of range");
        return fallback;
    }
    return (uint32_t)value;
}

static bool truth(reader *r, const config_setting_t *group, const char *name)
{
    const config_setting_t *setting = config_setting_get_member(group, name);
    if (setting != NULL && config_setting_type(setting) != CONFIG_TYPE_BOOL) {
        fail(r, setting, "must be true or false");
    }
    return setting != NULL && config_setting_get_bool(setting);
}

static void text(reader *r, const config_setting_t *group, const char *name, char *value, size_t bytes)
{
    const config_setting_t *setting = config_setting_get_member(group, name);
    const char *string = setting != NULL ? config_setting_get_string(setting) : "";
    if (string == NULL || strlen(string) >= bytes) {
        fail(r, setting, "must be a string, and shorter");
        return;
    }
    snprintf(value, bytes, "%s", string);
}

/* Return the list's element at `index`, or NULL after the last one or on an error. */
static const config_setting_t *element(reader *r, const config_setting_t *root, const char *name, uint32_t index,
                                       uint32_t most)
{
    const config_setting_t *list = config_setting_get_member(root, name);
    if (list == NULL) {
        return NULL;
    }
    if (!config_setting_is_list(list) || config_setting_length(list) > (int)most) {
        fail(r, list, "must be a list ( {...}, ... ), and shorter");
        return NULL;
    }
    const config_setting_t *group = config_setting_get_elem(list, index);
    if (group != NULL && !config_setting_is_group(group)) {
        fail(r, group, "must be a group { ... }");
        return NULL;
    }
    return group;
}

static uint32_t keyword(reader *r, const config_setting_t *group, const char *name, const char *const *words,
                        uint32_t word_count)
{
    char word[SIM_NAME_BYTES] = "";
    text(r, group, name, word, sizeof word);
    for (uint32_t i = 0; i < word_count; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    if (word[0] != '\0') {
        fail(r, config_setting_get_member(group, name), "is not known");
    }
    return 0;
}

static void read_group(reader *r, const config_setting_t *from, sim_group *group)
{
    static const char *const distributions[] = {"constant", "exponential", "lognormal"};
    text(r, from, "name", group->name, sizeof group->name);
    group->count = count(r, from, "count", 1, SERVERS_MAX);
    group->workers = count(r, from, "workers", 0, 1000000);
    group->distribution = (sim_distribution)keyword(r, from, "distribution", distributions, 3);
    group->service_us = number(r, from, "service_us", 1000);
    group->sigma = number(r, from, "sigma", 1);
    group->spread = number(r, from, "spread", 1);
    group->weight = count(r, from, "weight", 0, UINT32_MAX);
    group->absent = truth(r, from, "absent");
    group->antagonist_slowdown = number(r, from, "antagonist_slowdown", 0);
    group->antagonist_share = number(r, from, "antagonist_share", 0.1);
    group->antagonist_spell_s = number(r, from, "antagonist_spell_s", 1);
    if (!(group->service_us > 0) || !(group->antagonist_share > 0 && group->antagonist_share < 1) ||
        !(group->antagonist_spell_s > 0)) {
        fail(r, from, "service_us, antagonist_spell_s must be above 0, antagonist_share between 0 and 1");
    }
}

/* Return the status code of this name, in capitals; OK if there is none. */
static evener_status_code status_code(reader *r, const config_setting_t *group, const char *name)
{
    char word[SIM_NAME_BYTES] = "";
    text(r, group, name, word, sizeof word);
    for (int code = EVENER_STATUS_CANCELLED; code <= EVENER_STATUS_UNAUTHENTICATED; code++) {
        if (strcmp(word, evener_status_code_name((evener_status_code)code)) == 0) {
            return (evener_status_code)code;
        }
    }
    if (word[0] != '\0') {
        fail(r, config_setting_get_member(group, name), "is no status code but OK");
    }
    return EVENER_STATUS_OK;
}

static void read_event(reader *r, const config_setting_t *from, const sim_scenario *scenario, sim_event *event)
{
    static const char *const actions[] = {"extra", "slowdown", "fail", "hang",    "recover",
                                          "join",  "leave",    "kill", "restart", "rate"};
    event->at_s = number(r, from, "at_s", 0);
    event->every_s = number(r, from, "every_s", 0);
    event->action = (sim_action)keyword(r, from, "action", actions, 10);
    event->value = number(r, from, "value", 0);
    event->code = status_code(r, from, "code");
    event->first = count(r, from, "first", 0, SERVERS_MAX);
    event->count = count(r, from, "count", 0, SERVERS_MAX);
    char group[SIM_NAME_BYTES] = "";
    text(r, from, "group", group, sizeof group);
    while (event->group < scenario->group_count && strcmp(group, scenario->groups[event->group].name) != 0) {
        event->group++;
    }
    if (event->action == SIM_RATE) {
        event->group = 0;
        if (!(event->value > 0)) {
            fail(r, from, "the rate must be above 0");
        }
    } else if (event->group == scenario->group_count) {
        fail(r, from, "group: no group has this name");
    } else if (event->first + event->count > scenario->groups[event->group].count) {
        fail(r, from, "the group has fewer servers");
    }
}

static void read_lists(reader *r, const config_setting_t *root, sim_scenario *scenario)
{
    const config_setting_t *from;
    while ((from = element(r, root, "groups", scenario->group_count, SIM_GROUPS_MAX)) != NULL) {
        read_group(r, from, &scenario->groups[scenario->group_count++]);
    }
    while ((from = element(r, root, "events", scenario->event_count, SIM_EVENTS_MAX)) != NULL) {
        read_event(r, from, scenario, &scenario->events[scenario->event_count++]);
    }
    while ((from = element(r, root, "windows", scenario->window_count, SIM_WINDOWS_MAX)) != NULL) {
        sim_window *window = &scenario->windows[scenario->window_count++];
        text(r, from, "name", window->name, sizeof window->name);
        window->from_s = number(r, from, "from_s", 0);
        window->to_s = number(r, from, "to_s", scenario->duration_s);
        if (!(window->to_s > window->from_s)) {
            fail(r, from, "to_s must be after from_s");
        }
    }
    while ((from = element(r, root, "policies", scenario->policy_count, SIM_POLICIES_MAX)) != NULL) {
        sim_policy *policy = &scenario->policies[scenario->policy_count++];
        text(r, from, "name", policy->name, sizeof policy->name);
        text(r, from, "config", policy->config, sizeof policy->config);
        text(r, from, "method_config", policy->method_config, sizeof policy->method_config);
        text(r, from, "label", policy->label, sizeof policy->label);
        if (policy->label[0] == '\0') {
            memcpy(policy->label, policy->name, sizeof policy->label);
        }
        if (policy->method_config[0] != '\0' && !scenario->channel) {
            fail(r, from, "method_config: needs channel = true");
        }
    }
}

static void read_root(reader *r, const config_setting_t *root, sim_scenario *scenario)
{
    text(r, root, "name", scenario->name, sizeof scenario->name);
    text(r, root, "note", scenario->note, sizeof scenario->note);
    scenario->seed = count(r, root, "seed", 1, UINT32_MAX);
    scenario->seeds = count(r, root, "seeds", SEEDS, SEEDS_MAX);
    scenario->channel = truth(r, root, "channel");
    scenario->clients = count(r, root, "clients", 1, CLIENTS_MAX);
    scenario->subset = count(r, root, "subset", 0, SERVERS_MAX);
    scenario->rate_per_s = number(r, root, "rate_per_s", 1000);
    scenario->even = truth(r, root, "even");
    scenario->duration_s = number(r, root, "duration_s", 10);
    scenario->timeout_ms = number(r, root, "timeout_ms", 0);
    scenario->network_us = number(r, root, "network_us", 0);
    scenario->series_s = number(r, root, "series_s", 0);
    read_lists(r, root, scenario);
    if (scenario->clients == 0 || scenario->seeds == 0 || !(scenario->rate_per_s > 0) || !(scenario->duration_s > 0)) {
        fail(r, root, "seeds, clients, rate_per_s and duration_s must be above 0");
    }
    if (scenario->channel && !(scenario->timeout_ms > 0)) {
        fail(r, root, "channel = true needs timeout_ms");
    }
    if (scenario->group_count == 0 || scenario->policy_count == 0) {
        fail(r, root, "groups and policies must be given");
    }
}

bool sim_scenario_read(const char *path, sim_scenario *scenario, char *message, uint32_t message_bytes)
{
    reader r = {.path = path, .message = message, .message_bytes = message_bytes};
    config_t config;
    config_init(&config);
    *scenario = (sim_scenario){0};
    if (config_read_file(&config, path) == CONFIG_TRUE) {
        read_root(&r, config_root_setting(&config), scenario);
    } else {
        r.failed = true;
        snprintf(message, message_bytes, "%s:%d: %s", path, config_error_line(&config), config_error_text(&config));
    }
    config_destroy(&config);
    return !r.failed;
}
