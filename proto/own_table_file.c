/* Owns the libyaml document for the time of one reading. Promises to look at its top, at the bands
 * there and at their values, and no deeper. */
#include "proto/own_table_file.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "proto/nearest.h"
#include "proto/plan/parameter.h"

enum { FILE_BYTES = 64 * 1024, FIELDS_MAX = 2 + OWN_TABLE_NUMBERS_MAX };

struct reading {
    const char *name;
    yaml_document_t document;
    struct own_table table;
    int64_t sinks;
    yaml_mark_t root, bands[2][OWN_TABLE_BANDS_MAX];
};

static enum status wrong(const struct reading *reading, yaml_mark_t mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status wrong(const struct reading *reading, yaml_mark_t mark, const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return fail(STATUS_INVALID_ARGUMENT, "%s:%zu:%zu: %s", reading->name, mark.line + 1,
                mark.column + 1, sentence);
}

/* ---- mappings and their values ---- */

/* A value that a mapping may have. */
struct field {
    const char *name;
    yaml_node_t *value; /* NULL: it is not there */
};

static const char *text_of(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return NULL;
    return (const char *)node->data.scalar.value;
}

static enum status unknown(const struct reading *reading, const yaml_node_t *key,
                           const struct field *fields, int count)
{
    const char *names[FIELDS_MAX];
    char all[PARAMETER_NAMES_BYTES];
    const char *word = text_of(key) ? text_of(key) : "";
    for (int f = 0; f < count; f++)
        names[f] = fields[f].name;
    const char *near = nearest_name(word, names, (size_t)count);
    parameter_names(all, names, count);
    return wrong(reading, key->start_mark, "nothing is called \"%.*s\" here%s%s%s there are %s",
                 parameter_shown_bytes(word, strlen(word)), word, near ? ": did you mean \"" : ":",
                 near ? near : "", near ? "\"?" : "", all);
}

static enum status read_fields(struct reading *reading, const yaml_node_t *mapping,
                               struct field *fields, int count)
{
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&reading->document, pair->key);
        int f = 0;
        while (f < count && !(text_of(key) && strcmp(text_of(key), fields[f].name) == 0))
            f++;
        if (f == count)
            return unknown(reading, key, fields, count);
        if (fields[f].value)
            return wrong(reading, key->start_mark, "%s is there twice", fields[f].name);
        fields[f].value = yaml_document_get_node(&reading->document, pair->value);
    }
    return STATUS_OK;
}

static enum status read_number(const struct reading *reading, double *number,
                               const struct field *field)
{
    const char *text = text_of(field->value);
    char *end = NULL;
    const double value = text ? strtod(text, &end) : 0;
    if (!text || !text[0] || *end || !isfinite(value) ||
        strspn(text, "0123456789.eE+-") != strlen(text))
        return wrong(reading, field->value->start_mark, "%s is not a number", field->name);
    *number = value == 0 ? 0 : value; /* without a sign */
    return STATUS_OK;
}

static enum status read_tokens(const struct reading *reading, int64_t *tokens,
                               const struct field *field, int64_t least)
{
    double number;
    TRY(read_number(reading, &number, field));
    if (number != floor(number) || number < (double)least || number > (double)PARAMETER_TOKENS_MAX)
        return wrong(reading, field->value->start_mark,
                     "%s must be a whole number of tokens between %lld and %lld", field->name,
                     (long long)least, (long long)PARAMETER_TOKENS_MAX);
    *tokens = (int64_t)number;
    return STATUS_OK;
}

/* ---- bands ---- */

/* The rule comes first, as the other fields follow from it. */
static enum status read_rule(const struct reading *reading, int64_t *rule,
                             const yaml_node_t *mapping)
{
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        yaml_document_t *document = (yaml_document_t *)&reading->document; /* only read */
        const yaml_node_t *key = yaml_document_get_node(document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(document, pair->value);
        if (!text_of(key) || strcmp(text_of(key), "rule") != 0)
            continue;
        if (own_table_find_rule(rule, text_of(value) ? text_of(value) : "") != STATUS_OK)
            return wrong(reading, value->start_mark, "%s", status_message());
        return STATUS_OK;
    }
    return wrong(reading, mapping->start_mark, "the band has no rule");
}

