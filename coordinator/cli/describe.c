/* Owns the description of a model file in text. Promises that nothing in the file can steer the
 * terminal, and that a file which cannot be loaded is still described, with the reason.
 */
#include "coordinator/cli/describe.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/chat.h"
#include "coordinator/text/tokenizer.h"
#include "proto/model/gguf.h"
#include "proto/printable.h"

enum { SHOWN_BYTES_MAX = 120, GROUPS_MAX = 200, MIB = 1 << 20 };

static struct describe_type *type_of(struct describe *describe,
                                     const struct checkpoint_tensor *tensor)
{
    for (int i = 0; i < describe->type_count; i++)
        if (strcmp(describe->types[i].name, tensor->type) == 0)
            return &describe->types[i];
    assert(describe->type_count < DESCRIBE_TYPES_MAX);
    struct describe_type *type = &describe->types[describe->type_count++];
    type->name = tensor->type;
    type->supported = tensor->dtype != DTYPE_COUNT;
    return type;
}

static void count_types(struct describe *describe)
{
    for (int i = 0; i < checkpoint_tensor_count(describe->checkpoint); i++) {
        const struct checkpoint_tensor *tensor = checkpoint_tensor(describe->checkpoint, i);
        struct describe_type *type = type_of(describe, tensor);
        int64_t parameters = 1;
        for (int d = 0; d < tensor->dims_count; d++)
            parameters *= tensor->dims[d];
        type->tensors++;
        type->parameters += parameters;
        type->bytes += tensor->bytes;
        describe->parameters += parameters;
        describe->tensor_bytes += tensor->bytes;
    }
}

/* Whether text can be read and written, and by which chat template. */
static enum status check_text(struct describe *describe)
{
    const struct vocab *vocab = describe_vocab(describe);
    struct tokenizer *tokenizer = NULL;
    struct chat *chat = NULL;
    if (!vocab)
        return fail(STATUS_UNIMPLEMENTED, "%s holds no tokenizer",
                    checkpoint_name(describe->checkpoint));
    TRY(tokenizer_create(&tokenizer, vocab));
    if (chat_create(&chat, tokenizer, vocab, "auto") == STATUS_OK)
        snprintf(describe->chat_form, sizeof describe->chat_form, "%s", chat_origin(chat));
    else
        snprintf(describe->chat_refusal, sizeof describe->chat_refusal, "%s", status_message());
    chat_destroy(chat);
    tokenizer_destroy(tokenizer);
    return STATUS_OK;
}

static void keep_refusal(struct describe *describe, enum status status)
{
    if (status != STATUS_OK && !describe->refusal[0])
        snprintf(describe->refusal, sizeof describe->refusal, "%s", status_message());
}

/* A file of a vocabulary alone is no broken model. */
static enum status check_model(struct describe *describe, const char *path)
{
    if (checkpoint_tensor_count(describe->checkpoint) == 0 &&
        vocab_file_open(&describe->vocab_file, path) == STATUS_OK)
        return fail(STATUS_UNIMPLEMENTED,
                    "%s holds a vocabulary without weights; longhaul tokenize reads it", path);
    enum status status = model_create(&describe->model, describe->checkpoint);
    keep_refusal(describe, status);
    if (status != STATUS_OK && vocab_file_open(&describe->vocab_file, path) != STATUS_OK)
        describe->vocab_file = NULL; /* nor a vocabulary, and the first refusal says why */
    return status;
}

enum status describe_open(struct describe *describe, const char *path)
{
    struct describe opened = {0};
    TRY(checkpoint_open(&opened.checkpoint, path));
    keep_refusal(&opened, check_model(&opened, path));
    keep_refusal(&opened, check_text(&opened));
    count_types(&opened);
    *describe = opened;
    return STATUS_OK;
}

void describe_close(struct describe *describe)
{
    model_close(describe->model);
    vocab_file_close(describe->vocab_file);
    checkpoint_close(describe->checkpoint);
}

