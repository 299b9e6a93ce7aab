/* Owns the way from a configuration to a file of samples. */
#include "coordinator/recipe/recipe_samples.h"

#include <stdio.h>

#include "coordinator/recipe/recipe_impact.h"
#include "coordinator/recipe/stage_record.h"

static const char *const parts[] = {"analyze", "extend", "replay"};

/* What is open while samples are made. */
struct making {
    const struct train_config *config;
    enum recipe_part part;
    struct recipe_model model;
    struct chat *chat;
    struct documents *documents;
    struct sentences sentences;
    struct selection *selection;
    int64_t window;
};

/* ---- what they are made of ---- */

static enum status note_selection(struct stage_record *record, const struct train_config *config)
{
    char path[TRAIN_STAGE_PATH_BYTES];
    const enum train_selection kind = config->data.selection;
    if (kind == TRAIN_SELECTION_TAGS || kind == TRAIN_SELECTION_IMPACT)
        TRY(stage_record_input(record, config->data.tags));
    if (kind != TRAIN_SELECTION_IMPACT)
        return STATUS_OK;
    recipe_impact_scores(path, config);
    const enum status status = stage_record_input(record, path);
    if (status == STATUS_NOT_FOUND)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s is not there: longhaul recipe analyze makes the scores that "
                    "data.selection impact needs",
                    path);
    return status;
}

/* Of the model only its vocabulary matters, and its window, which the sample's length shows. */
static enum status note(struct stage_record *record, const struct making *making,
                        int64_t sample_tokens)
{
    const struct train_config *config = making->config;
    fprintf(record->file, "vocabulary of %d tokens, digest %016llx; samples of %lld tokens\n",
            making->model.spec.vocab, (unsigned long long)making->model.vocabulary,
            (long long)sample_tokens);
    switch (making->part) {
    case RECIPE_ANALYZE:
        train_config_print_values(record->file, config, "data.analysis_samples", "");
        train_config_print_values(record->file, config, "data.seed", "");
        train_config_print_values(record->file, config, "data.field", "");
        break;
    case RECIPE_EXTEND:
        train_config_print_values(
            record->file, config, "data.",
            "data.analysis_samples data.replay.files data.replay.prompt data.replay.response "
            "data.replay.form data.replay.loss data.replay.sample_tokens data.replay.samples");
        train_config_print_values(record->file, config, "positions.", "");
        break;
    case RECIPE_REPLAY:
        train_config_print_values(record->file, config, "data.replay.", "");
        train_config_print_values(record->file, config, "data.seed", "");
        break;
    }
    for (size_t f = 0; f < documents_files(making->documents); f++)
        TRY(stage_record_input(record, documents_file(making->documents, f)));
    return making->part == RECIPE_EXTEND ? note_selection(record, config) : STATUS_OK;
}

/* ---- opening ---- */

static enum status open_documents(struct making *making)
{
    const struct train_config *config = making->config;
    const bool replay = making->part == RECIPE_REPLAY;
    if (replay && !config->replay_data.files[0])
        return fail(STATUS_INVALID_ARGUMENT, "data.replay.files is missing: there is nothing to "
                                             "replay");
    if (replay && config->replay_data.form == TRAIN_FORM_CHAT &&
        chat_create(&making->chat, making->model.tokenizer, making->model.vocab, "auto") !=
            STATUS_OK)
        return fail(STATUS_UNIMPLEMENTED,
                    "data.replay.form chat: the model has no chat template that can be used; use "
                    "plain");
    const struct documents_args args = {
        .files = replay ? config->replay_data.files : config->data.files,
        .field = config->data.field,
        .prompt = replay ? config->replay_data.prompt : NULL,
        .response = replay ? config->replay_data.response : NULL,
        .chat = making->chat,
        .tokenizer = making->model.tokenizer,
        .end = making->model.end,
    };
    return documents_open(&making->documents, &args);
}

/* By tokens, or by parts of speech where a tagger's output is given. */
static enum status select_by_impact(struct making *making, struct selection_args *args)
{
    const struct train_config_data *data = &making->config->data;
    struct recipe_impact impact;
    char types[RECIPE_IMPACT_TYPES_BYTES];
    TRY(recipe_impact_open(&impact, making->config, &making->model));
    recipe_impact_list_types(types, &impact, data->impact_share);
    args->impact = &impact.tokens;
    enum status status = STATUS_OK;
    if (impact.has_types && !types[0])
        status = fail(STATUS_FAILED_PRECONDITION,
                      "data.selection: no part of speech would keep a sentence; lower "
                      "data.impact_share or select otherwise");
    if (impact.has_types) {
        args->kind = TRAIN_SELECTION_TAGS;
        args->tag_types = types;
    }
    if (status == STATUS_OK)
        status = selection_create(&making->selection, args);
    recipe_impact_close(&impact);
    return status;
}

