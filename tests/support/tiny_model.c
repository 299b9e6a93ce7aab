/* Owns the making of small random models. Promises weights whose spread keeps activations near one
 * and attention peaked enough that a wrong key or a wrong rotation shows.
 */
#include "tests/support/tiny_model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/model/architecture.h"
#include "proto/model/ggml_type.h"
#include "proto/model/model_role.h"
#include "tests/support/quantize.h"
#include "tests/support/random.h"

enum { ALIGNMENT = 32 };

static const char chat_template[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static const char *const merges[TINY_MODEL_VOCAB_MIN - TINY_MODEL_BYTE_0 - 256] = {
    "\u0120 t", "h e", "\u0120t he", "i n", "e r", "\u0120 a",
};

static const enum dtype mixed_dtypes[] = {DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_Q5_0,
                                          DTYPE_Q5_1};

enum { MIXED_COUNT = sizeof mixed_dtypes / sizeof mixed_dtypes[0] };

enum { MERGE_COUNT = sizeof merges / sizeof merges[0] };

struct tensor {
    enum model_role role; /* MODEL_ROLE_COUNT: none */
    int layer;
    char name[MODEL_ROLE_NAME_BYTES];
    int64_t columns;
    int64_t rows; /* 0: one dimension, F32 */
    enum dtype dtype;
    float centre;
    float spread; /* standard deviation */
    float step;   /* from element to element, of a vector without spread */
};

struct tensors {
    struct tensor *list;
    int count;
};

static void add(struct tensors *tensors, struct tensor tensor)
{
    tensors->list[tensors->count++] = tensor;
}

/* How far a matrix spreads what it multiplies: 1 keeps the spread of the input. */
static float gain_of(enum model_role role, int hidden)
{
    switch (role) {
    case MODEL_TOKEN_EMBD:
        return sqrtf((float)hidden) / 2;
    case MODEL_OUTPUT:
        return 3;
    case MODEL_ATTN_Q:
    case MODEL_ATTN_K:
        return 1.5f;
    default:
        return 1;
    }
}

static bool is_bias(const char *name)
{
    return strcmp(name + strlen(name) - 5, ".bias") == 0;
}

static struct tensor tensor_of(const struct model_spec *spec, enum model_role role, int layer,
                               enum dtype dtype)
{
    const struct model_role_shape shape = model_role_shape(spec, role);
    const struct model_role_place place = model_role_place(spec, role, layer, true);
    struct tensor tensor = {
        .role = role, .layer = layer, .columns = shape.columns, .dtype = DTYPE_F32, .spread = 0.1f};
    memcpy(tensor.name, place.name, sizeof place.name);
    if (!shape.is_vector) {
        const float gain = place.rows == shape.rows ? gain_of(role, spec->hidden) : 1;
        tensor.rows = place.rows;
        tensor.dtype = dtype;
        tensor.spread = gain / sqrtf((float)shape.columns);
    } else if (!is_bias(tensor.name)) {
        tensor.centre = 1;
    }
    return tensor;
}

static const struct architecture *architecture_of(const struct tiny_model_shape *shape)
{
    const struct architecture *found = architecture_of_gguf(text_view_of(shape->architecture));
    assert(found);
    return found;
}

/* What the table of roles asks of the shape. */
static struct model_spec spec_of(const struct tiny_model_shape *shape)
{
    struct model_spec spec = {.hidden = shape->hidden,
                              .heads = shape->heads,
                              .kv_heads = shape->kv_heads,
                              .head_dim = shape->head_dim,
                              .ffn = shape->ffn,
                              .vocab = shape->vocab,
                              .qkv_bias = shape->qkv_bias,
                              .output_bias = shape->output_bias,
                              .mlp_bias = shape->mlp_bias,
                              .qk_norm = shape->qk_norm};
    architecture_set_facts(architecture_of(shape), &spec);
    return spec;
}

static void add_layer(struct tensors *tensors, const struct tiny_model_shape *shape, int layer,
                      enum dtype dtype)
{
    const struct model_spec spec = spec_of(shape);
    int first = tensors->count;
    for (int role = MODEL_ATTN_NORM; role < MODEL_ROLE_COUNT; role++) {
        if (!model_role_is_there(&spec, (enum model_role)role) ||
            model_role_place(&spec, (enum model_role)role, layer, true).first > 0)
            continue;
        struct tensor tensor = tensor_of(&spec, (enum model_role)role, layer, dtype);
        if (shape->mixed && tensor.rows > 0)
            tensor.dtype = mixed_dtypes[(tensors->count - first + layer) % MIXED_COUNT];
        add(tensors, tensor);
    }
}

static struct tensor rope_factors(int head_dim)
{
    return (struct tensor){.role = MODEL_ROLE_COUNT,
                           .name = "rope_freqs.weight",
                           .columns = head_dim / 2,
                           .dtype = DTYPE_F32,
                           .centre = 4,
                           .spread = 0.1f};
}

static struct tensor long_rope(const char *name, const struct tiny_model_shape *shape, float first,
                               float step)
{
    struct tensor tensor = rope_factors(shape->rotated_dim ? shape->rotated_dim : shape->head_dim);
    snprintf(tensor.name, sizeof tensor.name, "%s", name);
    tensor.centre = first;
    tensor.spread = 0;
    tensor.step = step;
    return tensor;
}

static struct tensors list_tensors(const struct tiny_model_shape *shape, enum dtype dtype)
{
    const struct model_spec spec = spec_of(shape);
    enum dtype outer = shape->mixed ? DTYPE_Q6_K : dtype;
    size_t room = (size_t)shape->layers * MODEL_ROLE_COUNT + 6;
    struct tensors tensors = {calloc(room, sizeof(struct tensor)), 0};
    assert(tensors.list);
    if (shape->rope_factors)
        add(&tensors, rope_factors(shape->head_dim));
    if (shape->long_rope) {
        add(&tensors, long_rope("rope_factors_short.weight", shape, 1, 0.125f));
        add(&tensors, long_rope("rope_factors_long.weight", shape, 2, 1));
    }
    add(&tensors, tensor_of(&spec, MODEL_TOKEN_EMBD, 0, outer));
    for (int layer = 0; layer < shape->layers; layer++)
        add_layer(&tensors, shape, layer, dtype);
    add(&tensors, tensor_of(&spec, MODEL_OUTPUT_NORM, 0, outer));
    if (shape->untied)
        add(&tensors, tensor_of(&spec, MODEL_OUTPUT, 0, outer));
    for (int i = 0; shape->bf16_norms && i < tensors.count; i++)
        if (tensors.list[i].rows == 0 && tensors.list[i].role != MODEL_ROLE_COUNT)
            tensors.list[i].dtype = DTYPE_BF16;
    return tensors;
}

/* The sum of three uniform numbers: mean 0, variance 1, and the same bits on every machine. */
static float next_weight(struct random *random)
{
    return random_float(random) + random_float(random) + random_float(random);
}

/* FNV-1a of a tensor's name in safetensors. */
static uint64_t hash_of_name(const struct tensor *tensor, const struct tiny_model_shape *shape)
{
    const struct model_spec spec = spec_of(shape);
    const struct model_role_place place =
        model_role_place(&spec, tensor->role, tensor->layer, false);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *byte = place.name; *byte; byte++)
        hash = (hash ^ (uint8_t)*byte) * UINT64_C(0x100000001b3);
    return hash;
}