const struct vocab *describe_vocab(const struct describe *describe)
{
    return describe->model        ? model_vocab(describe->model)
           : describe->vocab_file ? vocab_file_vocab(describe->vocab_file)
                                  : NULL;
}

/* Cut at a character. */
static void show_some(FILE *out, struct text_view text, size_t limit)
{
    size_t end = text.bytes < limit ? text.bytes : limit;
    while (end < text.bytes && end > 0 && ((unsigned char)text.text[end] & 0xc0) == 0x80)
        end--;
    printable_write_line(out, text.text, end);
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

static void show_parts(FILE *out, const struct model_spec *spec)
{
    const struct {
        bool has;
        const char *what;
    } parts[] = {
        {spec->qkv_bias, "biases of queries, keys and values"},
        {spec->output_bias, "biases of attention's output"},
        {spec->mlp_bias, "biases of the feed-forward part"},
        {spec->qk_norm, "norms of queries and keys"},
    };
    const char *label = "with";
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].has) {
            fprintf(out, "%-14s %s\n", label, parts[i].what);
            label = "";
        }
    if (spec_window_layers(spec) > 0)
        fprintf(out, "%-14s %lld tokens on %d of %d layers\n", "sliding window",
                (long long)spec->window.tokens, spec_window_layers(spec), spec->layers);
}

