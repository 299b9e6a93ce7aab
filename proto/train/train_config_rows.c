/* Owns the keys, their defaults and their ranges. */
#include "proto/train/train_config_rows.h"

static const char *const selections[] = {"none", "digits", "impact", "tags", NULL};
static const char *const forms[] = {"plain", "chat", NULL};
static const char *const losses[] = {"all", "response", NULL};
static const char *const settings[] = {"plain", "recipe", "full", "rpes", "pose", NULL};
static const char *const decays[] = {"constant", "linear", "cosine", NULL};
static const char *const computes[] = {"float32", "bf16", NULL};
static const char *const devices[] = {"cpu", "cuda", NULL};
static const char *const recomputes[] = {"layer", "none", NULL};
static const char *const formats[] = {"safetensors", "gguf", "both", NULL};
static const char *const dtypes[] = {"float32", "bfloat16", "float16", NULL};

#define TEXT(name, member, initial_, help_)                                                        \
    {                                                                                              \
        .key = name, .type = TRAIN_KEY_TEXT, .offset = offsetof(struct train_config, member),      \
        .most = sizeof((struct train_config *)0)->member - 1, .initial = initial_, .help = help_   \
    }
#define NUMBER(name, type_, member, least_, most_, initial_, help_)                                \
    {                                                                                              \
        .key = name, .type = type_, .offset = offsetof(struct train_config, member),               \
        .least = least_, .most = most_, .initial = initial_, .help = help_                         \
    }
#define INTEGER(name, member, least, most, initial, help)                                          \
    NUMBER(name, TRAIN_KEY_INTEGER, member, least, most, initial, help)
#define REAL(name, member, least, most, initial, help)                                             \
    NUMBER(name, TRAIN_KEY_REAL, member, least, most, initial, help)
#define WORD(name, member, words_, initial_, help_)                                                \
    {                                                                                              \
        .key = name, .type = TRAIN_KEY_WORD, .offset = offsetof(struct train_config, member),      \
        .initial = initial_, .words = words_, .help = help_                                        \
    }

static const double tokens_most = 1 << 28, many = 1e9, seeds = 9e15;

