/* Owns the text of users' own tables, their rules, and their step to bands. */
#include "proto/plan/own_table.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/nearest.h"
#include "proto/plan/parameter.h"

enum { PLAIN, SHIFT, FIXED, ANCHOR, SCALE, GROUP, HIDDEN, RULES };

enum { ORDINARY_FRAMES_MAX = BANDS_RECORDS_MAX - 1 };

#define FACTOR_MAX 1e6

const struct own_table_rule own_table_rules[] = {
    [PLAIN] = {.name = "plain"},
    [SHIFT] = {.name = "shift", .numbers = {"by"}},
    [FIXED] = {.name = "fixed", .numbers = {"at"}},
    [ANCHOR] = {.name = "anchor", .numbers = {"at"}},
    [SCALE] = {.name = "scale", .numbers = {"from", "factor"}},
    [GROUP] = {.name = "group", .numbers = {"of", "by"}},
    [HIDDEN] = {.name = "hidden"},
};
const int own_table_rules_count = RULES;

static int numbers_of(int64_t rule)
{
    int count = 0;
    while (count < OWN_TABLE_NUMBERS_MAX && own_table_rules[rule].numbers[count])
        count++;
    return count;
}

enum status own_table_find_rule(int64_t *rule, const char *name)
{
    const char *names[RULES];
    char all[PARAMETER_NAMES_BYTES];
    for (int r = 0; r < RULES; r++) {
        names[r] = own_table_rules[r].name;
        if (strcmp(names[r], name) == 0) {
            *rule = r;
            return STATUS_OK;
        }
    }
    const char *near = nearest_name(name, names, RULES);
    parameter_names(all, names, RULES);
    return fail(STATUS_INVALID_ARGUMENT, "unknown rule \"%.*s\"%s%s%s There are %s",
                parameter_shown_bytes(name, strlen(name)), name, near ? ": did you mean \"" : ".",
                near ? near : "", near ? "\"?" : "", all);
}

/* ---- text ---- */

static const char *class_name(enum band_class key_class)
{
    return key_class == BAND_SINK ? "sink_keys" : "keys";
}

/* A band of the text that is being read. */
struct place {
    enum band_class key_class;
    int64_t band;
};

static enum status parse_end(int64_t *end, const char *text, const struct place *place)
{
    const size_t digits = strspn(text, "0123456789");
    if (digits > 0 && digits < 14 && text[digits] == '\0') {
        *end = strtoll(text, NULL, 10);
        return STATUS_OK;
    }
    return fail(STATUS_INVALID_ARGUMENT,
                "method table: %s, band %lld: its end \"%.*s\" is not a number of tokens",
                class_name(place->key_class), (long long)place->band + 1,
                parameter_shown_bytes(text, strlen(text)), text);
}

static enum status parse_number(double *number, const char *text, const struct place *place)
{
    char *end;
    const double value = strtod(text, &end);
    if (text[0] && !*end && isfinite(value) && strspn(text, "0123456789.eE+-") == strlen(text)) {
        *number = value == 0 ? 0 : value; /* without a sign */
        return STATUS_OK;
    }
    return fail(STATUS_INVALID_ARGUMENT, "method table: %s, band %lld: \"%.*s\" is not a number",
                class_name(place->key_class), (long long)place->band + 1,
                parameter_shown_bytes(text, strlen(text)), text);
}

/* Takes the text up to `separator` off *rest, which is NULL behind the last one. */
static char *take(char **rest, const char *separator)
{
    char *text = *rest;
    char *end = strstr(text, separator);
    *rest = end ? end + strlen(separator) : NULL;
    if (end)
        *end = '\0';
    return text;
}

/* Of a text that it may cut. */
static enum status parse_band(struct own_table_band *band, char *text, const struct place *place)
{
    char *end = text;
    char *rest = take(&end, "..");
    const char *name = take(&rest, ":");
    band->end = BANDS_OPEN;
    if (own_table_find_rule(&band->rule, name) != STATUS_OK)
        return fail(STATUS_INVALID_ARGUMENT, "method table: %s, band %lld: %s",
                    class_name(place->key_class), (long long)place->band + 1, status_message());
    const int wanted = numbers_of(band->rule);
    int given = 0;
    for (; rest && given < wanted; given++)
        TRY(parse_number(&band->numbers[given], take(&rest, ":"), place));
    if (rest || given < wanted)
        return fail(STATUS_INVALID_ARGUMENT, "method table: %s, band %lld: %s takes %d number%s",
                    class_name(place->key_class), (long long)place->band + 1, name, wanted,
                    wanted == 1 ? "" : "s");
    return end ? parse_end(&band->end, end, place) : STATUS_OK;
}