/* Where a row of the file stands in safetensors: GGUF files of llama have a head's rows in pairs,
 * one of each half. */
static int64_t place_in_safetensors(const struct tensor *tensor,
                                    const struct tiny_model_shape *shape, int64_t row)
{
    int64_t in_head = row % shape->head_dim;
    if (!model_role_is_by_head(tensor->role) || !architecture_of(shape)->interleaves_qk)
        return row;
    return row - in_head + in_head % 2 * shape->head_dim / 2 + in_head / 2;
}

/* A vector's elements are its rows. */
static float value_by_name(const struct tensor *tensor, const struct tiny_model_shape *shape,
                           int64_t row, int64_t column)
{
    int64_t place = place_in_safetensors(tensor, shape, tensor->rows > 0 ? row : column);
    if (tensor->rows > 0)
        place = place * tensor->columns + column;
    struct random random = {hash_of_name(tensor, shape) + (uint64_t)place * RANDOM_STEP};
    float spread = tensor->spread * 1.75f;
    return tensor->centre + spread * random_float(&random);
}

static size_t tensor_bytes(const struct tensor *tensor)
{
    int64_t rows = tensor->rows > 0 ? tensor->rows : 1;
    size_t row_bytes = dtype_row_bytes(tensor->dtype, tensor->columns);
    assert(row_bytes > 0);
    return row_bytes * (size_t)rows;
}