static void show_facts(FILE *out, const struct model_spec *spec)
{
    show_row(out, "name", spec->name);
    show_row(out, "architecture", spec->architecture);
    fprintf(out, "%-14s %d, of width %d, %d query and %d key-value heads of %d, feed-forward %d\n",
            "layers", spec->layers, spec->hidden, spec->heads, spec->kv_heads, spec->head_dim,
            spec->ffn);
    show_parts(out, spec);
    if (spec->trained_tokens == MODEL_TOKENS_MAX)
        fprintf(out, "%-14s no limit is stated\n", "trained for");
    else
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

static void show_vocab(FILE *out, const struct describe *describe)
{
    const struct vocab *vocab = describe_vocab(describe);
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
    if (describe->chat_form[0] || describe->chat_refusal[0])
        fprintf(out, "  %-12s %s\n", "chat form",
                describe->chat_form[0] ? describe->chat_form : "none that can be used");
    show_row(out, "  template", vocab_chat_template(vocab));
}

/* What a model that is not supported says of itself. */
static void show_keys(FILE *out, const struct checkpoint *checkpoint)
{
    json_t *keys = describe_keys(checkpoint);
    const char *key;
    json_t *value;
    fputs("keys\n", out);
    json_object_foreach(keys, key, value)
    {
        char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        const char *text = json_is_string(value) ? json_string_value(value) : dump;
        fputs("  ", out);
        show(out, text_view_of(key));
        fputs(" = ", out);
        show(out, text_view_of(text ? text : ""));
        fputc('\n', out);
        free(dump);
    }
    json_decref(keys);
}

static void show_types(FILE *out, const struct describe *describe)
{
    fprintf(out, "%-14s %.1f M in %.1f MiB\n", "parameters", (double)describe->parameters / 1e6,
            (double)describe->tensor_bytes / MIB);
    for (int i = 0; i < describe->type_count; i++) {
        const struct describe_type *type = &describe->types[i];
        fprintf(out, "  %-12s %.1f M in %lld tensors, %.1f MiB%s\n", type->name,
                (double)type->parameters / 1e6, (long long)type->tensors, (double)type->bytes / MIB,
                type->supported ? "" : " (not supported)");
    }
}

/* Tensors that differ in their layer alone: "HEAD.N.TAIL", the parts with their points. */
struct group {
    const struct checkpoint_tensor *first;
    struct text_view head; /* empty where the name has no layer */
    struct text_view tail;
    int64_t count;
};

static struct group group_of(const struct checkpoint_tensor *tensor)
{
    const char *text = tensor->name.text;
    size_t bytes = tensor->name.bytes;
    for (size_t point = 0; point + 2 < bytes; point++) {
        size_t end = point + 1;
        while (end < bytes && text[end] >= '0' && text[end] <= '9')
            end++;
        if (text[point] == '.' && end > point + 1 && end < bytes && text[end] == '.')
            return (struct group){tensor, {text, point + 1}, {text + end, bytes - end}, 1};
    }
    return (struct group){tensor, text_view_of(""), tensor->name, 1};
}

static bool same_group(const struct group *a, const struct group *b)
{
    return a->head.bytes > 0 && text_view_compare(a->head, b->head) == 0 &&
           text_view_compare(a->tail, b->tail) == 0 &&
           strcmp(a->first->type, b->first->type) == 0 &&
           a->first->dims_count == b->first->dims_count &&
           memcmp(a->first->dims, b->first->dims, sizeof a->first->dims) == 0;
}

static void show_group(FILE *out, const struct group *group)
{
    const struct checkpoint_tensor *tensor = group->first;
    fprintf(out, "  %5lld  %-8s ", (long long)group->count, tensor->type);
    if (group->count > 1) {
        show(out, group->head);
        fputc('*', out);
        show(out, group->tail);
    } else {
        show(out, tensor->name);
    }
    fputs(" [", out);
    for (int d = 0; d < tensor->dims_count; d++)
        fprintf(out, "%s%lld", d > 0 ? ", " : "", (long long)tensor->dims[d]);
    fputs("]\n", out);
}

static void show_tensors(FILE *out, const struct checkpoint *checkpoint)
{
    static const char more[] = "  ...    and more that differ";
    struct group groups[GROUPS_MAX];
    int count = 0;
    bool left_out = false;
    for (int i = 0; i < checkpoint_tensor_count(checkpoint); i++) {
        const struct group group = group_of(checkpoint_tensor(checkpoint, i));
        int g = 0;
        while (g < count && !same_group(&groups[g], &group))
            g++;
        if (g < count)
            groups[g].count++;
        else if (count < GROUPS_MAX)
            groups[count++] = group;
        else
            left_out = true;
    }
    fprintf(out, "%-14s %d\n", "tensors", checkpoint_tensor_count(checkpoint));
    for (int g = 0; g < count; g++)
        show_group(out, &groups[g]);
    if (left_out)
        fprintf(out, "%s\n", more);
}

/* Supported is what a run would do; a chat form that is not known is a matter of one flag, and a
 * GPU of another device. */
static void show_verdict(FILE *out, const struct describe *describe)
{
    bool suits_gpu = !describe->model || spec_widths_suit_gpu(model_spec(describe->model));
    const char *device =
        suits_gpu ? "" : " on CPUs (GPUs take widths that are multiples of 8 alone)";
    if (describe->refusal[0])
        fprintf(out, "%-14s no: %s\n", "supported", describe->refusal);
    else if (describe->chat_form[0])
        fprintf(out, "%-14s yes%s\n", "supported", device);
    else
        fprintf(out, "%-14s yes%s, without a chat form: %s\n", "supported", device,
                describe->chat_refusal);
}

enum status describe_text(FILE *out, const char *path)
{
    struct describe describe;
    TRY(describe_open(&describe, path));
    const struct gguf *gguf = checkpoint_gguf(describe.checkpoint);
    double mib = (double)checkpoint_bytes(describe.checkpoint) / MIB;
    fprintf(out, "%-14s ", gguf ? "file" : "directory");
    show_some(out, text_view_of(path), SIZE_MAX);
    if (gguf)
        fprintf(out, ", %.1f MiB, GGUF %d\n", mib, gguf_version(gguf));
    else
        fprintf(out, ", %.1f MiB in %d files\n", mib, checkpoint_file_count(describe.checkpoint));
    if (describe.model)
        show_facts(out, model_spec(describe.model));
    else
        show_keys(out, describe.checkpoint);
    show_types(out, &describe);
    if (describe_vocab(&describe))
        show_vocab(out, &describe);
    show_tensors(out, describe.checkpoint);
    show_verdict(out, &describe);
    describe_close(&describe);
    return ferror(out) ? fail(STATUS_IO, "write the description of %s", path) : STATUS_OK;
}
