/* Owns the description of a model file in text. Promises that nothing in the file can steer the
 * terminal, and that a file which cannot be loaded is still described, with the reason.
 */
#include "proto/model/describe.h"

#include <assert.h>
#include <string.h>

#include "proto/model/ggml_type.h"
#include "proto/model/gguf_value.h"

enum { SHOWN_BYTES_MAX = 120, GROUPS_MAX = 200, MIB = 1 << 20 };

bool describe_type_is_supported(int type)
{
    enum dtype dtype;
    return ggml_type_dtype(&dtype, type);
}

static void count_types(struct describe *describe)
{
    for (int i = 0; i < gguf_tensor_count(describe->gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(describe->gguf, i);
        int64_t parameters = 1;
        for (int d = 0; d < tensor->dims_count; d++)
            parameters *= tensor->dims[d];
        assert(tensor->type < DESCRIBE_TYPES_MAX);
        describe->types[tensor->type].tensors++;
        describe->types[tensor->type].parameters += parameters;
        describe->types[tensor->type].bytes += tensor->bytes;
        describe->parameters += parameters;
        describe->tensor_bytes += tensor->bytes;
    }
}

enum status describe_open(struct describe *describe, const char *path)
{
    struct describe opened = {0};
    size_t bytes;
    TRY(gguf_open(&opened.gguf, path));
    const void *data = gguf_data(opened.gguf, &bytes);
    if (model_parse(&opened.model, data, bytes, path) != STATUS_OK)
        snprintf(opened.refusal, sizeof opened.refusal, "%s", status_message());
    count_types(&opened);
    *describe = opened;
    return STATUS_OK;
}

void describe_close(struct describe *describe)
{
    model_close(describe->model);
    gguf_close(describe->gguf);
}

/* Control characters, also those of two bytes (U+0080 to U+009F), become dots; long texts are cut.
 */
static void show_some(FILE *out, struct text_view text, size_t limit)
{
    size_t end = text.bytes < limit ? text.bytes : limit;
    while (end < text.bytes && end > 0 && ((unsigned char)text.text[end] & 0xc0) == 0x80)
        end--;
    for (size_t i = 0; i < end; i++) {
        unsigned char byte = (unsigned char)text.text[i];
        bool two_byte_control =
            byte == 0xc2 && i + 1 < end && (unsigned char)text.text[i + 1] < 0xa0;
        if (two_byte_control)
            i++;
        fputc(byte < 0x20 || byte == 0x7f || two_byte_control ? '.' : byte, out);
    }
    if (end < text.bytes)
        fprintf(out, "... (%zu bytes)", text.bytes);
}

static void show(FILE *out, struct text_view text)
{
    show_some(out, text, SHOWN_BYTES_MAX);
}

static void show_row(FILE *out, const char *label, struct text_view text)
{
    fprintf(out, "%-14s ", label);
    show(out, text);
    fputc('\n', out);
}

static void show_facts(FILE *out, const struct model_spec *spec)
{
    show_row(out, "name", spec->name);
    show_row(out, "architecture", spec->architecture);
    fprintf(out, "%-14s %d, of width %d, %d query and %d key-value heads of %d, feed-forward %d\n",
            "layers", spec->layers, spec->hidden, spec->heads, spec->kv_heads, spec->head_dim,
            spec->ffn);
    fprintf(out, "%-14s %d tokens\n", "trained for", spec->trained_tokens);
    fprintf(out, "%-14s %d tokens, output %s\n", "vocabulary", spec->vocab,
            spec->tied_output ? "tied to the embedding" : "of its own");
    fprintf(out, "%-14s base %g, scaling %s", "rope", spec->rope_base,
            spec->rope_scaling == MODEL_ROPE_FACTORS ? "by rope_freqs.weight"
                                                     : spec_rope_scaling_name(spec->rope_scaling));
    if (spec->rope_factor != 1)
        fprintf(out, " by %g from %d tokens", spec->rope_factor, spec->rope_original_tokens);
    fprintf(out, "\n%-14s %g\n", "norm epsilon", (double)spec->norm_eps);
}

static void show_vocab(FILE *out, const struct vocab *vocab)
{
    const struct vocab_special special = vocab_special(vocab);
    const struct {
        const char *name;
        int32_t id;
    } ids[] = {{"bos", special.bos}, {"eos", special.eos},         {"eot", special.eot},
               {"eom", special.eom}, {"unknown", special.unknown}, {"padding", special.padding}};
    show_row(out, "tokenizer", vocab_kind(vocab));
    show_row(out, "  splits as", vocab_pre(vocab));
    fprintf(out, "  %-12s %d\n", "merges", vocab_merge_count(vocab));
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (ids[i].id < 0)
            continue;
        struct vocab_token token = vocab_token(vocab, ids[i].id);
        fprintf(out, "  %-12s %d ", ids[i].name, ids[i].id);
        show(out, (struct text_view){token.text, token.bytes});
        fputc('\n', out);
    }
    fprintf(out, "  %-12s %s\n", "adds bos", vocab_add_bos(vocab) == VOCAB_FLAG_ON ? "yes" : "no");
    show_row(out, "  chat form", vocab_chat_template(vocab));
}

