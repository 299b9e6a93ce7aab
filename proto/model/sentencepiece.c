/* Owns the reading of a SentencePiece model. Promises that nothing of the message that shapes ids
 * goes unread: it is followed or refused by its name. */
#include "proto/model/sentencepiece.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/cursor.h"
#include "proto/model/spec.h"

/* How a field's value is written. */
enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

enum { VARINT_BYTES_MAX = 10, FIELD_MAX = (1 << 29) - 1 };

/* Of ModelProto. */
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3, MODEL_DENORMALIZER = 5 };
/* Of a piece. */
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
/* Of TrainerSpec; of the kinds of model, BPE. */
enum {
    TRAINER_KIND = 3,
    TRAINER_SPACE_AS_SUFFIX = 24,
    TRAINER_BYTE_FALLBACK = 35,
    TRAINER_UNKNOWN = 40,
    TRAINER_BOS = 41,
    TRAINER_EOS = 42,
    TRAINER_PADDING = 43,
    KIND_BPE = 2,
};
/* Of NormalizerSpec. */
enum {
    NORMALIZER_NAME = 1,
    NORMALIZER_MAP = 2,
    NORMALIZER_PREFIX = 3,
    NORMALIZER_FEWER_SPACES = 4,
    NORMALIZER_ESCAPE = 5,
    NORMALIZER_RULES = 6,
};

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value;       /* of all but WIRE_BYTES, whose number of bytes it is */
    struct cursor inside; /* of WIRE_BYTES */
};

/* What the specifications say; the first values are those of a field that is absent. */
struct facts {
    int64_t kind;
    bool byte_fallback;
    bool space_as_suffix;
    bool prefix;
    bool fewer_spaces;
    bool escapes;
    bool has_map;
    bool rewrites_output; /* what is made of ids is put through a map */
    struct text_view map_name;
    int64_t unknown;
    int64_t bos;
    int64_t eos;
    int64_t padding;
};

static enum status read_varint(struct cursor *cursor, uint64_t *value)
{
    size_t start = cursor->offset;
    *value = 0;
    for (int i = 0; i < VARINT_BYTES_MAX; i++) {
        const uint8_t *byte;
        TRY(cursor_take(cursor, &byte, 1, "a number"));
        *value |= (uint64_t)(*byte & 0x7F) << (7 * i < 63 ? 7 * i : 63);
        if (!(*byte & 0x80))
            return STATUS_OK;
    }
    return cursor_fail(cursor, start, STATUS_DATA_LOSS, "varint", "a number has no end");
}

static enum status read_field(struct cursor *cursor, struct field *field)
{
    uint64_t key;
    uint32_t low;
    size_t start = cursor->offset;
    TRY(read_varint(cursor, &key));
    field->number = key >> 3 <= FIELD_MAX ? (uint32_t)(key >> 3) : 0;
    field->wire = (enum wire)(key & 7);
    if (field->number == 0)
        return cursor_fail(cursor, start, STATUS_DATA_LOSS, "field", "no such field number");
    switch (field->wire) {
    case WIRE_VARINT:
        return read_varint(cursor, &field->value);
    case WIRE_64:
        return cursor_u64(cursor, &field->value, "a field of 8 bytes");
    case WIRE_32:
        TRY(cursor_u32(cursor, &low, "a field of 4 bytes"));
        field->value = low;
        return STATUS_OK;
    case WIRE_BYTES:
        break;
    default:
        return cursor_fail(cursor, start, STATUS_DATA_LOSS, "field", "unknown type %d",
                           (int)field->wire);
    }
    TRY(read_varint(cursor, &field->value));
    start = cursor->offset;
    const uint8_t *view;
    TRY(cursor_take(cursor, &view, field->value, "a field"));
    /* The offsets of sentences stay those of the file. */
    field->inside = (struct cursor){cursor->data, cursor->offset, start, cursor->name};
    return STATUS_OK;
}

static struct text_view text_of(const struct field *field)
{
    return (struct text_view){(const char *)field->inside.data + field->inside.offset,
                              cursor_left(&field->inside)};
}

static enum status expect(const struct cursor *cursor, const struct field *field, enum wire wire)
{
    if (field->wire == wire)
        return STATUS_OK;
    return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "field",
                       "field %u is of type %d, not %d", field->number, (int)field->wire,
                       (int)wire);
}

/* ---- pieces ---- */

