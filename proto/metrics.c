/* Owns the list of families and collectors, and each family's series. Promises that a histogram is
 * written whole: its count is the sum of its buckets, whatever is observed meanwhile.
 *
 * Locks: the registry's, of the lists, while they change or all is written; under it a family's, of
 * its series. Whoever counts takes the family's alone. */
#include "proto/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Here they take the values as they are. */
#undef metrics_add
#undef metrics_observe
#undef metrics_sample

struct metrics_series {
    struct metrics_series *next;
    char *values[METRICS_LABELS_MAX];
    double value; /* of a histogram the sum */
    uint64_t counts[METRICS_BUCKETS_MAX + 1];
};

struct metrics_writer {
    FILE *out;
    enum metrics_format format;
    const struct metrics_family *family; /* whose samples are told */
};

static struct {
    pthread_mutex_t lock;
    struct metrics_family *families; /* by name */
    struct metrics_collector *collectors;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

const double metrics_seconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,  1, 2.5,
                                  5,     10,     25,    60,   150,   300,  900, 1800, 3600, 0};
const double metrics_tokens[] = {1,     4,     16,     64,      256,     1024,     4096,
                                 16384, 65536, 262144, 1048576, 4194304, 16777216, 0};

/* ---- what a family must be ---- */

static bool is_word(const char *text)
{
    return text[0] && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_")] == 0 &&
           strchr("0123456789_", text[0]) == NULL;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t bytes = strlen(text), end_bytes = strlen(end);
    return bytes >= end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

static bool is_name(const char *name)
{
    static const char *const kept[] = {"_total", "_count", "_sum", "_bucket", "_created"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (ends_in(name, kept[i]))
            return false;
    return is_word(name) &&
           (strncmp(name, "longhaul_", 9) == 0 || strncmp(name, "process_", 8) == 0);
}

static int label_count(const struct metrics_family *family)
{
    int count = 0;
    while (count < METRICS_LABELS_MAX && family->labels[count])
        count++;
    return count;
}

static int bound_count(const struct metrics_family *family)
{
    int count = 0;
    while (family->bounds[count] != 0)
        count++;
    return count;
}

static void check_family(const struct metrics_family *family)
{
    assert(is_name(family->name) && family->help[0]);
    for (int l = 0; l < label_count(family); l++)
        assert(is_word(family->labels[l]) && strcmp(family->labels[l], "le") != 0);
    assert((family->type == METRICS_HISTOGRAM) == (family->bounds != NULL));
    assert(!family->words || label_count(family) == 1);
    for (int b = 1; family->bounds && b < bound_count(family); b++)
        assert(family->bounds[b] > family->bounds[b - 1] && b < METRICS_BUCKETS_MAX);
}

/* ---- series ---- */

static void series_free(struct metrics_series *series)
{
    for (int l = 0; l < METRICS_LABELS_MAX; l++)
        free(series->values[l]);
    free(series);
}

static bool is_of(const struct metrics_series *series, const char *const values[], int labels)
{
    for (int l = 0; l < labels; l++)
        if (strcmp(series->values[l], values[l]) != 0)
            return false;
    return true;
}

/* Under the family's lock. NULL where there is none. */
static struct metrics_series *find(struct metrics_family *family, const char *const values[])
{
    const int labels = label_count(family);
    assert(!values[labels]);
    for (int l = 0; l < labels; l++)
        assert(values[l]);
    struct metrics_series *series = family->series;
    while (series && !is_of(series, values, labels))
        series = series->next;
    return series;
}

/* In the sequence of their values, so that what is written has one. */
static void insert(struct metrics_family *family, struct metrics_series *made)
{
    struct metrics_series **link = &family->series;
    while (*link) {
        int order = 0;
        for (int l = 0; l < label_count(family) && order == 0; l++)
            order = strcmp((*link)->values[l], made->values[l]);
        if (order > 0)
            break;
        link = &(*link)->next;
    }
    made->next = *link;
    *link = made;
    family->series_count++;
}

/* Under the family's lock. NULL without memory. */
static struct metrics_series *find_or_make(struct metrics_family *family,
                                           const char *const values[])
{
    static const char *const others[METRICS_LABELS_MAX + 1] = {"other", "other"};
    const char *const *wanted = values;
    const char *kept[METRICS_LABELS_MAX + 1] = {0};
    struct metrics_series *series = find(family, values);
    if (series)
        return series;
    if (family->series_count >= METRICS_SERIES_MAX) {
        memcpy(kept, others, (size_t)label_count(family) * sizeof *kept);
        wanted = kept;
        if ((series = find(family, wanted)))
            return series;
    }
    series = calloc(1, sizeof *series);
    if (!series)
        return NULL;
    for (int l = 0; l < label_count(family); l++)
        if (!(series->values[l] = strdup(wanted[l]))) {
            series_free(series);
            return NULL;
        }
    insert(family, series);
    return series;
}

void metrics_offer(struct metrics_family *family)
{
    check_family(family);
    pthread_mutex_lock(&registry.lock);
    struct metrics_family **link = &registry.families;
    while (*link && *link != family && strcmp((*link)->name, family->name) < 0)
        link = &(*link)->next;
    if (!family->offered) {
        assert(!*link || strcmp((*link)->name, family->name) != 0);
        family->next = *link;
        *link = family;
        family->offered = true;
        pthread_mutex_lock(&family->lock);
        static const char *const none[METRICS_LABELS_MAX + 1] = {0};
        if (label_count(family) == 0)
            (void)find_or_make(family, none);
        for (const char *const *word = family->words; word && *word; word++)
            (void)find_or_make(family, (const char *const[METRICS_LABELS_MAX + 1]){*word});
        pthread_mutex_unlock(&family->lock);
    }
    pthread_mutex_unlock(&registry.lock);
}

/* ---- counting ---- */

void metrics_add(struct metrics_family *family, double by, const char *const values[])
{
    assert(family->type != METRICS_HISTOGRAM && (family->type == METRICS_GAUGE || by >= 0));
    pthread_mutex_lock(&family->lock);
    struct metrics_series *series = find_or_make(family, values);
    if (series)
        series->value += by;
    pthread_mutex_unlock(&family->lock);
}

void metrics_observe(struct metrics_family *family, double value, const char *const values[])
{
    assert(family->type == METRICS_HISTOGRAM);
    const int bounds = bound_count(family);
    int bucket = 0;
    while (bucket < bounds && !(value <= family->bounds[bucket]))
        bucket++;
    pthread_mutex_lock(&family->lock);
    struct metrics_series *series = find_or_make(family, values);
    if (series) {
        series->counts[bucket]++;
        series->value += value;
    }
    pthread_mutex_unlock(&family->lock);
}

double metrics_value(struct metrics_family *family, const char *const values[])
{
    double value = 0;
    pthread_mutex_lock(&family->lock);
    const struct metrics_series *series = find(family, values);
    if (series && family->type != METRICS_HISTOGRAM)
        value = series->value;
    else if (series)
        for (int b = 0; b <= bound_count(family); b++)
            value += (double)series->counts[b];
    pthread_mutex_unlock(&family->lock);
    return value;
}

/* ---- collectors ---- */

void metrics_collector_add(struct metrics_collector *collector)
{
    pthread_mutex_lock(&registry.lock);
    struct metrics_collector **end = &registry.collectors;
    while (*end)
        end = &(*end)->next;
    collector->next = NULL;
    *end = collector;
    pthread_mutex_unlock(&registry.lock);
}

void metrics_collector_remove(struct metrics_collector *collector)
{
    pthread_mutex_lock(&registry.lock);
    struct metrics_collector **link = &registry.collectors;
    while (*link && *link != collector)
        link = &(*link)->next;
    if (*link)
        *link = collector->next;
    pthread_mutex_unlock(&registry.lock);
}

/* ---- writing ---- */

static void write_escaped(FILE *out, const char *text, bool quotes)
{
    for (const char *at = text; *at; at++) {
        if (*at == '\n')
            fputs("\\n", out);
        else if (*at == '\\' || (*at == '"' && quotes))
            fprintf(out, "\\%c", *at);
        else
            fputc(*at, out);
    }
}

static void write_number(FILE *out, double value)
{
    if (isnan(value))
        fputs("NaN", out);
    else if (isinf(value))
        fputs(value > 0 ? "+Inf" : "-Inf", out);
    else if (fabs(value) < 1e15 && value == floor(value))
        fprintf(out, "%.0f", value);
    else
        fprintf(out, "%.15g", value);
}

/* OpenMetrics wants every bound to look like a real number. */
static void write_bound(const struct metrics_writer *writer, double bound)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", bound);
    const bool whole = text[strcspn(text, ".e")] == 0;
    fprintf(writer->out, "%s%s", text, whole && writer->format == METRICS_OPENMETRICS ? ".0" : "");
}

/* The name and the labels; `bound`: also le, infinite for the last. NULL: no le. */
static void write_labels(const struct metrics_writer *writer, const char *suffix,
                         const char *const values[], const double *bound)
{
    const struct metrics_family *family = writer->family;
    FILE *out = writer->out;
    const int labels = label_count(family);
    fprintf(out, "%s%s", family->name, suffix);
    for (int l = 0; l < labels; l++) {
        fprintf(out, "%s%s=\"", l ? "," : "{", family->labels[l]);
        write_escaped(out, values[l], true);
        fputc('"', out);
    }
    if (bound) {
        fprintf(out, "%sle=\"", labels ? "," : "{");
        if (isinf(*bound))
            fputs("+Inf", out);
        else
            write_bound(writer, *bound);
        fputc('"', out);
    }
    fputs(labels || bound ? "} " : " ", out);
}

static const char *unit_of(const char *name)
{
    static const char *const units[] = {"seconds", "bytes", "ratio"};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++)
        if (ends_in(name, units[u]))
            return units[u];
    return NULL;
}

