/* Owns the recognition of a tokenizer.json's normalizer and decoder. Promises that a step is known
 * by every key that it has, or refused by its name. */
#include "proto/model/tokenizer_steps.h"

#include "proto/model/json_step.h"

#define SPACE "\u2581"

static bool is_plain(const json_t *step, const char *type)
{
    static const char *const known[] = {"type", NULL};
    return json_step_has_type(step, type) && json_step_has_keys(step, known);
}

/* A text that is not too long. */
static bool read_text(struct text_view *text, const json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) > VOCAB_STEP_BYTES_MAX)
        return false;
    *text = json_place_view(value);
    return true;
}

static bool read_prepend(struct vocab_step *made, const json_t *step)
{
    static const char *const known[] = {"type", "prepend", NULL};
    made->kind = VOCAB_STEP_PREPEND;
    return json_step_has_type(step, "Prepend") && json_step_has_keys(step, known) &&
           read_text(&made->to, json_object_get(step, "prepend"));
}

/* Of one text by another, not by a regular expression. */
static bool read_replace(struct vocab_step *made, const json_t *step)
{
    static const char *const known[] = {"type", "pattern", "content", NULL};
    const json_t *pattern = json_object_get(step, "pattern");
    made->kind = VOCAB_STEP_REPLACE;
    return json_step_has_type(step, "Replace") && json_step_has_keys(step, known) &&
           json_object_size(pattern) == 1 &&
           read_text(&made->from, json_object_get(pattern, "String")) && made->from.bytes > 0 &&
           read_text(&made->to, json_object_get(step, "content"));
}

static bool read_step(struct vocab_step *made, const json_t *step)
{
    static const struct {
        const char *type;
        enum vocab_step_kind kind;
    } plain[] = {
        {"NFC", VOCAB_STEP_NFC}, {"NFKC", VOCAB_STEP_NFKC}, {"Lowercase", VOCAB_STEP_LOWERCASE}};
    *made = (struct vocab_step){.from = text_view_of(""), .to = text_view_of("")};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (is_plain(step, plain[i].type)) {
            made->kind = plain[i].kind;
            return true;
        }
    return read_prepend(made, step) || read_replace(made, step);
}

static enum status read_normalizer(struct tokenizer_steps *steps, const struct json_place *root)
{
    static const char known[] =
        "null, NFC, NFKC, Lowercase, Prepend, Replace of a String, and a Sequence of up to 16 of "
        "them, with texts of up to 64 bytes";
    const json_t *normalizer = json_place_get(root, "normalizer");
    const json_t *list;
    size_t count = json_step_count(normalizer, "normalizers", &list);
    for (size_t i = 0; i < count; i++) {
        if (i == VOCAB_STEPS_MAX || !read_step(&steps->steps[i], json_step_at(normalizer, list, i)))
            return json_step_refuse(root, "normalizer", "normalizers", known);
        const struct vocab_step *step = &steps->steps[i];
        steps->hides_spaces |= step->kind == VOCAB_STEP_REPLACE && text_view_is(step->from, " ");
    }
    steps->count = (int)count;
    steps->nfc = count == 1 && steps->steps[0].kind == VOCAB_STEP_NFC;
    if (steps->nfc)
        steps->count = 0;
    return STATUS_OK;
}

static bool is_space_decoder(const json_t *step)
{
    struct vocab_step made;
    return read_replace(&made, step) && text_view_is(made.from, SPACE) &&
           text_view_is(made.to, " ");
}

/* Of at most one space at the beginning. */
static bool read_strip(bool *strips, const json_t *step)
{
    static const char *const known[] = {"type", "content", "start", "stop", NULL};
    int64_t start;
    int64_t stop;
    if (!json_step_has_type(step, "Strip") || !json_step_has_keys(step, known) ||
        !json_step_text_is(json_object_get(step, "content"), " ") ||
        !json_place_whole(json_object_get(step, "start"), &start) || start < 0 || start > 1 ||
        !json_place_whole(json_object_get(step, "stop"), &stop) || stop != 0)
        return false;
    *strips = start == 1;
    return true;
}

static bool is_byte_level(const json_t *decoder)
{
    const json_t *list;
    return json_step_count(decoder, "decoders", &list) == 1 &&
           json_step_has_type(json_step_at(decoder, list, 0), "ByteLevel");
}

/* Spaces, bytes, one text, and off with the first space. */
static bool read_pieces(struct tokenizer_steps *steps, const json_t *decoder)
{
    const json_t *list;
    size_t count = json_step_count(decoder, "decoders", &list);
    if (!list || count < 3 || count > 4)
        return false;
    steps->is_pieces = true;
    return is_space_decoder(json_array_get(list, 0)) &&
           is_plain(json_array_get(list, 1), "ByteFallback") &&
           is_plain(json_array_get(list, 2), "Fuse") &&
           (count == 3 || read_strip(&steps->strips_space, json_array_get(list, 3)));
}

enum status tokenizer_steps_read(struct tokenizer_steps *steps, const struct json_place *root)
{
    struct tokenizer_steps read = {.count = 0};
    const json_t *decoder = json_place_get(root, "decoder");
    TRY(read_normalizer(&read, root));
    if (!is_byte_level(decoder) && !read_pieces(&read, decoder))
        return json_step_refuse(root, "decoder", "decoders",
                                "ByteLevel, and a Sequence of Replace of U+2581 by a space, "
                                "ByteFallback, Fuse and Strip of one space at the beginning");
    *steps = read;
    return STATUS_OK;
}
