/* Owns the state of one reading of a text, line by line. */
#include "tests/support/metrics_lint.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/utf8_check.h"

enum { NAME_BYTES = 128, LABELS_BYTES = 512, FAMILIES_MAX = 512, SAMPLES_MAX = 8192 };

struct reading {
    bool openmetrics, ended;
    int line;
    char *sentence;
    char families[FAMILIES_MAX][NAME_BYTES]; /* that began */
    int family_count;
    /* Of the present family: its heads. */
    char name[NAME_BYTES], type[16];
    bool helped, typed, sampled;
    char (*seen)[NAME_BYTES + LABELS_BYTES]; /* its samples so far */
    int seen_count;
    /* Of the present histogram series. */
    char series[LABELS_BYTES];
    double bound, cumulative;
    bool infinite, summed;
};

/* One sample's parts. */
struct sample {
    char name[NAME_BYTES];
    char labels[LABELS_BYTES]; /* as written, without le */
    double bound;              /* le; NAN without one */
    double value;
};

__attribute__((format(printf, 2, 3))) static bool bad(struct reading *reading, const char *format,
                                                      ...)
{
    int used = snprintf(reading->sentence, METRICS_LINT_BYTES, "line %d: ", reading->line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reading->sentence + used, (size_t)(METRICS_LINT_BYTES - used), format, arguments);
    va_end(arguments);
    return false;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t bytes = strlen(text), end_bytes = strlen(end);
    return bytes >= end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

/* The word at *at, of these characters, which it passes. */
static bool take_word(const char **at, char word[NAME_BYTES], const char *more)
{
    char allowed[96];
    snprintf(allowed, sizeof allowed, "abcdefghijklmnopqrstuvwxyz0123456789_%s", more);
    const size_t bytes = strspn(*at, allowed);
    if (bytes == 0 || bytes >= NAME_BYTES || strchr("0123456789", **at))
        return false;
    memcpy(word, *at, bytes);
    word[bytes] = 0;
    *at += bytes;
    return true;
}

static bool take_number(const char **at, double *number)
{
    char *end;
    errno = 0;
    *number = strtod(*at, &end);
    if (end == *at || strspn(*at, "0123456789+-.eEINaNnf") != (size_t)(end - *at))
        return false;
    *at = end;
    return true;
}

/* ---- heads ---- */

static bool begin_family(struct reading *reading, const char *name)
{
    for (int f = 0; f < reading->family_count; f++)
        if (strcmp(reading->families[f], name) == 0)
            return bad(reading, "the family %s comes twice", name);
    if (reading->family_count == FAMILIES_MAX)
        return bad(reading, "too many families");
    snprintf(reading->families[reading->family_count++], NAME_BYTES, "%s", name);
    snprintf(reading->name, sizeof reading->name, "%s", name);
    reading->helped = reading->typed = reading->sampled = false;
    reading->type[0] = 0;
    reading->seen_count = 0;
    reading->series[0] = 0;
    reading->infinite = true; /* no series is open */
    reading->summed = true;
    return true;
}

static bool take_type(struct reading *reading, const char *type)
{
    const bool counter = strcmp(type, "counter") == 0;
    const bool total = ends_in(reading->name, "_total");
    if (!counter && strcmp(type, "gauge") != 0 && strcmp(type, "histogram") != 0)
        return bad(reading, "\"%s\" is no type that we have", type);
    if (total != (counter && !reading->openmetrics))
        return bad(reading, "%s is a %s", reading->name, type);
    for (const char *const *end = (const char *const[]){"_gauge", "_counter", "_histogram",
                                                        "_milliseconds", "_ms", "_kib", NULL};
         *end; end++)
        if (strstr(reading->name, *end) && ends_in(reading->name, *end))
            return bad(reading, "%s ends in a type or in no base unit", reading->name);
    if (reading->typed || reading->sampled)
        return bad(reading, "a second TYPE of %s, or behind its samples", reading->name);
    snprintf(reading->type, sizeof reading->type, "%s", type);
    reading->typed = true;
    return true;
}

static bool check_series_end(struct reading *reading);

static bool take_head(struct reading *reading, const char *at)
{
    char word[NAME_BYTES], name[NAME_BYTES];
    if (strcmp(at, "EOF") == 0) {
        reading->ended = true;
        return reading->openmetrics ? check_series_end(reading)
                                    : bad(reading, "EOF is OpenMetrics'");
    }
    const bool help = strncmp(at, "HELP ", 5) == 0, type = strncmp(at, "TYPE ", 5) == 0;
    const bool unit = strncmp(at, "UNIT ", 5) == 0 && reading->openmetrics;
    if (!help && !type && !unit)
        return bad(reading, "a comment that is no HELP, TYPE or UNIT");
    at += 5;
    if (!take_word(&at, name, ":") || *at++ != ' ')
        return bad(reading, "no name behind HELP, TYPE or UNIT");
    if (strcmp(name, reading->name) != 0 &&
        (!check_series_end(reading) || !begin_family(reading, name)))
        return false;
    if (help && (reading->helped || !at[0]))
        return bad(reading, "%s has a second HELP, or one without text", name);
    reading->helped = reading->helped || help;
    if (type)
        return take_type(reading, at);
    if (unit && (!take_word(&at, word, "") || *at || !ends_in(name, word)))
        return bad(reading, "the unit is not the end of the name %s", name);
    return true;
}

/* ---- samples ---- */

static bool take_value_of_label(const char **at, char value[LABELS_BYTES])
{
    size_t used = 0;
    if (*(*at)++ != '"')
        return false;
    while (**at && **at != '"') {
        if (**at == '\\' && !strchr("\\\"n", *++*at))
            return false;
        if (used + 1 >= LABELS_BYTES)
            return false;
        value[used++] = *(*at)++;
    }
    value[used] = 0;
    return *(*at)++ == '"';
}

static bool take_labels(struct reading *reading, const char **at, struct sample *sample)
{
    char value[LABELS_BYTES], before[NAME_BYTES] = "";
    if (**at != '{')
        return true;
    do {
        char name[NAME_BYTES];
        const char *begin = ++*at;
        if (!take_word(at, name, "") || *(*at)++ != '=' || !take_value_of_label(at, value))
            return bad(reading, "a label is not name=\"value\"");
        if (strcmp(name, before) == 0)
            return bad(reading, "the label %s comes twice", name);
        snprintf(before, sizeof before, "%s", name);
        if (strcmp(name, "le") == 0) {
            const char *bound = value;
            if (!take_number(&bound, &sample->bound) || *bound)
                return bad(reading, "le=\"%s\" is no number", value);
            if (reading->openmetrics && !strpbrk(value, ".eI"))
                return bad(reading, "le=\"%s\" is not written as OpenMetrics does", value);
            continue;
        }
        const size_t used = strlen(sample->labels);
        snprintf(sample->labels + used, LABELS_BYTES - used, "%.*s,", (int)(*at - begin), begin);
    } while (**at == ',');
    return *(*at)++ == '}' ? true : bad(reading, "labels without an end");
}

static bool take_sample(struct reading *reading, const char *at, struct sample *sample)
{
    *sample = (struct sample){.bound = NAN};
    if (!take_word(&at, sample->name, ":"))
        return bad(reading, "no name");
    if (!take_labels(reading, &at, sample))
        return false;
    if (*at++ != ' ' || !take_number(&at, &sample->value) || *at)
        return bad(reading, "no number, or something behind it");
    return true;
}

static bool check_series_end(struct reading *reading)
{
    if (strcmp(reading->type, "histogram") != 0 || (reading->infinite && reading->summed))
        return true;
    return bad(reading, "a histogram of %s lacks its +Inf, its sum or its count", reading->name);
}

/* Buckets first, then the sum, then the count. */
static bool check_histogram(struct reading *reading, const struct sample *sample)
{
    const char *suffix = sample->name + strlen(reading->name);
    const bool bucket = strcmp(suffix, "_bucket") == 0;
    if (bucket &&
        (strcmp(reading->series, sample->labels) != 0 || (reading->infinite && reading->summed))) {
        if (!check_series_end(reading))
            return false;
        snprintf(reading->series, sizeof reading->series, "%s", sample->labels);
        reading->bound = -INFINITY;
        reading->cumulative = 0;
        reading->infinite = reading->summed = false;
    }
    if (strcmp(reading->series, sample->labels) != 0)
        return bad(reading, "%s is of another series than the buckets before it", sample->name);
    if (bucket) {
        if (!(sample->bound > reading->bound) || sample->value < reading->cumulative)
            return bad(reading, "buckets of %s do not ascend", reading->name);
        reading->bound = sample->bound;
        reading->cumulative = sample->value;
        reading->infinite = isinf(sample->bound);
        return true;
    }
    if (strcmp(suffix, "_sum") == 0)
        return reading->infinite ? true
                                 : bad(reading, "the sum of %s comes before +Inf", reading->name);
    if (strcmp(suffix, "_count") != 0)
        return bad(reading, "%s is no part of a histogram", sample->name);
    reading->summed = true;
    return sample->value == reading->cumulative
               ? true
               : bad(reading, "%s is not what its +Inf says", sample->name);
}

static bool check_sample(struct reading *reading, const struct sample *sample)
{
    const bool histogram = strcmp(reading->type, "histogram") == 0;
    const bool counter = strcmp(reading->type, "counter") == 0;
    char expected[NAME_BYTES + 8], seen[NAME_BYTES + LABELS_BYTES];
    if (!reading->helped || !reading->typed)
        return bad(reading, "%s comes before its HELP and TYPE", sample->name);
    snprintf(expected, sizeof expected, "%s%s", reading->name,
             counter && reading->openmetrics ? "_total" : "");
    if (!histogram && strcmp(sample->name, expected) != 0)
        return bad(reading, "%s stands among the samples of %s", sample->name, reading->name);
    if (histogram && strncmp(sample->name, reading->name, strlen(reading->name)) != 0)
        return bad(reading, "%s stands among the samples of %s", sample->name, reading->name);
    if (histogram != (!isnan(sample->bound) || (histogram && !ends_in(sample->name, "_bucket"))))
        return bad(reading, "le belongs to buckets alone");
    if ((counter || histogram) && !(sample->value >= 0))
        return bad(reading, "%s is below 0", sample->name);
    snprintf(seen, sizeof seen, "%s|%.300s|%g", sample->name, sample->labels, sample->bound);
    for (int s = 0; s < reading->seen_count; s++)
        if (strcmp(reading->seen[s], seen) == 0)
            return bad(reading, "%s is told twice", sample->name);
    if (reading->seen_count == SAMPLES_MAX)
        return bad(reading, "too many samples");
    memcpy(reading->seen[reading->seen_count++], seen, sizeof seen);
    reading->sampled = true;
    return histogram ? check_histogram(reading, sample) : true;
}

static bool take_line(struct reading *reading, const char *line)
{
    struct sample sample;
    reading->line++;
    if (reading->ended)
        return bad(reading, "something comes behind EOF");
    if (!line[0])
        return bad(reading, "an empty line");
    if (line[0] == '#')
        return line[1] == ' ' ? take_head(reading, line + 2) : bad(reading, "# without a space");
    return take_sample(reading, line, &sample) && check_sample(reading, &sample);
}

static bool read_all(struct reading *reading, char *text)
{
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end)
            return bad(reading, "the last line has no end");
        *end = 0;
        if (!take_line(reading, line))
            return false;
    }
    if (reading->openmetrics && !reading->ended)
        return bad(reading, "no EOF");
    return check_series_end(reading);
}

bool metrics_lint(char sentence[METRICS_LINT_BYTES], const char *text, bool openmetrics)
{
    struct reading *reading = calloc(1, sizeof *reading);
    char *copy = strdup(text);
    bool good = false;
    snprintf(sentence, METRICS_LINT_BYTES, "no memory");
    if (reading && copy)
        reading->seen = calloc(SAMPLES_MAX, sizeof *reading->seen);
    if (reading && copy && reading->seen) {
        reading->openmetrics = openmetrics;
        reading->sentence = sentence;
        good = utf8_check(text, strlen(text), "the text") == STATUS_OK
                   ? read_all(reading, copy)
                   : bad(reading, "the text is no UTF-8");
    }
    free(reading ? reading->seen : NULL);
    free(reading);
    free(copy);
    return good;
}

double metrics_lint_value(const char *text, const char *sample)
{
    const size_t bytes = strlen(sample);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, sample, bytes) == 0 && line[bytes] == ' ')
            return strtod(line + bytes, NULL);
    }
    return NAN;
}
