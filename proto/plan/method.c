/* Owns the spelling of methods and the bands that each one stands for. */
#include "proto/plan/method.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/nearest.h"

enum { DEFAULT_LOCAL = 128, DEFAULT_SINKS = 10, WORD_BYTES = 32 };

/* Largest number of tokens anywhere: sums of two stay far from overflow. */
#define LARGEST_TOKENS ((int64_t)1 << 40)

/* One `key=value`, or the method's name alone. */
struct option {
    char key[WORD_BYTES];
    char value[WORD_BYTES];
};

enum option_key {
    KEY_SHIFT,
    KEY_LOCAL,
    KEY_LOGIT_SCALE,
    KEY_WINDOW,
    KEY_SINKS,
    KEY_CEILING,
    KEYS,
};

static const struct {
    const char *name;
    enum method_kind kind;
} key_rows[KEYS] = {
    [KEY_SHIFT] = {"shift", METHOD_STRING},
    [KEY_LOCAL] = {"local", METHOD_STRING},
    [KEY_LOGIT_SCALE] = {"logit_scale", METHOD_STRING},
    [KEY_WINDOW] = {"window", METHOD_LM_INFINITE},
    [KEY_SINKS] = {"sinks", METHOD_LM_INFINITE},
    [KEY_CEILING] = {"ceiling", METHOD_LM_INFINITE},
};

static const char *const kind_names[] = {
    [METHOD_ROPE] = "rope",
    [METHOD_STRING] = "string",
    [METHOD_LM_INFINITE] = "lm_infinite",
};
enum { KINDS = sizeof kind_names / sizeof kind_names[0] };

static enum status unknown_kind(const char *word)
{
    const char *near = nearest_name(word, kind_names, KINDS);
    return fail(STATUS_INVALID_ARGUMENT,
                "unknown method \"%s\"%s%s%s There are rope, string and lm_infinite", word,
                near ? ": did you mean \"" : ".", near ? near : "", near ? "\"?" : "");
}

static enum status unknown_key(enum method_kind kind, const char *word)
{
    const char *names[KEYS];
    size_t count = 0;
    for (int k = 0; k < KEYS; k++)
        if (key_rows[k].kind == kind)
            names[count++] = key_rows[k].name;
    if (count == 0)
        return fail(STATUS_INVALID_ARGUMENT, "method %s: takes no parameters, but \"%s\" is given",
                    kind_names[kind], word);
    const char *near = nearest_name(word, names, count);
    _Static_assert(KEYS == 6, "a method with parameters has three");
    if (near)
        return fail(STATUS_INVALID_ARGUMENT,
                    "method %s: unknown parameter \"%s\": did you mean \"%s\"?", kind_names[kind],
                    word, near);
    return fail(STATUS_INVALID_ARGUMENT,
                "method %s: unknown parameter \"%s\": it has %s, %s and %s", kind_names[kind], word,
                names[0], names[1], names[2]);
}

static enum status parse_tokens(int64_t *tokens, const char *key, const char *text)
{
    int64_t value = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9')
            return fail(STATUS_INVALID_ARGUMENT, "method: %s=%s is not a number of tokens", key,
                        text);
        value = value * 10 + (*c - '0');
        if (value > LARGEST_TOKENS)
            return fail(STATUS_INVALID_ARGUMENT, "method: %s=%s is too large", key, text);
    }
    *tokens = value;
    return STATUS_OK;
}

static enum status parse_real(double *real, const char *key, const char *text)
{
    char *end;
    const double value = strtod(text, &end);
    if (*end || !isfinite(value) || strspn(text, "0123456789.eE+-") != strlen(text))
        return fail(STATUS_INVALID_ARGUMENT, "method: %s=%s is not a number", key, text);
    *real = value;
    return STATUS_OK;
}

/* `auto`, a fraction of the trained length, or tokens. */
static enum status parse_shift(int64_t *shift, const char *text, int64_t trained_tokens)
{
    if (strcmp(text, "auto") == 0) {
        *shift = trained_tokens / 3;
        return STATUS_OK;
    }
    if (!strchr(text, '.'))
        return parse_tokens(shift, "shift", text);
    double fraction;
    TRY(parse_real(&fraction, "shift", text));
    if (fraction <= 0 || fraction >= 1)
        return fail(STATUS_INVALID_ARGUMENT,
                    "method: shift=%s: a fraction of the trained length lies between 0 and 1",
                    text);
    *shift = (int64_t)(fraction * (double)trained_tokens);
    return STATUS_OK;
}

