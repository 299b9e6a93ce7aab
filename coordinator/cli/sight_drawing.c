/* Owns the layout of the drawing. Promises that all of it comes from the bands that workers go
 * by. */
#include "coordinator/cli/sight_drawing.h"

#include <inttypes.h>
#include <string.h>

#include "proto/plan/parameter.h"
#include "proto/plan/sight_view.h"

enum { RULER = 64, RULED_ROWS = 4, WORDS_BYTES = 136 };

/* ---- words ---- */

/* "i - 2048", "floor(3 i / 7) + 5", "min(900, i mod 600 + 600)", "4096". */
static void frame_words(char words[WORDS_BYTES], const struct bands_frame *frame, char index)
{
    char place[64], scaled[80], moved[112];
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

static void distance_words(char words[WORDS_BYTES], const struct sight_view_row *row)
{
    const char *unit = row->unit > 1 ? " chunks" : "";
    if (row->distance_end == BANDS_OPEN)
        snprintf(words, WORDS_BYTES, "%" PRId64 "%s and more", row->distance_first, unit);
    else if (row->distance_end == row->distance_first + 1)
        snprintf(words, WORDS_BYTES, "%" PRId64 "%s", row->distance_first, unit);
    else
        snprintf(words, WORDS_BYTES, "%" PRId64 " to %" PRId64 "%s", row->distance_first,
                 row->distance_end - 1, unit);
}

static void key_words(char words[WORDS_BYTES], const struct sight_view_row *row)
{
    if (row->keys_end != BANDS_OPEN)
        snprintf(words, WORDS_BYTES, "the first %" PRId64, row->keys_end);
    else if (row->keys_first > 0)
        snprintf(words, WORDS_BYTES, "all but the first %" PRId64, row->keys_first);
    else
        snprintf(words, WORDS_BYTES, "all");
}

static void effective_words(char words[WORDS_BYTES], const struct sight_view_row *row)
{
    if (row->least == row->most)
        snprintf(words, WORDS_BYTES, "%.10g", row->least);
    else
        snprintf(words, WORDS_BYTES, "%.10g to %.10g", row->least, row->most);
}

/* ---- the drawing ---- */

static void print_seen(FILE *file, const struct bands *bands, const struct sight_view_row *row)
{
    char keys[WORDS_BYTES], distance[WORDS_BYTES], effective[WORDS_BYTES];
    char query_at[WORDS_BYTES], key_at[WORDS_BYTES];
    key_words(keys, row);
    distance_words(distance, row);
    effective_words(effective, row);
    frame_words(query_at, &bands->query_frame[row->query_frame], 'i');
    frame_words(key_at, &bands->key_frame[row->key_frame], 'j');
    fprintf(file, "%-22s %-20s %10" PRId64 " %-18s %-24s %s\n", keys, distance,
            row->seen_end - row->seen_first, effective, query_at, key_at);
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

/* Four queries over the keys before them, the oldest at the left; a character is the first key
 * of its part of the text. */
static void print_ruler(FILE *file, const struct bands *bands, int64_t tokens)
{
    const int columns = tokens < RULER ? (int)tokens : RULER;
    for (int row = 1; row <= RULED_ROWS; row++) {
        const int64_t i = tokens * row / RULED_ROWS - 1;
        char marks[RULER + 1] = "";
        if (i < 0)
            continue;
        for (int c = 0; c < columns; c++)
            marks[c] = mark_of(bands, i, tokens * c / columns);
        fprintf(file, "  token %10" PRId64 "  %s\n", i, marks);
    }
}

static void print_table(FILE *file, const struct bands *bands, int64_t tokens)
{
    struct sight_view view;
    int64_t unseen = tokens;
    sight_view_make(&view, bands, tokens);
    fprintf(file, "%-22s %-20s %10s %-18s %-24s %s\n", "keys", "at distance", "are", "seen at",
            "query i at", "key j at");
    for (int r = 0; r < view.count; r++) {
        print_seen(file, bands, &view.rows[r]);
        unseen -= view.rows[r].seen_end - view.rows[r].seen_first;
    }
    if (unseen > 0)
        fprintf(file, "%-22s %-20s %10" PRId64 " not at all\n", "", "others", unseen);
    print_ruler(file, bands, tokens);
}

/* Why workers hold what they hold. */
static void print_reasons(FILE *file, const struct bands *bands, int64_t tokens)
{
    struct sight_view view;
    const int64_t reach = bands_reach(bands);
    sight_view_make(&view, bands, tokens);
    fprintf(file, "a worker keeps the values of its tokens and their keys in %d way%s",
            bands->panel_frames, bands->panel_frames == 1 ? "" : "s");
    if (reach < tokens)
        fprintf(file, ", and drops what lies %" PRId64 " tokens back and more", reach);
    fputc('\n', file);
    if (view.keeps_sinks)
        fprintf(file,
                "every worker keeps the first %" PRId64 " tokens besides: they stay in sight, or "
                "are seen in a way of their own\n",
                bands->sinks);
}

/* A plan comes from elsewhere: what is out of range would overflow. */
static bool drawable(int64_t tokens)
{
    return tokens >= 1 && tokens <= PARAMETER_TOKENS_MAX;
}

void sight_drawing_print(FILE *file, const char *spelling, int64_t tokens)
{
    struct method method;
    struct bands bands;
    if (!drawable(tokens) || method_parse(&method, spelling, 0) != STATUS_OK)
        return;
    method_bands(&method, &bands);
    fprintf(file,
            "\nwhat the last of %" PRId64 " tokens sees (# at its distance, + at another, "
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
                      const struct sight_view_row *row)
{
    char query_at[WORDS_BYTES], key_at[WORDS_BYTES];
    frame_words(query_at, &bands->query_frame[row->query_frame], 'i');
    frame_words(key_at, &bands->key_frame[row->key_frame], 'j');
    json_writer_begin_object(writer, NULL);
    json_writer_integer(writer, "first_key", row->seen_first);
    json_writer_integer(writer, "end_key", row->seen_end);
    json_writer_real(writer, "least_distance", row->least);
    json_writer_real(writer, "most_distance", row->most);
    json_writer_text(writer, "query_at", query_at);
    json_writer_text(writer, "key_at", key_at);
    json_writer_end_object(writer);
}

void sight_drawing_json(struct json_writer *writer, const char *spelling, int64_t tokens)
{
    struct method method;
    struct bands bands;
    struct sight_view view;
    if (!drawable(tokens) || method_parse(&method, spelling, 0) != STATUS_OK) {
        json_writer_null(writer, "sight");
        return;
    }
    method_bands(&method, &bands);
    sight_view_make(&view, &bands, tokens);
    json_writer_begin_array(writer, "sight");
    for (int r = 0; r < view.count; r++)
        seen_json(writer, &bands, &view.rows[r]);
    json_writer_end_array(writer);
}