void metrics_tell(struct metrics_writer *writer, const struct metrics_family *family)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const bool open = writer->format == METRICS_OPENMETRICS;
    const char *suffix = family->type == METRICS_COUNTER && !open ? "_total" : "";
    const char *unit = unit_of(family->name);
    assert(is_name(family->name));
    writer->family = family;
    fprintf(writer->out, "# HELP %s%s ", family->name, suffix);
    write_escaped(writer->out, family->help, open);
    fprintf(writer->out, "\n# TYPE %s%s %s\n", family->name, suffix, types[family->type]);
    if (open && unit)
        fprintf(writer->out, "# UNIT %s %s\n", family->name, unit);
}

void metrics_sample(struct metrics_writer *writer, double value, const char *const values[])
{
    const bool counter = writer->family->type == METRICS_COUNTER;
    assert(!values[label_count(writer->family)]);
    write_labels(writer, counter ? "_total" : "", values, NULL);
    write_number(writer->out, value);
    fputc('\n', writer->out);
}

static void write_histogram(const struct metrics_writer *writer,
                            const struct metrics_series *series)
{
    const struct metrics_family *family = writer->family;
    const char *const *values = (const char *const *)series->values;
    uint64_t count = 0;
    for (int b = 0; b <= bound_count(family); b++) {
        const double bound = b < bound_count(family) ? family->bounds[b] : INFINITY;
        count += series->counts[b];
        write_labels(writer, "_bucket", values, &bound);
        fprintf(writer->out, "%" PRIu64 "\n", count);
    }
    write_labels(writer, "_sum", values, NULL);
    write_number(writer->out, series->value);
    fputc('\n', writer->out);
    write_labels(writer, "_count", values, NULL);
    fprintf(writer->out, "%" PRIu64 "\n", count);
}

