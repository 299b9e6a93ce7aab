/* Owns the end of an answer's text that may not be shown yet. Promises that what it gives out, put
 * together, is UTF-8 and the same however the text was cut into tokens: the first stop string to be
 * complete ends it, of two that are complete at the same byte the longer.
 */
#include "coordinator/text/detokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "proto/utf8.h"
#include "proto/utf8_check.h"

static enum status check_stops(const struct detokenizer_stop *stops, size_t stop_count,
                               size_t *bytes)
{
    if (stop_count > DETOKENIZER_STOPS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "%zu stop strings; at most %d are possible",
                    stop_count, DETOKENIZER_STOPS_MAX);
    for (size_t i = 0; i < stop_count; i++) {
        if (stops[i].bytes == 0 || stops[i].bytes > DETOKENIZER_STOP_BYTES_MAX)
            return fail(STATUS_INVALID_ARGUMENT,
                        "stop string %zu has %zu bytes; 1 to %d are possible", i + 1,
                        stops[i].bytes, DETOKENIZER_STOP_BYTES_MAX);
        TRY(utf8_check(stops[i].text, stops[i].bytes, "a stop string"));
        *bytes += stops[i].bytes;
    }
    return STATUS_OK;
}

enum status detokenizer_init(struct detokenizer *detokenizer, const struct tokenizer *tokenizer,
                             const struct detokenizer_stop *stops, size_t stop_count)
{
    size_t bytes = 0;
    TRY(check_stops(stops, stop_count, &bytes));
    struct detokenizer made = {.tokenizer = tokenizer, .stop_count = stop_count};
    made.stop_text = malloc(bytes + 1);
    if (!made.stop_text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for stop strings");
    char *place = made.stop_text;
    for (size_t i = 0; i < stop_count; i++) {
        memcpy(place, stops[i].text, stops[i].bytes);
        made.stop_bytes[i] = stops[i].bytes;
        place += stops[i].bytes;
    }
    *detokenizer = made;
    return STATUS_OK;
}

void detokenizer_deinit(struct detokenizer *detokenizer)
{
    free(detokenizer->stop_text);
    free(detokenizer->held);
    *detokenizer = (struct detokenizer){0};
}

/* Forgets what the last call gave out, and makes room for `more` bytes. */
static enum status make_room(struct detokenizer *detokenizer, size_t more)
{
    if (detokenizer->shown_bytes > 0) {
        detokenizer->held_bytes -= detokenizer->shown_bytes;
        memmove(detokenizer->held, detokenizer->held + detokenizer->shown_bytes,
                detokenizer->held_bytes);
        detokenizer->shown_bytes = 0;
    }
    size_t wanted = detokenizer->held_bytes + more;
    if (wanted <= detokenizer->held_capacity)
        return STATUS_OK;
    char *held = realloc(detokenizer->held, 2 * wanted);
    if (!held)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu bytes of answer", 2 * wanted);
    detokenizer->held = held;
    detokenizer->held_capacity = 2 * wanted;
    return STATUS_OK;
}

static void hold(struct detokenizer *detokenizer, const char *text, size_t bytes)
{
    memcpy(detokenizer->held + detokenizer->held_bytes, text, bytes);
    detokenizer->held_bytes += bytes;
}

/* Moves what is decided of `partial` to `held`: whole characters, and U+FFFD for what begins none
 * and for NUL. */
static void settle_partial(struct detokenizer *detokenizer)
{
    while (detokenizer->partial_bytes > 0) {
        int length = utf8_sequence(detokenizer->partial, detokenizer->partial_bytes);
        if (length == 0)
            return;
        size_t used = (size_t)(length > 0 ? length : -length);
        if (length > 0 && detokenizer->partial[0] != 0)
            hold(detokenizer, detokenizer->partial, used);
        else
            hold(detokenizer, UTF8_REPLACEMENT, strlen(UTF8_REPLACEMENT));
        detokenizer->partial_bytes -= used;
        memmove(detokenizer->partial, detokenizer->partial + used, detokenizer->partial_bytes);
    }
}

/* Finds the stop string that is complete first; returns where it starts, or held_bytes where there
 * is none. */
static size_t find_stop(const struct detokenizer *detokenizer)
{
    size_t first = detokenizer->held_bytes;
    size_t first_end = SIZE_MAX;
    const char *stop = detokenizer->stop_text;
    for (size_t i = 0; i < detokenizer->stop_count; i++) {
        size_t bytes = detokenizer->stop_bytes[i];
        const char *found = memmem(detokenizer->held, detokenizer->held_bytes, stop, bytes);
        stop += bytes;
        if (!found)
            continue;
        size_t start = (size_t)(found - detokenizer->held);
        if (start + bytes < first_end || (start + bytes == first_end && start < first)) {
            first = start;
            first_end = start + bytes;
        }
    }
    return first;
}

/* The length of the longest end of `held` with which a stop string could begin. */
static size_t undecided_bytes(const struct detokenizer *detokenizer)
{
    size_t longest = 0;
    const char *stop = detokenizer->stop_text;
    const char *end = detokenizer->held + detokenizer->held_bytes;
    for (size_t i = 0; i < detokenizer->stop_count; i++) {
        size_t bytes = detokenizer->stop_bytes[i] - 1;
        if (bytes > detokenizer->held_bytes)
            bytes = detokenizer->held_bytes;
        while (bytes > longest && memcmp(end - bytes, stop, bytes) != 0)
            bytes--;
        if (bytes > longest)
            longest = bytes;
        stop += detokenizer->stop_bytes[i];
    }
    return longest;
}

static struct detokenizer_piece give(struct detokenizer *detokenizer, size_t held_back)
{
    detokenizer->shown_bytes = detokenizer->held_bytes - held_back;
    return (struct detokenizer_piece){.text = detokenizer->held ? detokenizer->held : "",
                                      .bytes = detokenizer->shown_bytes,
                                      .stopped = detokenizer->stopped};
}

/* Cuts at a stop string; true where there was one. */
static bool cut_at_stop(struct detokenizer *detokenizer)
{
    if (detokenizer->held_bytes == 0)
        return false;
    size_t start = find_stop(detokenizer);
    if (start == detokenizer->held_bytes)
        return false;
    detokenizer->held_bytes = start;
    detokenizer->partial_bytes = 0;
    detokenizer->stopped = true;
    return true;
}

enum status detokenizer_feed(struct detokenizer *detokenizer, struct detokenizer_piece *piece,
                             int32_t id)
{
    if (id < 0 || id >= tokenizer_count(detokenizer->tokenizer))
        return fail(STATUS_INVALID_ARGUMENT, "token %d is not in the vocabulary of %d", id,
                    tokenizer_count(detokenizer->tokenizer));
    size_t bytes;
    const char *text = tokenizer_token(detokenizer->tokenizer, id, &bytes);
    if (detokenizer->stopped || tokenizer_is_control(detokenizer->tokenizer, id))
        bytes = 0;
    /* Each byte can turn into one U+FFFD of 3 bytes, and so can one that was waiting. */
    TRY(make_room(detokenizer, 3 * (bytes + 1)));
    for (size_t i = 0; i < bytes; i++) {
        detokenizer->partial[detokenizer->partial_bytes++] = text[i];
        settle_partial(detokenizer);
    }
    size_t held_back = 0;
    if (!detokenizer->stopped && !cut_at_stop(detokenizer))
        held_back = undecided_bytes(detokenizer);
    *piece = give(detokenizer, held_back);
    return STATUS_OK;
}

enum status detokenizer_end(struct detokenizer *detokenizer, struct detokenizer_piece *piece)
{
    TRY(make_room(detokenizer, strlen(UTF8_REPLACEMENT)));
    if (!detokenizer->stopped && detokenizer->partial_bytes > 0) {
        hold(detokenizer, UTF8_REPLACEMENT, strlen(UTF8_REPLACEMENT));
        detokenizer->partial_bytes = 0;
        cut_at_stop(detokenizer);
    }
    *piece = give(detokenizer, 0);
    return STATUS_OK;
}

/* ---- a whole text ---- */

struct whole_text {
    char *bytes; /* [room] */
    size_t count, room, most;
};

static enum status append_piece(struct whole_text *text, const struct detokenizer_piece *piece)
{
    if (piece->bytes > text->most - text->count)
        return fail(STATUS_OUT_OF_RANGE,
                    "the text of these tokens has more than %zu bytes: send fewer at a time",
                    text->most);
    const size_t wanted = text->count + piece->bytes + 1;
    if (wanted > text->room) {
        char *longer = realloc(text->bytes, 2 * wanted);
        if (!longer)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu bytes of text", 2 * wanted);
        text->bytes = longer;
        text->room = 2 * wanted;
    }
    memcpy(text->bytes + text->count, piece->text, piece->bytes);
    text->count += piece->bytes;
    text->bytes[text->count] = 0;
    return STATUS_OK;
}

/* Of the first piece of a text: the space that stands for its beginning. */
static void skip_space(struct detokenizer_piece *piece, const struct tokenizer *tokenizer)
{
    size_t skipped = tokenizer_strips_space(tokenizer) && piece->text[0] == ' ';
    piece->text += skipped;
    piece->bytes -= skipped;
}

enum status detokenizer_text(char **text, const struct tokenizer *tokenizer, const int32_t *ids,
                             size_t count, size_t bytes_most)
{
    enum status status = STATUS_OK;
    struct detokenizer detokenizer;
    struct detokenizer_piece piece;
    struct whole_text whole = {.most = bytes_most};
    bool begun = false;
    TRY(detokenizer_init(&detokenizer, tokenizer, NULL, 0));
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= tokenizer_count(tokenizer))
            TRY_ELSE(fail(STATUS_INVALID_ARGUMENT,
                          "token_ids[%zu] is %d; must be between 0 and %d, the vocabulary's last",
                          i, ids[i], tokenizer_count(tokenizer) - 1),
                     deinit);
        TRY_ELSE(detokenizer_feed(&detokenizer, &piece, ids[i]), deinit);
        if (!begun && piece.bytes > 0) {
            begun = true;
            skip_space(&piece, tokenizer);
        }
        TRY_ELSE(append_piece(&whole, &piece), deinit);
    }
    TRY_ELSE(detokenizer_end(&detokenizer, &piece), deinit);
    TRY_ELSE(append_piece(&whole, &piece), deinit);
    *text = whole.bytes;
    whole.bytes = NULL;
deinit:
    free(whole.bytes);
    detokenizer_deinit(&detokenizer);
    return status;
}