static void round_to(enum dtype dtype, float *values, int64_t count)
{
    uint8_t *row = malloc(dtype_row_bytes(dtype, count));
    assert(row);
    quantize_row(row, values, dtype, count);
    dtype_dequantize_row(values, row, dtype, count);
    free(row);
}

/* Rows from number `distinct_rows` on repeat the first ones; 0: none do. The file has room. */
static void write_data(struct gguf_writer *file, const struct tensor *tensor,
                       const struct tiny_model_shape *shape, struct random *random)
{
    int64_t distinct_rows = shape->distinct_rows;
    const bool is_spoilt = shape->spoilt && strcmp(shape->spoilt, tensor->name) == 0;
    assert(!is_spoilt || tensor->dtype == DTYPE_F32);
    size_t row_bytes = dtype_row_bytes(tensor->dtype, tensor->columns);
    int64_t rows = tensor->rows > 0 ? tensor->rows : 1;
    float *values = calloc((size_t)tensor->columns, sizeof *values);
    uint8_t *row = malloc(row_bytes);
    assert(values && row);
    if (distinct_rows == 0 || distinct_rows > rows)
        distinct_rows = rows;
    const size_t first = file->bytes;
    for (int64_t r = 0; r < distinct_rows; r++) {
        for (int64_t i = 0; i < tensor->columns; i++)
            if (tensor->role == MODEL_ROLE_COUNT && tensor->spread == 0)
                values[i] = tensor->centre + tensor->step * (float)i;
            else
                values[i] = shape->by_name ? value_by_name(tensor, shape, r, i)
                                           : tensor->centre + tensor->spread * next_weight(random);
        if (is_spoilt && r == shape->spoilt_row)
            values[0] = NAN;
        if (tensor->role == MODEL_ATTN_V && shape->silent_heads >> r / shape->head_dim & 1)
            memset(values, 0, (size_t)tensor->columns * sizeof *values);
        if (tensor->rows > 0)
            round_to(shape->values_of, values, tensor->columns);
        quantize_row(row, values, tensor->dtype, tensor->columns);
        gguf_writer_bytes(file, row, row_bytes);
    }
    for (int64_t r = distinct_rows; r < rows; r++)
        gguf_writer_bytes(file, file->data + first + (size_t)(r % distinct_rows) * row_bytes,
                          row_bytes);
    gguf_writer_pad(file, ALIGNMENT);
    free(row);
    free(values);
}

static void write_utf8(char *out, size_t room, int code)
{
    if (code < 0x80)
        snprintf(out, room, "%c", code);
    else
        snprintf(out, room, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 0x3f));
}

/* Bytes that print stand for themselves; the other 68 follow from U+0100 on. */
static int byte_code(int byte)
{
    int others = 0;
    for (int b = 0; b <= byte; b++) {
        bool prints = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte && prints)
            return byte;
        others += !prints;
    }
    return 0x100 + others - 1;
}