enum status own_table_parse(struct own_table *table, enum band_class key_class, const char *text)
{
    char copy[2 * OWN_TABLE_TEXT_BYTES];
    char *rest = copy;
    struct own_table parsed = *table;
    struct place place = {key_class, 0};
    if (strlen(text) >= sizeof copy)
        return fail(STATUS_INVALID_ARGUMENT, "method table: %s is longer than %zu bytes",
                    class_name(key_class), sizeof copy - 1);
    memcpy(copy, text, strlen(text) + 1);
    memset(parsed.list[key_class], 0, sizeof parsed.list[key_class]);
    for (; rest; place.band++) {
        if (place.band == OWN_TABLE_BANDS_MAX)
            return fail(STATUS_INVALID_ARGUMENT, "method table: %s has more than %d bands",
                        class_name(key_class), OWN_TABLE_BANDS_MAX);
        TRY(parse_band(&parsed.list[key_class][place.band], take(&rest, "/"), &place));
    }
    parsed.count[key_class] = place.band;
    *table = parsed;
    return STATUS_OK;
}

/* The fewest digits that read back as the same number; whole numbers without an exponent. */
static int print_number(char *text, size_t room, double number)
{
    if (number == floor(number) && fabs(number) <= (double)PARAMETER_TOKENS_MAX)
        return snprintf(text, room, ":%lld", (long long)number);
    int used = 0;
    for (int digits = 1; digits <= 17; digits++) {
        used = snprintf(text, room, ":%.*g", digits, number);
        if ((size_t)used < room && strtod(text + 1, NULL) == number)
            break;
    }
    return used;
}

/* Returns the text's length, whether it fits or not. */
static size_t print(const struct own_table *table, enum band_class key_class, char *text,
                    size_t bytes)
{
    enum { BAND_BYTES = 96 };
    size_t used = 0;
    if (bytes > 0)
        text[0] = '\0';
    for (int64_t b = 0; b < table->count[key_class]; b++) {
        const struct own_table_band *band = &table->list[key_class][b];
        char one[BAND_BYTES];
        int length =
            snprintf(one, sizeof one, "%s%s", b > 0 ? "/" : "", own_table_rules[band->rule].name);
        for (int n = 0; n < numbers_of(band->rule); n++)
            length += print_number(one + length, sizeof one - (size_t)length, band->numbers[n]);
        if (band->end != BANDS_OPEN)
            length +=
                snprintf(one + length, sizeof one - (size_t)length, "..%lld", (long long)band->end);
        if (used + (size_t)length < bytes)
            memcpy(text + used, one, (size_t)length + 1);
        used += (size_t)length;
    }
    return used;
}

void own_table_print(const struct own_table *table, enum band_class key_class,
                     char text[OWN_TABLE_TEXT_BYTES])
{
    const size_t used = print(table, key_class, text, OWN_TABLE_TEXT_BYTES);
    assert(used < OWN_TABLE_TEXT_BYTES);
}

/* ---- frames and bands ---- */

static struct bands_frame query_frame(const struct own_table_band *band)
{
    struct bands_frame frame = BANDS_FRAME(1, 0);
    switch (band->rule) {
    case SHIFT:
        frame.offset = band->numbers[0];
        break;
    case FIXED:
    case ANCHOR:
        frame.scale = 0;
        frame.offset = band->numbers[0];
        break;
    case SCALE:
        frame.scale = 1 / band->numbers[1];
        frame.offset = band->numbers[0] * (1 - frame.scale);
        break;
    case GROUP:
        frame.group = (int64_t)band->numbers[0];
        frame.offset = band->numbers[1];
        break;
    default:
        break;
    }
    return frame;
}

static struct bands_frame key_frame(const struct own_table_band *band)
{
    struct bands_frame frame = BANDS_FRAME(1, 0);
    if (band->rule == FIXED)
        frame.scale = 0;
    if (band->rule == SCALE)
        frame.scale = 1 / band->numbers[1];
    if (band->rule == GROUP)
        frame.group = (int64_t)band->numbers[0];
    return frame;
}

/* The frame's number from `first` on, where it is appended if it is not there; -1: no room. */
static int number_of(struct bands_frame *list, int *count, int first, int most,
                     const struct bands_frame *frame)
{
    for (int f = first; f < *count; f++)
        if (memcmp(&list[f], frame, sizeof *frame) == 0) /* it has no padding */
            return f;
    if (*count == most)
        return -1;
    list[*count] = *frame;
    return (*count)++;
}

/* Bands in the making, and why they cannot be made; NULL: they can. */
struct making {
    struct bands *bands;
    const char *reason;
};

