#include <evener/load_report.h>

#include <stdint.h>
#include <string.h>

/* Field numbers of OrcaLoadReport: of type double, and of maps from strings to doubles. */
enum { CPU_UTILIZATION = 1, MEM_UTILIZATION = 2, RPS_FRACTIONAL = 6, EPS = 7, APPLICATION_UTILIZATION = 9 };
enum { REQUEST_COST = 4, UTILIZATION = 5, NAMED_METRICS = 8 };
/* Field numbers of a map's entry. */
enum { KEY = 1, VALUE = 2 };
/* Wire types (protobuf: encoding). */
enum { VARINT = 0, FIXED64 = 1, LENGTH_DELIMITED = 2, FIXED32 = 5 };

typedef struct reader {
    const uint8_t *at, *end;
} reader;

static bool read_varint(reader *r, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        const uint8_t byte = *r->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

static bool skip(reader *r, uint64_t size)
{
    if (size > (uint64_t)(r->end - r->at)) {
        return false;
    }
    r->at += size;
    return true;
}

static bool read_double(reader *r, double *value)
{
    uint64_t bits = 0;
    if (r->end - r->at < 8) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        bits |= (uint64_t)r->at[i] << (8 * i);
    }
    r->at += 8;
    memcpy(value, &bits, sizeof *value);
    return *value >= 0 && *value < 1e300;
}

static bool skip_field(reader *r, unsigned wire_type)
{
    uint64_t value;
    switch (wire_type) {
    case VARINT:
        return read_varint(r, &value);
    case FIXED64:
        return skip(r, 8);
    case LENGTH_DELIMITED:
        return read_varint(r, &value) && skip(r, value);
    case FIXED32:
        return skip(r, 4);
    default:
        return false;
    }
}

static double *field_of(evener_load_report *report, uint64_t number)
{
    switch (number) {
    case CPU_UTILIZATION:
        return &report->cpu_utilization;
    case RPS_FRACTIONAL:
        return &report->requests_per_second;
    case EPS:
        return &report->errors_per_second;
    case APPLICATION_UTILIZATION:
        return &report->application_utilization;
    default:
        return NULL;
    }
}

bool evener_load_report_parse(const void *bytes, size_t byte_count, evener_load_report *report)
{
    reader r = {.at = bytes};
    r.end = r.at + byte_count;
    evener_load_report parsed = {.size = report->size};
    if (report->size < sizeof parsed) { /* of the first version */
        return false;
    }
    while (r.at < r.end) {
        uint64_t tag;
        if (!read_varint(&r, &tag)) {
            return false;
        }
        double *field = (tag & 7) == FIXED64 ? field_of(&parsed, tag >> 3) : NULL;
        if (!(field != NULL ? read_double(&r, field) : skip_field(&r, (unsigned)(tag & 7)))) {
            return false;
        }
    }
    *report = parsed;
    return true;
}

/* ---- one metric by its name ---- */

typedef struct metric_name {
    const char *text;
    uint64_t field;
    bool is_map;
} metric_name;

static const metric_name metric_names[] = {
    {"cpu_utilization", CPU_UTILIZATION, false}, {"mem_utilization", MEM_UTILIZATION, false},
    {"rps_fractional", RPS_FRACTIONAL, false},   {"eps", EPS, false},
    {"request_cost.", REQUEST_COST, true},       {"utilization.", UTILIZATION, true},
    {"named_metrics.", NAMED_METRICS, true},     {"application_utilization", APPLICATION_UTILIZATION, false},
};

/* Return what `name` means; NULL: nothing. *key is what follows the map's name. */
static const metric_name *find_name(const char *name, const char **key)
{
    for (size_t i = 0; i < sizeof metric_names / sizeof *metric_names; i++) {
        const metric_name *known = &metric_names[i];
        const size_t bytes = strlen(known->text);
        if (known->is_map ? strncmp(name, known->text, bytes) == 0 : strcmp(name, known->text) == 0) {
            *key = name + bytes;
            return known;
        }
    }
    return NULL;
}

/* Read a map's entry. Return false if it is malformed. *found: its key is `key` and it has a good value, in *value. */
static bool read_entry(reader *r, const char *key, double *value, bool *found)
{
    uint64_t bytes = 0;
    if (!read_varint(r, &bytes) || bytes > (uint64_t)(r->end - r->at)) {
        return false;
    }
    reader entry = {.at = r->at, .end = r->at + bytes};
    r->at = entry.end;
    bool is_key = key[0] == '\0'; /* protobuf: a missing key is the empty one, a missing value 0 */
    double read = 0;
    bool is_good = true;
    while (entry.at < entry.end) {
        uint64_t tag = 0;
        if (!read_varint(&entry, &tag)) {
            return false;
        }
        if (tag == (KEY << 3 | LENGTH_DELIMITED)) {
            uint64_t key_bytes = 0;
            if (!read_varint(&entry, &key_bytes) || key_bytes > (uint64_t)(entry.end - entry.at)) {
                return false;
            }
            is_key = key_bytes == strlen(key) && memcmp(entry.at, key, key_bytes) == 0;
            entry.at += key_bytes;
        } else if (tag == (VALUE << 3 | FIXED64)) {
            if (entry.end - entry.at < 8) {
                return false;
            }
            is_good = read_double(&entry, &read);
        } else if (!skip_field(&entry, (unsigned)(tag & 7))) {
            return false;
        }
    }
    if (is_key && is_good) {
        *value = read;
        *found = true;
    }
    return true;
}

bool evener_load_report_find(const void *bytes, size_t byte_count, const char *name, double *value)
{
    const char *key = NULL;
    const metric_name *wanted = find_name(name, &key);
    if (wanted == NULL) {
        return false;
    }
    reader r = {.at = bytes};
    r.end = r.at + byte_count;
    bool found = false;
    double read = 0;
    while (r.at < r.end) {
        uint64_t tag = 0;
        if (!read_varint(&r, &tag)) {
            return false;
        }
        const unsigned wire_type = (unsigned)(tag & 7);
        bool is_well_formed;
        if (tag >> 3 != wanted->field || wire_type != (wanted->is_map ? LENGTH_DELIMITED : FIXED64)) {
            is_well_formed = skip_field(&r, wire_type);
        } else if (wanted->is_map) {
            is_well_formed = read_entry(&r, key, &read, &found);
        } else {
            found = is_well_formed = read_double(&r, &read);
        }
        if (!is_well_formed) {
            return false;
        }
    }
    if (found) {
        *value = read;
    }
    return found;
}