static void write_token(struct gguf_writer *file, int id)
{
    static const char *const control[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    char text[32] = "";
    if (id < TINY_MODEL_BYTE_0) {
        gguf_writer_string(file, control[id]);
        return;
    }
    if (id < TINY_MODEL_BYTE_0 + 256) {
        write_utf8(text, sizeof text, byte_code(id - TINY_MODEL_BYTE_0));
    } else if (id < TINY_MODEL_VOCAB_MIN) {
        const char *merge = merges[id - TINY_MODEL_BYTE_0 - 256];
        const char *space = strchr(merge, ' ');
        snprintf(text, sizeof text, "%.*s%s", (int)(space - merge), merge, space + 1);
    } else {
        snprintf(text, sizeof text, "[unused%d]", id - TINY_MODEL_VOCAB_MIN);
    }
    gguf_writer_string(file, text);
}

enum { VOCAB_PAIRS = 12 };

static void write_vocab(struct gguf_writer *file, int vocab)
{
    gguf_writer_pair_text(file, "tokenizer.ggml.model", "gpt2");
    gguf_writer_pair_text(file, "tokenizer.ggml.pre", "smollm");
    gguf_writer_array(file, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)vocab);
    for (int id = 0; id < vocab; id++)
        write_token(file, id);
    gguf_writer_array(file, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)vocab);
    for (int id = 0; id < vocab; id++)
        gguf_writer_u32(file, id < TINY_MODEL_BYTE_0 ? 3 : id < TINY_MODEL_VOCAB_MIN ? 1 : 5);
    gguf_writer_array(file, "tokenizer.ggml.merges", GGUF_STRING, MERGE_COUNT);
    for (int i = 0; i < MERGE_COUNT; i++)
        gguf_writer_string(file, merges[i]);
    gguf_writer_pair_u32(file, "tokenizer.ggml.bos_token_id", TINY_MODEL_IM_START);
    gguf_writer_pair_u32(file, "tokenizer.ggml.eos_token_id", TINY_MODEL_IM_END);
    gguf_writer_pair_u32(file, "tokenizer.ggml.unknown_token_id", TINY_MODEL_ENDOFTEXT);
    gguf_writer_pair_u32(file, "tokenizer.ggml.padding_token_id", TINY_MODEL_IM_END);
    gguf_writer_pair_bool(file, "tokenizer.ggml.add_bos_token", 0);
    gguf_writer_pair_bool(file, "tokenizer.ggml.add_space_prefix", 0);
    gguf_writer_pair_text(file, "tokenizer.chat_template", chat_template);
}

enum { FACT_PAIRS = 14, WINDOW_PAIRS = 2 };

struct key {
    char text[64];
};

static struct key key_of(const struct tiny_model_shape *shape, const char *rest)
{
    struct key key;
    snprintf(key.text, sizeof key.text, "%s.%s", shape->architecture, rest);
    return key;
}

static void write_facts(struct gguf_writer *file, const struct tiny_model_shape *shape)
{
    const struct {
        const char *rest;
        int value;
    } facts[] = {
        {"block_count", shape->layers},
        {"context_length", shape->context},
        {"embedding_length", shape->hidden},
        {"feed_forward_length", shape->ffn},
        {"attention.head_count", shape->heads},
        {"attention.head_count_kv", shape->kv_heads},
        {"attention.key_length", shape->head_dim},
        {"attention.value_length", shape->head_dim},
        {"rope.dimension_count", shape->rotated_dim ? shape->rotated_dim : shape->head_dim},
        {"vocab_size", shape->vocab},
    };
    gguf_writer_pair_text(file, "general.architecture", shape->architecture);
    gguf_writer_pair_text(file, "general.name", "tiny random model");
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        gguf_writer_pair_u32(file, key_of(shape, facts[i].rest).text, (uint32_t)facts[i].value);
    gguf_writer_pair_f32(file, key_of(shape, "rope.freq_base").text, shape->rope_base);
    gguf_writer_pair_f32(file, key_of(shape, "attention.layer_norm_rms_epsilon").text, 1e-5f);
}

static void write_window(struct gguf_writer *file, const struct tiny_model_shape *shape)
{
    gguf_writer_pair_u32(file, key_of(shape, "attention.sliding_window").text,
                         (uint32_t)shape->window);
    gguf_writer_array(file, key_of(shape, "attention.sliding_window_pattern").text, GGUF_BOOL,
                      (uint64_t)shape->layers);
    for (int layer = 0; layer < shape->layers; layer++)
        gguf_writer_u8(file, shape->window_layers == 0 || (shape->window_layers >> layer & 1));
}