static void append(struct making *making, const struct own_table_band *own,
                   enum band_class key_class, struct span distances, int key_number)
{
    struct bands *bands = making->bands;
    struct band *band = &bands->list[bands->count++];
    *band = (struct band){.key_class = key_class,
                          .query_end = BANDS_OPEN,
                          .unit = 1,
                          .distance_first = distances.first,
                          .distance_end = distances.end,
                          .masked = own->rule == HIDDEN};
    if (band->masked)
        return;
    const struct bands_frame queries = query_frame(own);
    band->key_frame = key_number;
    band->query_frame =
        number_of(bands->query_frame, &bands->query_frames, 0, BANDS_FRAMES_MAX, &queries);
    if (band->query_frame < 0)
        making->reason = "its bands rotate queries in more than 4 ways: let some be alike";
}

/* Ordinary keys: all are kept in one frame or two. Returns the distance from which on none is
 * seen. */
static int64_t make_ordinary(struct making *making, const struct own_table *table)
{
    struct bands *bands = making->bands;
    int64_t first = 0, reach = 0;
    for (int64_t b = 0; b < table->count[BAND_ORDINARY]; b++) {
        const struct own_table_band *own = &table->list[BAND_ORDINARY][b];
        const struct bands_frame keys = key_frame(own);
        int number = 0;
        if (own->rule != HIDDEN) {
            number = number_of(bands->key_frame, &bands->key_frames, 0, ORDINARY_FRAMES_MAX, &keys);
            reach = own->end;
        }
        if (number < 0)
            making->reason = "its bands keep keys in more than 2 ways, each of which is a copy of "
                             "all keys: let some be alike";
        append(making, own, BAND_ORDINARY, (struct span){first, own->end}, number);
        first = own->end;
    }
    bands->panel_frames = bands->key_frames;
    return reach;
}

/* Sinks that are in sight from `reach` on, or in a way that no other key is, are kept apart. */
static void make_sinks(struct making *making, const struct own_table *table, int64_t reach)
{
    struct bands *bands = making->bands;
    int64_t first = 0;
    for (int64_t b = 0; b < table->count[BAND_SINK]; b++) {
        const struct own_table_band *own = &table->list[BAND_SINK][b];
        const struct bands_frame keys = key_frame(own);
        int shared = 0;
        while (shared < bands->panel_frames &&
               memcmp(&bands->key_frame[shared], &keys, sizeof keys) != 0)
            shared++;
        const bool near = own->rule != HIDDEN && shared < bands->panel_frames && first < reach;
        const int64_t cut = near && reach < own->end ? reach : own->end;
        if (near)
            append(making, own, BAND_SINK, (struct span){first, cut}, shared);
        if (!near || cut < own->end) {
            const int apart = own->rule == HIDDEN
                                  ? 0
                                  : number_of(bands->key_frame, &bands->key_frames,
                                              bands->panel_frames, BANDS_FRAMES_MAX, &keys);
            if (apart < 0)
                making->reason = "its bands keep keys in more than 4 ways: let some be alike";
            append(making, own, BAND_SINK, (struct span){near ? cut : first, own->end}, apart);
        }
        first = own->end;
    }
}

/* At most one band of the sinks is cut in two. */
_Static_assert(2 * OWN_TABLE_BANDS_MAX + 1 <= BANDS_MAX, "a table's bands must fit");

static const char *make(const struct own_table *table, int64_t sinks, struct bands *bands)
{
    struct making making = {.bands = bands};
    *bands = (struct bands){.sinks = sinks};
    const int64_t reach = make_ordinary(&making, table);
    make_sinks(&making, table, reach);
    return making.reason;
}

void own_table_bands(const struct own_table *table, int64_t sinks, struct bands *bands)
{
    const char *reason = make(table, sinks, bands);
    assert(!reason);
}

/* ---- checking ---- */