static enum status open_selection(struct making *making)
{
    const struct train_config_data *data = &making->config->data;
    struct selection_args args = {
        .kind = making->part == RECIPE_EXTEND ? data->selection : TRAIN_SELECTION_NONE,
        .seed = (uint64_t)data->seed,
        .ratio = data->ratio,
        .share = data->impact_share,
        .tags = data->tags,
        .tag_types = data->tag_types,
        .documents = documents_count(making->documents),
        .tokenizer = making->model.tokenizer,
    };
    return args.kind == TRAIN_SELECTION_IMPACT ? select_by_impact(making, &args)
                                               : selection_create(&making->selection, &args);
}

static int64_t sample_tokens(const struct making *making)
{
    const struct train_config *config = making->config;
    const int64_t tokens = train_config_sample_tokens(config, making->window);
    if (making->part == RECIPE_REPLAY)
        return config->replay_data.sample_tokens > 0 ? config->replay_data.sample_tokens
                                                     : making->window;
    /* Beyond its window the model before says nothing of tokens. */
    return making->part == RECIPE_ANALYZE && tokens > making->window ? making->window : tokens;
}

/* ---- making ---- */

static enum status pack(struct recipe_samples_report *report, struct making *making,
                        const char *path, bool (*stops)(void))
{
    const struct train_config *config = making->config;
    const bool extend = making->part == RECIPE_EXTEND;
    if (making->part != RECIPE_REPLAY) {
        TRY(sentences_init(&making->sentences, making->model.tokenizer, config->data.delimiters));
        TRY(open_selection(making));
    }
    const struct packing_args args = {
        .documents = making->documents,
        .sentences = &making->sentences,
        .selection = making->selection,
        .positions = {.setting = extend ? config->setting : TRAIN_SETTING_PLAIN,
                      .target = config->target,
                      .right_points = config->right_points,
                      .seed = (uint64_t)config->data.seed,
                      .sentences = &making->sentences},
        .loss = extend ? TRAIN_LOSS_ALL : config->replay_data.loss,
        .sample_tokens = report->sample_tokens,
        .samples = making->part == RECIPE_ANALYZE  ? config->data.analysis_samples
                   : making->part == RECIPE_REPLAY ? config->replay_data.samples
                                                   : config->data.samples,
        .vocab = making->model.spec.vocab,
        .seed = (uint64_t)config->data.seed,
        .stops = stops,
    };
    report->delimiters = making->sentences.delimiters;
    report->made = true;
    return packing_write(path, &report->packing, &args);
}

static enum status make(struct recipe_samples_report *report, struct making *making,
                        bool (*stops)(void))
{
    const struct train_config *config = making->config;
    const char *part = parts[making->part];
    char path[TRAIN_STAGE_PATH_BYTES];
    const char *const outputs[] = {path, NULL};
    struct stage_record record = {.file = NULL};
    bool done;
    train_stage_path(path, config, part, "samples");
    TRY(recipe_model_open(&making->model, config));
    making->window = train_stage_window(config, &making->model.spec);
    report->sample_tokens = sample_tokens(making);
    TRY(open_documents(making));
    enum status status = stage_record_open(&record, config, part, "samples");
    if (status == STATUS_OK)
        status = note(&record, making, report->sample_tokens);
    if (status == STATUS_OK)
        status = stage_record_is_done(&record, &done, outputs);
    if (status == STATUS_OK && !done) {
        status = pack(report, making, path, stops);
        if (status == STATUS_OK)
            status = stage_record_finish(&record, outputs);
    }
    stage_record_close(&record);
    return status;
}

enum status recipe_samples_make(struct recipe_samples_report *report,
                                const struct train_config *config, enum recipe_part part,
                                bool (*stops)(void))
{
    struct making making = {.config = config, .part = part};
    *report = (struct recipe_samples_report){.made = false};
    const enum status status = make(report, &making, stops);
    selection_destroy(making.selection);
    sentences_deinit(&making.sentences);
    documents_close(making.documents);
    chat_destroy(making.chat);
    recipe_model_close(&making.model);
    return status;
}
