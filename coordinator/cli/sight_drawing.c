/* Owns the layout of the drawing. Promises that all of it comes from the bands that workers go
 * by. */
#include "coordinator/cli/sight_drawing.h"

#include <inttypes.h>
#include <string.h>

#include "kernels/regimes.h"
#include "proto/plan/method.h"

enum { RULER = 64, RULED_ROWS = 4, WORDS_BYTES = 64 };

/* What the last token sees through one regime. */
struct seen {
    const struct regime *regime;
    int64_t key_first, key_end;
    double least, most; /* effective distances */
};

/* Extremes of a frame's positions over the indices [first, end), which are not none. */
static void positions_of(const struct bands_frame *frame, int64_t first, int64_t end, double *least,
                         double *most)
{
    int64_t low = first, high = end - 1; /* without a modulo positions never fall */
    if (frame->modulo > 0 && low / frame->modulo != high / frame->modulo) {
        low = 0; /* they turn over within the range */
        high = frame->modulo - 1;
    }
    *least = bands_position(frame, low);
    *most = bands_position(frame, high);
}

static bool see(struct seen *seen, const struct bands *bands, const struct regime *regime,
                int64_t query)
{
    struct regime_part part;
    regime_part(&part, regime, query);
    if (query < part.query_first || query >= part.query_end)
        return false;
    const int64_t back = part.distance_end > query ? 0 : query - part.distance_end + 1;
    const int64_t front = query - part.distance_first + 1;
    seen->regime = regime;
    seen->key_first = regimes_larger(part.key_first, back);
    seen->key_end = regimes_smaller(part.key_end, front);
    if (seen->key_first >= seen->key_end)
        return false;
    double low, high;
    const double at = bands_position(&bands->query_frame[regime->query_frame], query);
    positions_of(&bands->key_frame[regime->key_frame], seen->key_first, seen->key_end, &low, &high);
    seen->least = at - high;
    seen->most = at - low;
    return true;
}

/* ---- words ---- */

/* "i - 2048", "floor(3 i / 7) + 5", "min(900, i mod 600 + 600)", "4096". */
static void frame_words(char words[WORDS_BYTES], const struct bands_frame *frame, char index)
{
    char place[32], scaled[48], moved[56];
    if (frame->scale == 0) {
        snprintf(words, WORDS_BYTES, "%.10g", frame->offset);
        return;
    }
    if (frame->modulo > 0)
        snprintf(place, sizeof place, "%c mod %" PRId64, index, frame->modulo);
    else if (frame->parts > 1)
        snprintf(place, sizeof place, "floor(%" PRId64 " %c / %" PRId64 ")", frame->parts, index,
                 frame->group);
    else if (frame->group > 1)
        snprintf(place, sizeof place, "floor(%c / %" PRId64 ")", index, frame->group);
    else
        snprintf(place, sizeof place, "%c", index);
    if (frame->scale == 1)
        snprintf(scaled, sizeof scaled, "%s", place);
    else
        snprintf(scaled, sizeof scaled, "%.6g %s", frame->scale, place);
    if (frame->offset == 0)
        snprintf(moved, sizeof moved, "%s", scaled);
    else
        snprintf(moved, sizeof moved, "%s %c %.10g", scaled, frame->offset < 0 ? '-' : '+',
                 frame->offset < 0 ? -frame->offset : frame->offset);
    if (frame->cap < (double)INT64_MAX)
        snprintf(words, WORDS_BYTES, "min(%.10g, %s)", frame->cap, moved);
    else
        snprintf(words, WORDS_BYTES, "%s", moved);
}

static void distance_words(char words[WORDS_BYTES], const struct regime *regime)
{
    const char *unit = regime->unit > 1 ? " chunks" : "";
    if (regime->distance_end == BANDS_OPEN)
        snprintf(words, WORDS_BYTES, "%" PRId64 "%s and more", regime->distance_first, unit);
    else if (regime->distance_end == regime->distance_first + 1)
        snprintf(words, WORDS_BYTES, "%" PRId64 "%s", regime->distance_first, unit);
    else
        snprintf(words, WORDS_BYTES, "%" PRId64 " to %" PRId64 "%s", regime->distance_first,
                 regime->distance_end - 1, unit);
}

static void key_words(char words[WORDS_BYTES], const struct regime *regime)
{
    if (regime->key_end != BANDS_OPEN)
        snprintf(words, WORDS_BYTES, "the first %" PRId64, regime->key_end);
    else if (regime->key_first > 0)
        snprintf(words, WORDS_BYTES, "all but the first %" PRId64, regime->key_first);
    else
        snprintf(words, WORDS_BYTES, "all");
}

static void effective_words(char words[WORDS_BYTES], const struct seen *seen)
{
    if (seen->least == seen->most)
        snprintf(words, WORDS_BYTES, "%.10g", seen->least);
    else
        snprintf(words, WORDS_BYTES, "%.10g to %.10g", seen->least, seen->most);
}

/* ---- the drawing ---- */

