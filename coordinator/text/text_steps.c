/* Owns the steps of a tokenizer's normalizer. Promises time linear in the text for each of them. */
#include "coordinator/text/text_steps.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { CAPITAL_I_WITH_DOT = 0x130, LOWER_BYTES_MAX = 4 };

struct text_steps {
    struct vocab_step steps[VOCAB_STEPS_MAX]; /* views into texts */
    int count;
    char texts[];
};

enum status text_steps_create(struct text_steps **created, const struct vocab_step *steps,
                              int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += steps[i].from.bytes + steps[i].to.bytes;
    struct text_steps *made = calloc(1, sizeof *made + bytes + 1);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the steps of a tokenizer");
    char *place = made->texts;
    for (int i = 0; i < count; i++) {
        struct vocab_step *step = &made->steps[i];
        *step = steps[i];
        struct text_view *const views[] = {&step->from, &step->to};
        for (int side = 0; side < 2; side++) {
            if (views[side]->bytes > 0)
                memcpy(place, views[side]->text, views[side]->bytes);
            views[side]->text = place;
            place += views[side]->bytes;
        }
    }
    made->count = count;
    *created = made;
    return STATUS_OK;
}

void text_steps_destroy(struct text_steps *steps)
{
    free(steps);
}

size_t text_steps_shrink_by(const struct text_steps *steps)
{
    size_t shrinks_by = 1;
    for (int i = 0; i < steps->count; i++) {
        const struct vocab_step *step = &steps->steps[i];
        if (step->kind == VOCAB_STEP_NFC)
            shrinks_by *= NFC_SHRINKS_BY;
        else if (step->kind == VOCAB_STEP_NFKC || step->kind == VOCAB_STEP_LOWERCASE ||
                 (step->kind == VOCAB_STEP_REPLACE && step->to.bytes < step->from.bytes))
            return 0;
    }
    return shrinks_by;
}

/* Where a step writes: its count is at most `bytes_max`. */
struct text_output {
    struct text_buffer *buffer;
    size_t bytes_max;
};

/* The limit goes first: a text that grows past it takes no memory beyond. */
static enum status append(struct text_output *out, const char *text, size_t bytes)
{
    struct text_buffer *buffer = out->buffer;
    if (bytes > out->bytes_max - buffer->count)
        return fail(STATUS_OUT_OF_RANGE,
                    "the tokenizer makes more than %zu bytes of a text, which is the limit",
                    out->bytes_max);
    if (buffer->count + bytes > buffer->capacity) {
        size_t capacity = 2 * (buffer->count + bytes);
        char *larger = realloc(buffer->bytes, capacity);
        if (!larger)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu bytes of a text", capacity);
        buffer->bytes = larger;
        buffer->capacity = capacity;
    }
    if (bytes > 0)
        memcpy(buffer->bytes + buffer->count, text, bytes);
    buffer->count += bytes;
    return STATUS_OK;
}

static enum status replace(struct text_output *out, const struct vocab_step *step, const char *text,
                           size_t bytes)
{
    size_t place = 0;
    for (;;) {
        const char *found =
            place < bytes ? memmem(text + place, bytes - place, step->from.text, step->from.bytes)
                          : NULL;
        size_t end = found ? (size_t)(found - text) : bytes;
        TRY(append(out, text + place, end - place));
        if (!found)
            return STATUS_OK;
        TRY(append(out, step->to.text, step->to.bytes));
        place = end + step->from.bytes;
    }
}

/* What utf8proc 2.8, with Unicode 15, leaves as it is and the oracle does not. */
static const struct {
    int32_t first;
    int32_t last;
    int32_t lower; /* of `first` */
} late_capitals[] = {
    {0x1c89, 0x1c89, 0x1c8a},    {0xa7cb, 0xa7cb, 0x0264}, {0xa7cc, 0xa7cc, 0xa7cd},
    {0xa7ce, 0xa7ce, 0xa7cf},    {0xa7d2, 0xa7d2, 0xa7d3}, {0xa7d4, 0xa7d4, 0xa7d5},
    {0xa7da, 0xa7da, 0xa7db},    {0xa7dc, 0xa7dc, 0x019b}, {0x10d50, 0x10d65, 0x10d70},
    {0x16ea0, 0x16eb8, 0x16ebb},
};

static int32_t lower_of(int32_t point)
{
    for (size_t i = 0; i < sizeof late_capitals / sizeof late_capitals[0]; i++)
        if (point >= late_capitals[i].first && point <= late_capitals[i].last)
            return point - late_capitals[i].first + late_capitals[i].lower;
    return utf8proc_tolower(point);
}

/* Character by character, without regard to what stands around it. */
static enum status lower(struct text_output *out, const char *text, size_t bytes)
{
    for (size_t place = 0; place < bytes;) {
        int32_t point;
        uint8_t encoded[LOWER_BYTES_MAX];
        utf8proc_ssize_t length = utf8proc_iterate((const uint8_t *)text + place,
                                                   (utf8proc_ssize_t)(bytes - place), &point);
        if (length <= 0)
            return fail(STATUS_INTERNAL, "a text that was checked is no UTF-8 at byte %zu", place);
        place += (size_t)length;
        if (point == CAPITAL_I_WITH_DOT) {
            TRY(append(out, "i\u0307", 3));
            continue;
        }
        length = utf8proc_encode_char(lower_of(point), encoded);
        TRY(append(out, (const char *)encoded, (size_t)length));
    }
    return STATUS_OK;
}

static enum status apply(const struct vocab_step *step, struct text_output *out, const char *text,
                         size_t bytes)
{
    switch (step->kind) {
    case VOCAB_STEP_PREPEND:
        if (bytes > 0)
            TRY(append(out, step->to.text, step->to.bytes));
        return append(out, text, bytes);
    case VOCAB_STEP_REPLACE:
        return replace(out, step, text, bytes);
    case VOCAB_STEP_LOWERCASE:
        return lower(out, text, bytes);
    case VOCAB_STEP_NFC:
    case VOCAB_STEP_NFKC:
        break;
    }
    return fail(STATUS_INTERNAL, "a step of a tokenizer that nothing carries out");
}

enum status text_steps_apply(const struct text_steps *steps, struct text_steps_scratch *scratch,
                             const char **text, size_t *bytes, size_t bytes_max)
{
    for (int i = 0; i < steps->count; i++) {
        const struct vocab_step *step = &steps->steps[i];
        struct text_buffer *made = &scratch->buffers[*text == scratch->buffers[0].bytes];
        struct text_output out = {made, bytes_max};
        made->count = 0;
        if (step->kind == VOCAB_STEP_NFC || step->kind == VOCAB_STEP_NFKC) {
            const char *normal;
            size_t normal_bytes;
            TRY(nfc_normalise(&scratch->nfc, &normal, &normal_bytes, *text, *bytes,
                              step->kind == VOCAB_STEP_NFKC));
            TRY(append(&out, normal, normal_bytes));
        } else {
            TRY(apply(step, &out, *text, *bytes));
        }
        *text = made->bytes ? made->bytes : "";
        *bytes = made->count;
    }
    return STATUS_OK;
}

void text_steps_scratch_deinit(struct text_steps_scratch *scratch)
{
    nfc_deinit(&scratch->nfc);
    free(scratch->buffers[0].bytes);
    free(scratch->buffers[1].bytes);
    *scratch = (struct text_steps_scratch){0};
}