static enum status set_option(struct method *method, enum option_key key, const char *value,
                              int64_t trained_tokens)
{
    switch (key) {
    case KEY_SHIFT:
        return parse_shift(&method->shift, value, trained_tokens);
    case KEY_LOCAL:
        return parse_tokens(&method->local, "local", value);
    case KEY_LOGIT_SCALE:
        if (strcmp(value, "published") == 0) {
            method->logit_scale = METHOD_PUBLISHED_LOGIT_SCALE;
            return STATUS_OK;
        }
        return parse_real(&method->logit_scale, "logit_scale", value);
    case KEY_WINDOW:
        return parse_tokens(&method->window, "window", value);
    case KEY_SINKS:
        return parse_tokens(&method->sinks, "sinks", value);
    case KEY_CEILING:
        return parse_tokens(&method->ceiling, "ceiling", value);
    case KEYS:
        break;
    }
    return fail(STATUS_INTERNAL, "method: parameter %d has no parser", (int)key);
}

/* Takes the next `key=value` off *text; each ends with a comma or with the text. */
static enum status next_option(struct option *option, const char **text)
{
    const size_t bytes = strcspn(*text, ",");
    const char *equals = memchr(*text, '=', bytes);
    const size_t key_bytes = equals ? (size_t)(equals - *text) : 0;
    const size_t value_bytes = equals ? bytes - key_bytes - 1 : 0;
    if (key_bytes == 0 || value_bytes == 0 || key_bytes >= WORD_BYTES || value_bytes >= WORD_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "method: \"%.*s\" is not a parameter: write key=value",
                    bytes < WORD_BYTES ? (int)bytes : WORD_BYTES, *text);
    memcpy(option->key, *text, key_bytes);
    option->key[key_bytes] = '\0';
    memcpy(option->value, equals + 1, value_bytes);
    option->value[value_bytes] = '\0';
    *text += bytes;
    return STATUS_OK;
}

static enum status parse_options(struct method *method, bool given[KEYS], const char *text,
                                 int64_t trained_tokens)
{
    for (;;) {
        struct option option;
        TRY(next_option(&option, &text));
        int key = 0;
        while (key < KEYS &&
               (key_rows[key].kind != method->kind || strcmp(key_rows[key].name, option.key) != 0))
            key++;
        if (key == KEYS)
            return unknown_key(method->kind, option.key);
        if (given[key])
            return fail(STATUS_INVALID_ARGUMENT, "method %s: %s is given twice",
                        kind_names[method->kind], option.key);
        given[key] = true;
        TRY(set_option(method, (enum option_key)key, option.value, trained_tokens));
        if (*text == '\0')
            return STATUS_OK;
        text++;
    }
}

static void set_defaults(struct method *method, const bool given[KEYS], int64_t trained_tokens)
{
    if (method->kind == METHOD_STRING) {
        if (!given[KEY_SHIFT])
            method->shift = trained_tokens / 3;
        if (!given[KEY_LOCAL])
            method->local = method->shift < DEFAULT_LOCAL ? method->shift : DEFAULT_LOCAL;
    }
    if (method->kind == METHOD_LM_INFINITE) {
        if (!given[KEY_WINDOW])
            method->window = trained_tokens;
        if (!given[KEY_SINKS])
            method->sinks = DEFAULT_SINKS;
        if (!given[KEY_CEILING])
            method->ceiling = method->window;
    }
}

enum status method_parse(struct method *method, const char *text, int64_t trained_tokens)
{
    char word[WORD_BYTES];
    const size_t bytes = strcspn(text, ":");
    snprintf(word, sizeof word, "%.*s", bytes < WORD_BYTES ? (int)bytes : WORD_BYTES, text);
    int kind = 0;
    while (kind < KINDS &&
           (strlen(kind_names[kind]) != bytes || strcmp(word, kind_names[kind]) != 0))
        kind++;
    if (kind == KINDS)
        return unknown_kind(word);
    struct method parsed = {.kind = (enum method_kind)kind, .logit_scale = 1};
    bool given[KEYS] = {false};
    if (text[bytes] == ':')
        TRY(parse_options(&parsed, given, text + bytes + 1, trained_tokens));
    set_defaults(&parsed, given, trained_tokens);
    TRY(method_check(&parsed));
    *method = parsed;
    return STATUS_OK;
}