static void write_family(struct metrics_writer *writer, struct metrics_family *family)
{
    metrics_tell(writer, family);
    pthread_mutex_lock(&family->lock);
    for (const struct metrics_series *series = family->series; series; series = series->next) {
        const char *values[METRICS_LABELS_MAX + 1] = {0};
        memcpy(values, series->values, sizeof series->values);
        if (family->type == METRICS_HISTOGRAM)
            write_histogram(writer, series);
        else
            metrics_sample(writer, series->value, values);
    }
    pthread_mutex_unlock(&family->lock);
}

enum status metrics_write(FILE *out, enum metrics_format format)
{
    struct metrics_writer writer = {.out = out, .format = format};
    pthread_mutex_lock(&registry.lock);
    for (struct metrics_family *family = registry.families; family; family = family->next)
        write_family(&writer, family);
    for (struct metrics_collector *at = registry.collectors; at; at = at->next)
        at->collect(&writer, at->context);
    pthread_mutex_unlock(&registry.lock);
    if (format == METRICS_OPENMETRICS)
        fputs("# EOF\n", out);
    return fflush(out) == 0 && !ferror(out) ? STATUS_OK : fail(STATUS_IO, "write metrics");
}

const char *metrics_media_type(enum metrics_format format)
{
    return format == METRICS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

enum metrics_format metrics_format_of(const char *accept)
{
    return accept && strstr(accept, "application/openmetrics-text") ? METRICS_OPENMETRICS
                                                                    : METRICS_TEXT;
}