static enum status read_band(struct reading *reading, struct own_table_band *band,
                             const yaml_node_t *mapping)
{
    struct field fields[FIELDS_MAX] = {{.name = "rule"}, {.name = "below"}};
    int count = 2;
    if (mapping->type != YAML_MAPPING_NODE)
        return wrong(reading, mapping->start_mark,
                     "a band is written {rule: RULE, below: TOKENS, ...}");
    TRY(read_rule(reading, &band->rule, mapping));
    const struct own_table_rule *rule = &own_table_rules[band->rule];
    for (int n = 0; n < OWN_TABLE_NUMBERS_MAX && rule->numbers[n]; n++)
        fields[count++].name = rule->numbers[n];
    TRY(read_fields(reading, mapping, fields, count));
    band->end = BANDS_OPEN;
    if (fields[1].value)
        TRY(read_tokens(reading, &band->end, &fields[1], 1));
    for (int f = 2; f < count; f++) {
        if (!fields[f].value)
            return wrong(reading, mapping->start_mark, "the rule %s needs %s", rule->name,
                         fields[f].name);
        TRY(read_number(reading, &band->numbers[f - 2], &fields[f]));
    }
    return STATUS_OK;
}

static enum status read_class(struct reading *reading, enum band_class key_class,
                              const struct field *field)
{
    const yaml_node_t *list = field->value;
    if (!list)
        return STATUS_OK;
    if (list->type != YAML_SEQUENCE_NODE)
        return wrong(reading, list->start_mark, "%s takes a list of bands", field->name);
    for (const yaml_node_item_t *item = list->data.sequence.items.start;
         item < list->data.sequence.items.top; item++) {
        const int64_t b = reading->table.count[key_class];
        const yaml_node_t *band = yaml_document_get_node(&reading->document, *item);
        if (b == OWN_TABLE_BANDS_MAX)
            return wrong(reading, band->start_mark, "%s has more than %d bands", field->name,
                         OWN_TABLE_BANDS_MAX);
        TRY(read_band(reading, &reading->table.list[key_class][b], band));
        reading->bands[key_class][b] = band->start_mark;
        reading->table.count[key_class]++;
    }
    return STATUS_OK;
}

/* ---- the file ---- */

static enum status check(const struct reading *reading)
{
    struct own_table_fault fault;
    if (own_table_check(&reading->table, reading->sinks, &fault))
        return STATUS_OK;
    return wrong(reading,
                 fault.band < 0 ? reading->root : reading->bands[fault.key_class][fault.band], "%s",
                 fault.sentence);
}

static enum status read_document(struct reading *reading)
{
    const yaml_node_t *root = yaml_document_get_root_node(&reading->document);
    struct field fields[] = {{.name = "keys"}, {.name = "sinks"}, {.name = "sink_keys"}};
    if (!root || root->type != YAML_MAPPING_NODE)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s: a table begins with \"keys:\", the bands of its keys", reading->name);
    reading->root = root->start_mark;
    TRY(read_fields(reading, root, fields, 3));
    if (fields[1].value)
        TRY(read_tokens(reading, &reading->sinks, &fields[1], 1));
    TRY(read_class(reading, BAND_ORDINARY, &fields[0]));
    TRY(read_class(reading, BAND_SINK, &fields[2]));
    return check(reading);
}

static void print(const struct reading *reading, char spelling[METHOD_TEXT_BYTES])
{
    char classes[2][OWN_TABLE_TEXT_BYTES], sinks[32] = "";
    own_table_print(&reading->table, BAND_ORDINARY, classes[BAND_ORDINARY]);
    own_table_print(&reading->table, BAND_SINK, classes[BAND_SINK]);
    if (reading->sinks > 0)
        snprintf(sinks, sizeof sinks, "sinks=%lld,", (long long)reading->sinks);
    const int used = snprintf(spelling, METHOD_TEXT_BYTES, "table:%skeys=%.*s", sinks,
                              OWN_TABLE_TEXT_BYTES - 1, classes[BAND_ORDINARY]);
    if (reading->sinks > 0)
        snprintf(spelling + used, METHOD_TEXT_BYTES - (size_t)used, ",sink_keys=%.*s",
                 OWN_TABLE_TEXT_BYTES - 1, classes[BAND_SINK]);
}