static void print_seen(FILE *file, const struct bands *bands, const struct seen *seen)
{
    char keys[WORDS_BYTES], distance[WORDS_BYTES], effective[WORDS_BYTES];
    char query_at[WORDS_BYTES], key_at[WORDS_BYTES];
    key_words(keys, seen->regime);
    distance_words(distance, seen->regime);
    effective_words(effective, seen);
    frame_words(query_at, &bands->query_frame[seen->regime->query_frame], 'i');
    frame_words(key_at, &bands->key_frame[seen->regime->key_frame], 'j');
    fprintf(file, "%-22s %-20s %10" PRId64 " %-18s %-24s %s\n", keys, distance,
            seen->key_end - seen->key_first, effective, query_at, key_at);
}

/* How query i sees key j: at its distance, at another one, or not at all. */
static char mark_of(const struct bands *bands, int64_t i, int64_t j)
{
    if (j > i)
        return ' ';
    const struct band *band = bands_find(bands, i, j);
    if (!band)
        return '.';
    const double e = bands_position(&bands->query_frame[band->query_frame], i) -
                     bands_position(&bands->key_frame[band->key_frame], j);
    return e == (double)(i - j) ? '#' : '+';
}

/* Four queries over the keys before them, the oldest at the left; a character is the key in the
 * middle of its part of the text. */
static void print_ruler(FILE *file, const struct bands *bands, int64_t tokens)
{
    const int columns = tokens < RULER ? (int)tokens : RULER;
    for (int row = 1; row <= RULED_ROWS; row++) {
        const int64_t i = tokens * row / RULED_ROWS - 1;
        char marks[RULER + 1] = "";
        if (i < 0)
            continue;
        for (int c = 0; c < columns; c++)
            marks[c] = mark_of(bands, i, (tokens * (2 * c + 1)) / (2 * columns));
        fprintf(file, "  token %10" PRId64 "  %s\n", i, marks);
    }
}

static void print_table(FILE *file, const struct bands *bands, int64_t tokens)
{
    struct regimes regimes;
    int64_t unseen = tokens;
    regimes_make(&regimes, bands);
    fprintf(file, "%-22s %-20s %10s %-18s %-24s %s\n", "keys", "at distance", "are", "seen at",
            "query i at", "key j at");
    for (int r = 0; r < regimes.count; r++) {
        struct seen seen;
        if (!see(&seen, bands, &regimes.list[r], tokens - 1))
            continue;
        print_seen(file, bands, &seen);
        unseen -= seen.key_end - seen.key_first;
    }
    if (unseen > 0)
        fprintf(file, "%-22s %-20s %10" PRId64 " not at all\n", "", "others", unseen);
    print_ruler(file, bands, tokens);
}

/* Why workers hold what they hold. */
static void print_reasons(FILE *file, const struct bands *bands, int64_t tokens)
{
    struct regimes regimes;
    const int64_t reach = bands_reach(bands);
    regimes_make(&regimes, bands);
    fprintf(file, "a worker keeps the values of its tokens and their keys in %d way%s",
            bands->panel_frames, bands->panel_frames == 1 ? "" : "s");
    if (reach < tokens)
        fprintf(file, ", and drops what lies %" PRId64 " tokens back and more", reach);
    fputc('\n', file);
    if (regimes_far_sinks(&regimes, tokens))
        fprintf(file,
                "every worker keeps the first %" PRId64 " tokens besides: they stay in sight, or "
                "are seen in a way of their own\n",
                bands->sinks);
}

void sight_drawing_print(FILE *file, const char *spelling, int64_t tokens)
{
    struct method method;
    struct bands bands;
    if (tokens < 1 || method_parse(&method, spelling, 0) != STATUS_OK)
        return;
    method_bands(&method, &bands);
    fprintf(file, "\nwhat the last of %" PRId64 " tokens sees (# at its distance, + at another, "
                  ". not)\n",
            tokens);
    print_table(file, &bands, tokens);
    print_reasons(file, &bands, tokens);
    const int64_t local = method_local_heads(&method);
    if (local == 0)
        return;
    method_local_bands(&method, &bands);
    fprintf(file, "the last %" PRId64 " KV heads of each layer see less\n", local);
    print_table(file, &bands, tokens);
}

static void seen_json(struct json_writer *writer, const struct bands *bands,
                      const struct seen *seen)
{
    char query_at[WORDS_BYTES], key_at[WORDS_BYTES];
    frame_words(query_at, &bands->query_frame[seen->regime->query_frame], 'i');
    frame_words(key_at, &bands->key_frame[seen->regime->key_frame], 'j');
    json_writer_begin_object(writer, NULL);
    json_writer_integer(writer, "first_key", seen->key_first);
    json_writer_integer(writer, "end_key", seen->key_end);
    json_writer_real(writer, "least_distance", seen->least);
    json_writer_real(writer, "most_distance", seen->most);
    json_writer_text(writer, "query_at", query_at);
    json_writer_text(writer, "key_at", key_at);
    json_writer_end_object(writer);
}

void sight_drawing_json(struct json_writer *writer, const char *spelling, int64_t tokens)
{
    struct method method;
    struct bands bands;
    struct regimes regimes;
    if (tokens < 1 || method_parse(&method, spelling, 0) != STATUS_OK) {
        json_writer_null(writer, "sight");
        return;
    }
    method_bands(&method, &bands);
    regimes_make(&regimes, &bands);
    json_writer_begin_array(writer, "sight");
    for (int r = 0; r < regimes.count; r++) {
        struct seen seen;
        if (see(&seen, &bands, &regimes.list[r], tokens - 1))
            seen_json(writer, &bands, &seen);
    }
    json_writer_end_array(writer);
}