static enum status read_piece(struct cursor piece, struct vocab_token *token, float *score)
{
    struct field field;
    const size_t start = piece.offset;
    *token = (struct vocab_token){"", 0, VOCAB_NORMAL, 0};
    *score = 0;
    while (cursor_left(&piece) > 0) {
        TRY(read_field(&piece, &field));
        if (field.number == PIECE_TEXT) {
            TRY(expect(&piece, &field, WIRE_BYTES));
            token->text = text_of(&field).text;
            token->bytes = text_of(&field).bytes;
        } else if (field.number == PIECE_SCORE) {
            uint32_t bits = (uint32_t)field.value;
            TRY(expect(&piece, &field, WIRE_32));
            memcpy(score, &bits, sizeof bits);
        } else if (field.number == PIECE_TYPE) {
            TRY(expect(&piece, &field, WIRE_VARINT));
            if (field.value < VOCAB_NORMAL || field.value > VOCAB_BYTE)
                return cursor_fail(&piece, start, STATUS_DATA_LOSS, "piece-type",
                                   "a piece of type %llu; %d .. %d are known",
                                   (unsigned long long)field.value, VOCAB_NORMAL, VOCAB_BYTE);
            token->type = (enum vocab_type)field.value;
        }
    }
    if (token->type == VOCAB_USER_DEFINED)
        token->match = VOCAB_IN_STEPPED;
    if (token->bytes == 0 || !cursor_is_utf8((const uint8_t *)token->text, token->bytes))
        return cursor_fail(&piece, start, STATUS_DATA_LOSS, "piece",
                           "a piece without text, or with one that is no UTF-8");
    if (!isfinite(*score))
        return cursor_fail(&piece, start, STATUS_DATA_LOSS, "piece", "a score that is no number");
    return STATUS_OK;
}

static enum status count_pieces(struct cursor file, int32_t *count)
{
    struct field field;
    *count = 0;
    while (cursor_left(&file) > 0) {
        TRY(read_field(&file, &field));
        *count += field.number == MODEL_PIECES;
        if (*count > MODEL_VOCAB_MAX)
            return cursor_fail(&file, file.offset, STATUS_DATA_LOSS, "vocab", "more than %d pieces",
                               MODEL_VOCAB_MAX);
    }
    return STATUS_OK;
}

static enum status read_pieces(struct vocab_parts *parts, struct cursor file)
{
    struct field field;
    int32_t id = 0;
    while (cursor_left(&file) > 0) {
        TRY(read_field(&file, &field));
        if (field.number != MODEL_PIECES)
            continue;
        TRY(expect(&file, &field, WIRE_BYTES));
        TRY(read_piece(field.inside, &parts->tokens[id], &parts->scores[id]));
        id++;
    }
    for (; id < parts->count; id++)
        parts->tokens[id] = (struct vocab_token){"", 0, VOCAB_UNUSED, 0};
    return STATUS_OK;
}

/* ---- specifications ---- */

static enum status read_trainer(struct facts *facts, struct cursor trainer)
{
    struct field field;
    while (cursor_left(&trainer) > 0) {
        TRY(read_field(&trainer, &field));
        /* An int32 that is negative is written as 64 bits. */
        int64_t value = (int64_t)field.value;
        if (field.number == TRAINER_KIND)
            facts->kind = value;
        else if (field.number == TRAINER_SPACE_AS_SUFFIX)
            facts->space_as_suffix = value != 0;
        else if (field.number == TRAINER_BYTE_FALLBACK)
            facts->byte_fallback = value != 0;
        else if (field.number == TRAINER_UNKNOWN)
            facts->unknown = value;
        else if (field.number == TRAINER_BOS)
            facts->bos = value;
        else if (field.number == TRAINER_EOS)
            facts->eos = value;
        else if (field.number == TRAINER_PADDING)
            facts->padding = value;
        else
            continue;
        TRY(expect(&trainer, &field, WIRE_VARINT));
    }
    return STATUS_OK;
}

static enum status read_normalizer(struct facts *facts, struct cursor normalizer)
{
    struct field field;
    while (cursor_left(&normalizer) > 0) {
        TRY(read_field(&normalizer, &field));
        bool *flag = NULL;
        if (field.number == NORMALIZER_PREFIX)
            flag = &facts->prefix;
        else if (field.number == NORMALIZER_FEWER_SPACES)
            flag = &facts->fewer_spaces;
        else if (field.number == NORMALIZER_ESCAPE)
            flag = &facts->escapes;
        if (flag) {
            TRY(expect(&normalizer, &field, WIRE_VARINT));
            *flag = field.value != 0;
        } else if (field.number == NORMALIZER_NAME) {
            TRY(expect(&normalizer, &field, WIRE_BYTES));
            facts->map_name = text_of(&field);
        } else if (field.number == NORMALIZER_MAP || field.number == NORMALIZER_RULES) {
            facts->has_map |= field.value > 0;
        }
    }
    return STATUS_OK;
}