static bool wrong(struct own_table_fault *fault, enum band_class key_class, int64_t band,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

static bool wrong(struct own_table_fault *fault, enum band_class key_class, int64_t band,
                  const char *format, ...)
{
    va_list arguments;
    fault->key_class = key_class;
    fault->band = (int)band;
    va_start(arguments, format);
    vsnprintf(fault->sentence, sizeof fault->sentence, format, arguments);
    va_end(arguments);
    return false;
}

/* What a number may be: whole, and within [least, most]. */
static bool number_fits(const struct own_table_band *band, int n, double least, double most,
                        bool whole, char sentence[OWN_TABLE_SENTENCE_BYTES])
{
    const double number = band->numbers[n];
    if (number >= least && number <= most && (!whole || number == floor(number)))
        return true;
    snprintf(sentence, OWN_TABLE_SENTENCE_BYTES,
             "%s of %s is %.17g, must be %sbetween %.17g and "
             "%.17g",
             own_table_rules[band->rule].numbers[n], own_table_rules[band->rule].name, number,
             whole ? "whole and " : "", least, most);
    return false;
}

static bool numbers_fit(const struct own_table_band *band, char sentence[OWN_TABLE_SENTENCE_BYTES])
{
    const double most = (double)PARAMETER_TOKENS_MAX / 2;
    switch (band->rule) {
    case SHIFT:
        return number_fits(band, 0, -most, most, true, sentence);
    case FIXED:
    case ANCHOR:
        return number_fits(band, 0, 0, most, true, sentence);
    case SCALE:
        return number_fits(band, 0, 0, most, true, sentence) &&
               number_fits(band, 1, 1, FACTOR_MAX, false, sentence);
    case GROUP:
        return number_fits(band, 0, 1, most, true, sentence) &&
               number_fits(band, 1, -most, most, true, sentence);
    default:
        return true;
    }
}

/* The smallest effective distance of a band that begins at distance `first`. */
static double least_distance(const struct own_table_band *band, int64_t first, int64_t sinks)
{
    switch (band->rule) {
    case SHIFT:
        return (double)first + band->numbers[0];
    case FIXED:
        return band->numbers[0];
    case ANCHOR:
        return band->numbers[0] - (double)(sinks - 1);
    case SCALE:
        return band->numbers[0] + ((double)first - band->numbers[0]) / band->numbers[1];
    case GROUP:
        return (double)(first / (int64_t)band->numbers[0]) + band->numbers[1];
    default:
        return (double)first;
    }
}

static bool check_band(const struct own_table *table, enum band_class key_class, int64_t b,
                       int64_t sinks, struct own_table_fault *fault)
{
    const struct own_table_band *band = &table->list[key_class][b];
    const int64_t first = b > 0 ? table->list[key_class][b - 1].end : 0;
    const bool last = b == table->count[key_class] - 1;
    char sentence[OWN_TABLE_SENTENCE_BYTES];
    if (last != (band->end == BANDS_OPEN))
        return wrong(fault, key_class, b,
                     last ? "the last band must have no end, so that no distance is missing"
                          : "only the last band may have no end");
    if (!last && (band->end <= first || band->end > PARAMETER_TOKENS_MAX))
        return wrong(fault, key_class, b,
                     "it ends at %lld, must end above %lld, where it begins, and at most at %lld",
                     (long long)band->end, (long long)first, (long long)PARAMETER_TOKENS_MAX);
    if (b == 0 && band->rule == HIDDEN)
        return wrong(fault, key_class, b,
                     "every token must see itself: the first band, from "
                     "distance 0 on, may not be hidden");
    if (band->rule == ANCHOR && key_class == BAND_ORDINARY)
        return wrong(fault, key_class, b,
                     "anchor is for sinks: other keys would come to stand "
                     "behind the query");
    if (!numbers_fit(band, sentence))
        return wrong(fault, key_class, b, "%s", sentence);
    if (band->rule != HIDDEN && least_distance(band, first, sinks) < 0)
        return wrong(fault, key_class, b,
                     "its smallest effective distance is %g: a key may not come to stand behind "
                     "its query",
                     least_distance(band, first, sinks));
    return true;
}

static bool check_class(const struct own_table *table, enum band_class key_class, int64_t sinks,
                        struct own_table_fault *fault)
{
    for (int64_t b = 0; b < table->count[key_class]; b++)
        if (!check_band(table, key_class, b, sinks, fault))
            return false;
    return true;
}

bool own_table_check(const struct own_table *table, int64_t sinks, struct own_table_fault *fault)
{
    struct bands bands;
    if (table->count[BAND_ORDINARY] == 0)
        return wrong(fault, BAND_ORDINARY, -1, "give keys=..., the bands of all keys but sinks");
    if ((table->count[BAND_SINK] > 0) != (sinks > 0))
        return wrong(fault, BAND_SINK, -1,
                     "give sinks=N and sink_keys=..., their bands, or neither");
    if (!check_class(table, BAND_ORDINARY, sinks, fault) ||
        !check_class(table, BAND_SINK, sinks, fault))
        return false;
    const char *reason = make(table, sinks, &bands);
    if (reason)
        return wrong(fault, BAND_ORDINARY, -1, "%s", reason);
    if (print(table, BAND_ORDINARY, NULL, 0) + print(table, BAND_SINK, NULL, 0) >=
        OWN_TABLE_TEXT_BYTES)
        return wrong(fault, BAND_ORDINARY, -1,
                     "its bands take more than %d characters as text: use fewer",
                     OWN_TABLE_TEXT_BYTES - 1);
    return true;
}
