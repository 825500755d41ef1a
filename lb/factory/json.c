/* Converts libconfig's values to JSON one to one, so that policy parameters and service configs have the same names in
 * a factory file as in gRPC's documentation. */
#include "lb/factory/config.h"

static json_t *members_of(const config_setting_t *setting, bool named)
{
    json_t *made = named ? json_object() : json_array();
    for (unsigned i = 0; made != NULL && i < (unsigned)config_setting_length(setting); i++) {
        const config_setting_t *member = config_setting_get_elem(setting, i);
        json_t *value = evener_factory_json(member);
        const int failed = value == NULL ? -1
                           : named       ? json_object_set_new(made, config_setting_name(member), value)
                                         : json_array_append_new(made, value);
        if (failed != 0) {
            json_decref(made);
            return NULL;
        }
    }
    return made;
}

json_t *evener_factory_json(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return members_of(setting, true);
    case CONFIG_TYPE_LIST:
    case CONFIG_TYPE_ARRAY:
        return members_of(setting, false);
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return json_integer(config_setting_get_int64(setting));
    case CONFIG_TYPE_FLOAT:
        return json_real(config_setting_get_float(setting));
    case CONFIG_TYPE_BOOL:
        return json_boolean(config_setting_get_bool(setting));
    case CONFIG_TYPE_STRING:
        return json_string(config_setting_get_string(setting));
    default:
        return json_null();
    }
}