static enum status read_specifications(struct facts *facts, struct cursor file)
{
    struct field field;
    while (cursor_left(&file) > 0) {
        TRY(read_field(&file, &field));
        if (field.number != MODEL_TRAINER && field.number != MODEL_NORMALIZER &&
            field.number != MODEL_DENORMALIZER)
            continue;
        TRY(expect(&file, &field, WIRE_BYTES));
        if (field.number == MODEL_TRAINER) {
            TRY(read_trainer(facts, field.inside));
        } else if (field.number == MODEL_NORMALIZER) {
            TRY(read_normalizer(facts, field.inside));
        } else {
            struct facts of_output = {0};
            TRY(read_normalizer(&of_output, field.inside));
            facts->rewrites_output = of_output.has_map;
        }
    }
    return STATUS_OK;
}

static enum status refuse(const struct cursor *file, const char *what)
{
    return fail(STATUS_UNIMPLEMENTED, "%s: %s is not supported [tokenizer-model]", file->name,
                what);
}

static enum status check_facts(const struct facts *facts, const struct cursor *file)
{
    if (facts->kind != KIND_BPE)
        return refuse(file, "a SentencePiece model other than BPE (trainer_spec.model_type)");
    if (!facts->byte_fallback)
        return refuse(file, "BPE without byte fallback (trainer_spec.byte_fallback)");
    if (facts->space_as_suffix)
        return refuse(file, "trainer_spec.treat_whitespace_as_suffix");
    if (facts->has_map)
        return fail(STATUS_UNIMPLEMENTED,
                    "%s: the normalization \"%.*s\" (normalizer_spec) is not supported; known: "
                    "identity [tokenizer-model]",
                    file->name, (int)(facts->map_name.bytes < 64 ? facts->map_name.bytes : 64),
                    facts->map_name.text);
    if (facts->rewrites_output)
        return refuse(file, "a map in denormalizer_spec");
    if (facts->fewer_spaces)
        return refuse(file, "normalizer_spec.remove_extra_whitespaces");
    return facts->escapes ? STATUS_OK
                          : refuse(file, "a model without normalizer_spec.escape_whitespaces");
}

/* -1 says that there is none. */
static enum status take_special(int32_t *id, int64_t value, int32_t count, const char *what,
                                const struct cursor *file)
{
    if (value >= count)
        return fail(STATUS_DATA_LOSS,
                    "%s: trainer_spec.%s is %lld; 0 .. %d are there "
                    "[special-token]",
                    file->name, what, (long long)value, count - 1);
    *id = value < 0 ? -1 : (int32_t)value;
    return STATUS_OK;
}

static enum status take_facts(struct vocab_parts *parts, const struct facts *facts,
                              const struct cursor *file, int32_t pieces)
{
    struct vocab_special *special = &parts->special;
    TRY(take_special(&special->unknown, facts->unknown, pieces, "unk_id", file));
    TRY(take_special(&special->bos, facts->bos, pieces, "bos_id", file));
    TRY(take_special(&special->eos, facts->eos, pieces, "eos_id", file));
    TRY(take_special(&special->padding, facts->padding, pieces, "pad_id", file));
    parts->kind = text_view_of("llama");
    parts->add_space_prefix = facts->prefix ? VOCAB_FLAG_ON : VOCAB_FLAG_OFF;
    vocab_parts_spaces(parts, facts->prefix);
    return STATUS_OK;
}

enum status sentencepiece_read(struct vocab_parts *parts, const void *data, size_t bytes,
                               const char *name, int32_t count, int32_t at_least)
{
    const struct cursor file = {data, bytes, 0, name};
    struct facts facts = {.kind = 1,
                          .prefix = true,
                          .fewer_spaces = true,
                          .escapes = true,
                          .map_name = text_view_of(""),
                          .unknown = 0,
                          .bos = 1,
                          .eos = 2,
                          .padding = -1};
    int32_t pieces;
    if (bytes > SENTENCEPIECE_BYTES_MAX)
        return fail(STATUS_DATA_LOSS, "%s has %zu bytes; at most %d are allowed [bytes]", name,
                    bytes, SENTENCEPIECE_BYTES_MAX);
    if (bytes == 0 || ((const uint8_t *)data)[0] != (MODEL_PIECES << 3 | WIRE_BYTES))
        return fail(STATUS_UNIMPLEMENTED,
                    "%s is no SentencePiece model; put the model's tokenizer.json beside it "
                    "[tokenizer-model]",
                    name);
    TRY(count_pieces(file, &pieces));
    TRY(read_specifications(&facts, file));
    TRY(check_facts(&facts, &file));
    if (count > 0 && count < pieces)
        return fail(STATUS_DATA_LOSS, "%s has %d pieces; the model has %d rows [vocab]", name,
                    pieces, count);
    parts->count = count > 0 ? count : pieces > at_least ? pieces : at_least;
    parts->tokens = calloc((size_t)parts->count, sizeof *parts->tokens);
    parts->scores = calloc((size_t)parts->count, sizeof *parts->scores);
    if (!parts->tokens || !parts->scores)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d tokens", parts->count);
    TRY(read_pieces(parts, file));
    return take_facts(parts, &facts, &file, pieces);
}