/* Keys that few shapes have; their number. */
static int extra_pairs(struct gguf_writer *pairs, const struct tiny_model_shape *shape)
{
    int count = 0;
    if (shape->long_rope) {
        const double stretch = (double)shape->context / shape->long_rope;
        const float magnitude = (float)sqrt(1 + log(stretch) / log(shape->long_rope));
        gguf_writer_pair_u32(pairs, key_of(shape, "rope.scaling.original_context_length").text,
                             (uint32_t)shape->long_rope);
        gguf_writer_pair_f32(pairs, key_of(shape, "rope.scaling.attn_factor").text, magnitude);
        count += 2;
    }
    if (shape->linear_rope > 0) {
        gguf_writer_pair_text(pairs, key_of(shape, "rope.scaling.type").text, "linear");
        gguf_writer_pair_f32(pairs, key_of(shape, "rope.scaling.factor").text, shape->linear_rope);
        count += 2;
    }
    const struct {
        const char *rest;
        float value;
    } scales[] = {
        {"embedding_scale", shape->embedding_scale},
        {"residual_scale", shape->residual_scale},
        {"attention.scale", shape->attention_scale},
        {"logit_scale", shape->logit_division},
        {"attn_logit_softcapping", shape->attention_cap},
        {"final_logit_softcapping", shape->logit_cap},
    };
    for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++)
        if (scales[s].value > 0) {
            gguf_writer_pair_f32(pairs, key_of(shape, scales[s].rest).text, scales[s].value);
            count++;
        }
    return count;
}

static struct tiny_model_shape with_defaults(const struct tiny_model_shape *shape)
{
    struct tiny_model_shape full = *shape;
    full.architecture = full.architecture ? full.architecture : "llama";
    full.vocab = full.vocab ? full.vocab : TINY_MODEL_VOCAB_MIN;
    full.context = full.context ? full.context : 2048;
    full.rope_base = full.rope_base > 0 ? full.rope_base : 10000;
    assert(full.no_tokenizer || full.vocab >= TINY_MODEL_VOCAB_MIN);
    return full;
}

void tiny_model_build(struct gguf_writer *file, const struct tiny_model_shape *shape, uint64_t seed,
                      enum dtype dtype)
{
    struct tiny_model_shape full = with_defaults(shape);
    struct tensors tensors = list_tensors(&full, dtype);
    struct gguf_writer extra = {0};
    const int extra_count = extra_pairs(&extra, &full);
    int pairs = FACT_PAIRS + (full.window ? WINDOW_PAIRS : 0) +
                (full.no_tokenizer ? 0 : VOCAB_PAIRS) + extra_count;
    gguf_writer_header(file, (uint64_t)tensors.count, (uint64_t)pairs);
    write_facts(file, &full);
    if (full.window)
        write_window(file, &full);
    if (extra_count > 0)
        gguf_writer_bytes(file, extra.data, extra.bytes);
    gguf_writer_free(&extra);
    if (!full.no_tokenizer)
        write_vocab(file, full.vocab);
    uint64_t offset = 0;
    for (int i = 0; i < tensors.count; i++) {
        const struct tensor *tensor = &tensors.list[i];
        gguf_writer_tensor(file, tensor->name, (uint64_t)tensor->columns, (uint64_t)tensor->rows,
                           (uint32_t)ggml_type_number(tensor->dtype), offset);
        offset += (tensor_bytes(tensor) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    gguf_writer_pad(file, ALIGNMENT);
    struct random random = {seed};
    gguf_writer_reserve(file, (size_t)offset);
    for (int i = 0; i < tensors.count; i++)
        write_data(file, &tensors.list[i], &full, &random);
    free(tensors.list);
}

void tiny_model_write(const char *path, const struct tiny_model_shape *shape, uint64_t seed,
                      enum dtype dtype)
{
    struct gguf_writer file = {0};
    tiny_model_build(&file, shape, seed, dtype);
    FILE *out = fopen(path, "wb");
    assert(out);
    size_t written = fwrite(file.data, 1, file.bytes, out);
    assert(written == file.bytes);
    int closed = fclose(out);
    assert(closed == 0);
    gguf_writer_free(&file);
}

void tiny_model_make(char path[TINY_MODEL_PATH_BYTES], const struct tiny_model_shape *shape,
                     enum dtype dtype)
{
    snprintf(path, TINY_MODEL_PATH_BYTES, "/tmp/longhaul-model-XXXXXX");
    int file = mkstemp(path);
    assert(file >= 0);
    close(file);
    tiny_model_write(path, shape, 7, dtype);
}

void tiny_model_ids(int32_t *ids, int64_t count)
{
    uint32_t random = 12345;
    for (int64_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        ids[i] = TINY_MODEL_BYTE_0 + (int32_t)(random >> 24);
    }
}