static void show_value(FILE *out, const struct gguf_pair *pair)
{
    int64_t integer;
    double number;
    struct text_view text;
    if (pair->type == GGUF_BOOL)
        fputs(pair->value[0] ? "true" : "false", out);
    else if (gguf_value_as_integer(&integer, pair))
        fprintf(out, "%lld", (long long)integer);
    else if (gguf_value_as_float(&number, pair))
        fprintf(out, "%g", number);
    else if (gguf_value_as_text(&text, pair))
        show(out, text);
    else if (pair->type == GGUF_ARRAY)
        fprintf(out, "%lld x %s", (long long)pair->array.count, gguf_type_name(pair->array.type));
    else
        fputs("too large", out);
}

/* What a file that is not supported says of itself. */
static void show_pairs(FILE *out, const struct gguf *gguf)
{
    fputs("keys\n", out);
    for (int i = 0; i < gguf_pair_count(gguf); i++) {
        const struct gguf_pair *pair = gguf_pair(gguf, i);
        fputs("  ", out);
        show(out, pair->key);
        fputs(" = ", out);
        show_value(out, pair);
        fputc('\n', out);
    }
}

static void show_types(FILE *out, const struct describe *describe)
{
    fprintf(out, "%-14s %.1f M in %.1f MiB\n", "parameters", (double)describe->parameters / 1e6,
            (double)describe->tensor_bytes / MIB);
    for (int type = 0; type < DESCRIBE_TYPES_MAX; type++) {
        const struct describe_type *row = &describe->types[type];
        if (row->tensors == 0)
            continue;
        fprintf(out, "  %-12s %.1f M in %lld tensors, %.1f MiB%s\n", ggml_type_name(type),
                (double)row->parameters / 1e6, (long long)row->tensors, (double)row->bytes / MIB,
                describe_type_is_supported(type) ? "" : " (not supported)");
    }
}

/* Tensors that differ in their layer alone. */
struct group {
    const struct gguf_tensor *first;
    size_t tail; /* where the name goes on after "blk.N"; 0 where it has no layer */
    int64_t count;
};

static size_t tail_of(struct text_view name)
{
    if (name.bytes < 5 || memcmp(name.text, "blk.", 4) != 0)
        return 0;
    size_t end = 4;
    while (end < name.bytes && name.text[end] >= '0' && name.text[end] <= '9')
        end++;
    return end > 4 && end < name.bytes && name.text[end] == '.' ? end : 0;
}

static bool same_group(const struct group *group, const struct gguf_tensor *tensor, size_t tail)
{
    const struct gguf_tensor *first = group->first;
    size_t bytes = tensor->name.bytes - tail;
    return group->tail > 0 && tail > 0 && first->name.bytes - group->tail == bytes &&
           memcmp(first->name.text + group->tail, tensor->name.text + tail, bytes) == 0 &&
           first->type == tensor->type &&
           memcmp(first->dims, tensor->dims, sizeof first->dims) == 0;
}

static void show_group(FILE *out, const struct group *group)
{
    const struct gguf_tensor *tensor = group->first;
    char name[GGUF_NAME_BYTES_MAX + 16];
    if (group->count > 1)
        snprintf(name, sizeof name, "blk.*%.*s", (int)(tensor->name.bytes - group->tail),
                 tensor->name.text + group->tail);
    else
        snprintf(name, sizeof name, "%.*s", (int)tensor->name.bytes, tensor->name.text);
    fprintf(out, "  %5lld  %-8s ", (long long)group->count, ggml_type_name(tensor->type));
    show(out, text_view_of(name));
    fputs(" [", out);
    for (int d = tensor->dims_count - 1; d >= 0; d--)
        fprintf(out, "%lld%s", (long long)tensor->dims[d], d > 0 ? ", " : "]\n");
}

static void show_tensors(FILE *out, const struct gguf *gguf)
{
    static const char more[] = "  ...    and more that differ";
    struct group groups[GROUPS_MAX];
    int count = 0;
    bool left_out = false;
    for (int i = 0; i < gguf_tensor_count(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        size_t tail = tail_of(tensor->name);
        int g = 0;
        while (g < count && !same_group(&groups[g], tensor, tail))
            g++;
        if (g < count)
            groups[g].count++;
        else if (count < GROUPS_MAX)
            groups[count++] = (struct group){tensor, tail, 1};
        else
            left_out = true;
    }
    fprintf(out, "%-14s %d\n", "tensors", gguf_tensor_count(gguf));
    for (int g = 0; g < count; g++)
        show_group(out, &groups[g]);
    if (left_out)
        fprintf(out, "%s\n", more);
}

enum status describe_text(FILE *out, const char *path)
{
    struct describe describe;
    TRY(describe_open(&describe, path));
    size_t bytes;
    gguf_data(describe.gguf, &bytes);
    fprintf(out, "%-14s %s, %.1f MiB, GGUF %d\n", "file", path, (double)bytes / MIB,
            gguf_version(describe.gguf));
    if (describe.model)
        show_facts(out, model_spec(describe.model));
    else
        show_pairs(out, describe.gguf);
    show_types(out, &describe);
    if (describe.model && model_vocab(describe.model))
        show_vocab(out, model_vocab(describe.model));
    show_tensors(out, describe.gguf);
    fprintf(out, "%-14s %s", "supported", describe.model ? "yes" : "no: ");
    show_some(out, text_view_of(describe.refusal), SIZE_MAX);
    fputc('\n', out);
    describe_close(&describe);
    return ferror(out) ? fail(STATUS_IO, "write the description of %s", path) : STATUS_OK;
}