const struct train_key train_config_rows[] = {
    TEXT("model.path", model.path, "", "the model to go on from: a GGUF file or a folder"),
    TEXT("model.shape", model.shape, "", "a config.json: a model from scratch, of bytes"),
    TEXT("model.tuned", model.tuned, "", "the model after tuning, for recipe analyze"),
    INTEGER("model.initialise", model.initialise, 0, seeds, "1", "seed of weights from scratch"),
    INTEGER("model.window", model.window, 0, tokens_most, "0",
            "tokens that it was trained for; 0: as the model says"),
    {.key = "model.rope_base",
     .type = TRAIN_KEY_ROPE,
     .offset = offsetof(struct train_config, model),
     .least = 1,
     .most = 1e15,
     .initial = "keep",
     .help = "keep, auto (dynamic NTK for positions.target) or a number"},

    TEXT("data.files", data.files, "", "paths and patterns of text, apart by blanks"),
    TEXT("data.field", data.field, "text", "of a JSON line: what holds its text"),
    INTEGER("data.sample_tokens", data.sample_tokens, 0, tokens_most, "0",
            "tokens a sample; 0: as positions.setting has it"),
    INTEGER("data.samples", data.samples, 0, many, "0", "at most so many; 0: what there is"),
    INTEGER("data.seed", data.seed, 0, seeds, "1", "of order, selection and positions"),
    TEXT("data.delimiters", data.delimiters, "auto",
         "tokens that end a sentence: auto, or ids apart by blanks"),
    WORD("data.selection", data.selection, selections, "none", "which sentences are kept"),
    REAL("data.ratio", data.ratio, 0, 1, "0.6",
         "of digits: other sentences are dropped with (int(10 ratio) - 1) / 10"),
    TEXT("data.scores", data.scores, "", "of impact: what recipe analyze wrote, if elsewhere"),
    REAL("data.impact_top", data.impact_top, 0.001, 1, "0.2",
         "of impact: the part of a sample's tokens that gained most"),
    REAL("data.impact_share", data.impact_share, 0.001, 1, "0.4",
         "of impact: how often a token must be among them"),
    TEXT("data.tags", data.tags, "", "of tags and impact: a tagger's output, JSON lines"),
    TEXT("data.tag_types", data.tag_types, "NUM", "of tags: the types that keep a sentence"),
    INTEGER("data.analysis_samples", data.analysis_samples, 1, many, "64",
            "samples that recipe analyze reads"),
    TEXT("data.replay.files", replay_data.files, "", "JSON lines of prompts and responses"),
    TEXT("data.replay.prompt", replay_data.prompt, "prompt", "of such a line: the prompt"),
    TEXT("data.replay.response", replay_data.response, "response", "and the response"),
    WORD("data.replay.form", replay_data.form, forms, "plain",
         "how prompt and response are one text"),
    WORD("data.replay.loss", replay_data.loss, losses, "all", "which tokens the loss counts"),
    INTEGER("data.replay.sample_tokens", replay_data.sample_tokens, 0, tokens_most, "0",
            "tokens a sample; 0: the model's window"),
    INTEGER("data.replay.samples", replay_data.samples, 0, many, "0",
            "at most so many; 0: what there is"),

    WORD("positions.setting", setting, settings, "plain", "how positions are made"),
    INTEGER("positions.target", target, 0, tokens_most, "0", "tokens of the window to be"),
    NUMBER("positions.right_points", TRAIN_KEY_SWITCH, right_points, 0, 0, "true",
           "of recipe: a random head of each sample keeps its plain positions"),

    TEXT("training.method", training.method, "rope", "attention, as plans spell it"),
    INTEGER("training.steps", training.steps, 0, many, "0", "0: once through the samples"),
    INTEGER("training.batch", training.batch, 1, 1 << 20, "8", "samples a step"),
    INTEGER("training.micro_batch", training.micro_batch, 1, 1, "1",
            "samples that a rank computes at once: 1 for now"),
    REAL("training.learning_rate", training.learning_rate, 0, 10, "5e-5", "at its highest"),
    INTEGER("training.warmup_steps", training.warmup_steps, 0, many, "0",
            "steps in which the rate rises from 0"),
    WORD("training.decay", training.decay, decays, "constant", "of the rate behind warm-up"),
    REAL("training.final_rate", training.final_rate, 0, 1, "0",
         "where linear and cosine end, as a part of the rate"),
    REAL("training.beta1", training.beta1, 0, 0.999999, "0.9", "of AdamW"),
    REAL("training.beta2", training.beta2, 0, 0.99999999, "0.999", "of AdamW"),
    REAL("training.epsilon", training.epsilon, 1e-20, 1, "1e-8", "of AdamW"),
    REAL("training.weight_decay", training.weight_decay, 0, 10, "0.1", "of AdamW, decoupled"),
    REAL("training.clip", training.clip, 0, 1e9, "1", "of the gradients' norm; 0: none"),
    WORD("training.compute", training.compute, computes, "float32", "operands of products"),
    WORD("training.device", training.device, devices, "cpu",
         "what computes a step: the threads of a rank, or a GPU each"),
    WORD("training.recompute", training.recompute, recomputes, "layer",
         "what is computed again on the way back"),
    INTEGER("training.seed", training.seed, 0, seeds, "1", "of the order of later epochs"),
    INTEGER("training.checkpoint_steps", training.checkpoint_steps, 0, many, "100",
            "between checkpoints; 0: only the last"),
    INTEGER("training.keep", training.keep, 2, 1000, "2", "checkpoints that are kept"),
    INTEGER("training.threads", training.threads, 0, 1024, "0", "of a rank; 0: its cores"),
    INTEGER("training.retries", training.retries, 0, 1000, "3",
            "starts from the last checkpoint after ranks were lost"),
    INTEGER("training.replay.steps", replay.steps, 0, many, "", "of replay, as those above"),
    INTEGER("training.replay.batch", replay.batch, 1, 1 << 20, "", "as above"),
    REAL("training.replay.learning_rate", replay.learning_rate, 0, 10, "5e-6", "as above"),
    INTEGER("training.replay.warmup_steps", replay.warmup_steps, 0, many, "", "as above"),
    WORD("training.replay.decay", replay.decay, decays, "", "as above"),
    REAL("training.replay.final_rate", replay.final_rate, 0, 1, "", "as above"),
    REAL("training.replay.weight_decay", replay.weight_decay, 0, 10, "", "as above"),

    INTEGER("mesh.data", mesh.data, 1, 4096, "1", "ranks that share out samples"),
    INTEGER("mesh.sequence", mesh.sequence, 1, 4096, "1", "ranks that share out a sample"),
    INTEGER("mesh.tensor", mesh.tensor, 1, 1, "1", "ranks that share out weights: 1 for now"),

    TEXT("output.folder", output.folder, "", "everything that the run writes"),
    WORD("output.format", output.format, formats, "safetensors", "of models"),
    WORD("output.dtype", output.dtype, dtypes, "bfloat16", "of their weights"),
    REAL("output.merge_original", output.merge_original, -10, 10, "0.5",
         "weight of the model before, in a merge"),
    REAL("output.merge_trained", output.merge_trained, -10, 10, "0.5",
         "weight of the trained model, in a merge"),
};

const size_t train_config_rows_count = sizeof train_config_rows / sizeof train_config_rows[0];