static enum status check_tokens(const char *key, int64_t value, int64_t least, int64_t most)
{
    if (value >= least && value <= most)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "method: %s=%lld must be between %lld and %lld", key,
                (long long)value, (long long)least, (long long)most);
}

enum status method_check(const struct method *method)
{
    if ((int)method->kind < 0 || (int)method->kind >= KINDS)
        return fail(STATUS_INVALID_ARGUMENT, "method: there is no kind %d", (int)method->kind);
    if (!(method->logit_scale > 0) || !(method->logit_scale <= 100))
        return fail(STATUS_INVALID_ARGUMENT,
                    "method: logit_scale=%g must be above 0 and at most 100", method->logit_scale);
    if (method->kind == METHOD_STRING) {
        TRY(check_tokens("shift", method->shift, 1, LARGEST_TOKENS));
        TRY(check_tokens("local", method->local, 0, method->shift));
    }
    if (method->kind == METHOD_LM_INFINITE) {
        TRY(check_tokens("window", method->window, 1, LARGEST_TOKENS));
        TRY(check_tokens("sinks", method->sinks, 0, LARGEST_TOKENS));
        TRY(check_tokens("ceiling", method->ceiling, 0, LARGEST_TOKENS));
    }
    return STATUS_OK;
}

void method_print(const struct method *method, char text[METHOD_TEXT_BYTES])
{
    char scale[WORD_BYTES];
    switch (method->kind) {
    case METHOD_ROPE:
        snprintf(text, METHOD_TEXT_BYTES, "rope");
        return;
    case METHOD_STRING:
        /* The fewest digits that read back as the same number. */
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(scale, sizeof scale, "%.*g", digits, method->logit_scale);
            if (strtod(scale, NULL) == method->logit_scale)
                break;
        }
        snprintf(text, METHOD_TEXT_BYTES, "string:shift=%lld,local=%lld,logit_scale=%s",
                 (long long)method->shift, (long long)method->local, scale);
        return;
    case METHOD_LM_INFINITE:
        snprintf(text, METHOD_TEXT_BYTES, "lm_infinite:window=%lld,sinks=%lld,ceiling=%lld",
                 (long long)method->window, (long long)method->sinks, (long long)method->ceiling);
        return;
    }
}

/* Appends a band that applies to every query, and the query frame it needs where there is none yet.
 */
static void add_band(struct bands *bands, enum band_class key_class, int64_t first, int64_t end,
                     enum band_rule rule, int64_t value)
{
    struct band band = {.key_class = key_class,
                        .query_end = BANDS_OPEN,
                        .distance_first = first,
                        .distance_end = end,
                        .rule = rule,
                        .value = value,
                        .key_frame = rule == BAND_CLAMP};
    if (rule != BAND_MASK) {
        const struct bands_frame frame = {.scale = rule != BAND_CLAMP, .offset = value};
        while (band.query_frame < bands->query_frames &&
               (bands->frame[band.query_frame].scale != frame.scale ||
                bands->frame[band.query_frame].offset != frame.offset))
            band.query_frame++;
        bands->frame[band.query_frame] = frame;
        if (band.query_frame == bands->query_frames)
            bands->query_frames++;
    }
    bands->list[bands->count++] = band;
}

void method_bands(const struct method *method, struct bands *bands)
{
    *bands = (struct bands){0};
    switch (method->kind) {
    case METHOD_ROPE:
        add_band(bands, BAND_ORDINARY, 0, BANDS_OPEN, BAND_IDENTITY, 0);
        return;
    case METHOD_STRING:
        add_band(bands, BAND_ORDINARY, 0, method->shift, BAND_IDENTITY, 0);
        add_band(bands, BAND_ORDINARY, method->shift, BANDS_OPEN,
                 method->local == method->shift ? BAND_IDENTITY : BAND_SHIFT,
                 method->local - method->shift);
        return;
    case METHOD_LM_INFINITE:
        bands->sinks = method->sinks;
        add_band(bands, BAND_ORDINARY, 0, method->window, BAND_IDENTITY, 0);
        add_band(bands, BAND_ORDINARY, method->window, BANDS_OPEN, BAND_MASK, 0);
        if (method->sinks > 0) {
            add_band(bands, BAND_SINK, 0, method->window, BAND_IDENTITY, 0);
            add_band(bands, BAND_SINK, method->window, BANDS_OPEN, BAND_CLAMP, method->ceiling);
        }
        return;
    }
}