/* ---- what no table needs ---- */

static bool is_plain(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return !event->data.scalar.anchor && !event->data.scalar.tag;
    case YAML_MAPPING_START_EVENT:
        return !event->data.mapping_start.anchor && !event->data.mapping_start.tag;
    case YAML_SEQUENCE_START_EVENT:
        return !event->data.sequence_start.anchor && !event->data.sequence_start.tag;
    default:
        return event->type != YAML_ALIAS_EVENT;
    }
}

/* Nothing is said of what is no YAML: the reading does. */
static enum status check_event(const struct reading *reading, const yaml_event_t *event,
                               int *documents)
{
    *documents += event->type == YAML_DOCUMENT_START_EVENT;
    if (*documents > 1)
        return wrong(reading, event->start_mark, "a second document begins; a table is one");
    if (!is_plain(event))
        return wrong(reading, event->start_mark,
                     "anchors, aliases and tags are not supported; write the value out");
    return STATUS_OK;
}

/* A document that is loaded knows no more of what stood for it. */
static enum status check_events(const struct reading *reading, const void *data, size_t bytes)
{
    enum status status = STATUS_OK;
    yaml_parser_t parser;
    int documents = 0;
    if (!yaml_parser_initialize(&parser))
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", reading->name);
    yaml_parser_set_input_string(&parser, data, bytes);
    for (bool ended = false; !ended && status == STATUS_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event))
            break;
        status = check_event(reading, &event, &documents);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

/* ---- all of it ---- */

enum status own_table_file_read_bytes(char spelling[METHOD_TEXT_BYTES], const char *name,
                                      const void *data, size_t bytes)
{
    struct reading reading = {.name = name};
    yaml_parser_t parser;
    if (bytes > FILE_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "%s: larger than 64 KiB, which no table needs", name);
    TRY(check_events(&reading, data, bytes));
    if (!yaml_parser_initialize(&parser))
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", name);
    yaml_parser_set_input_string(&parser, data, bytes);
    enum status status = STATUS_OK;
    if (yaml_parser_load(&parser, &reading.document)) {
        status = read_document(&reading);
        yaml_document_delete(&reading.document);
    } else {
        status = wrong(&reading, parser.problem_mark, "not YAML: %s",
                       parser.problem ? parser.problem : "out of memory");
    }
    yaml_parser_delete(&parser);
    if (status == STATUS_OK)
        print(&reading, spelling);
    return status;
}

static enum status read_file(char spelling[METHOD_TEXT_BYTES], const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "open the table %s: %s", path,
                    strerror(errno));
    char *data = malloc(FILE_BYTES + 1);
    enum status status = STATUS_OK;
    size_t bytes = 0;
    if (!data)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
    if (status == STATUS_OK) {
        bytes = fread(data, 1, FILE_BYTES + 1, file);
        if (ferror(file))
            status = fail(STATUS_IO, "read the table %s: %s", path, strerror(errno));
    }
    if (status == STATUS_OK)
        status = own_table_file_read_bytes(spelling, path, data, bytes);
    free(data);
    fclose(file);
    return status;
}

static const char front[] = "table:file=";

bool own_table_file_is_named(const char *method)
{
    return strncmp(method, front, sizeof front - 1) == 0;
}

enum status own_table_file_expand(char **spelling, const char *method)
{
    char read[METHOD_TEXT_BYTES];
    const char *rest = method;
    read[0] = '\0';
    if (own_table_file_is_named(method)) {
        const char *path = method + sizeof front - 1;
        const size_t bytes = strcspn(path, ",+");
        char *name = strndup(path, bytes);
        if (!name)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a file's name");
        const enum status status = read_file(read, name);
        free(name);
        TRY(status);
        rest = path + bytes;
    }
    const size_t room = strlen(read) + strlen(rest) + 1;
    char *expanded = malloc(room);
    if (!expanded)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a method");
    snprintf(expanded, room, "%s%s", read, rest);
    *spelling = expanded;
    return STATUS_OK;
}
