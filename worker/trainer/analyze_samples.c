/* Owns the analysis of a file of samples by two models, a sample of each place of the data axis at
 * a time: both go through it, and then say their logits block by block. */
#include "worker/trainer/analyze_samples.h"

#include <math.h>
#include <stdlib.h>

#include "proto/train/score_file.h"
#include "proto/train/train_stage.h"
#include "worker/agreement.h"
#include "worker/trainer/scored_model.h"
#include "worker/trainer/token_numbers.h"

enum { BEFORE, AFTER, PROBABILITY, PLANES };

struct analysis {
    struct rank_work *work;
    struct record_file samples;
    struct scored_model before, after;
    struct token_numbers numbers;
    struct sample sample; /* that the passes are over */
    float *difference;    /* [vocab] */
    float *record;        /* [PLANES, longest], of rank 0 */
    struct record_writer writer;
    bool writes;
};

/* Eq. 2 of the paper: the softmax over the vocabulary of what the models differ by. */
static double probability_of(struct analysis *analysis, const float *before, const float *after,
                             int32_t id)
{
    const int64_t vocab = analysis->samples.vocab;
    for (int64_t v = 0; v < vocab; v++)
        analysis->difference[v] = after[v] - before[v];
    return exp((double)analysis->difference[id] -
               analysis->work->kernels->logsumexp(analysis->difference, vocab));
}

/* Both passes share a sample out alike: their rows are those of the same tokens. */
static enum status compare_rows(struct analysis *analysis)
{
    struct token_numbers *numbers = &analysis->numbers;
    for (int64_t row = 0; row < pass_rows(analysis->before.pass); row++) {
        const int64_t token = pass_row_index(analysis->before.pass, row) + 1;
        if (token >= analysis->sample.count)
            continue;
        const float *before = scored_model_logits(&analysis->before, row);
        const float *after = scored_model_logits(&analysis->after, row);
        const int32_t id = analysis->sample.ids[token];
        const double p = probability_of(analysis, before, after, id);
        if (!isfinite(p))
            return fail(STATUS_INTERNAL, "the logits before token %lld are not finite",
                        (long long)token);
        token_numbers_set(numbers, BEFORE, token, before[id]);
        token_numbers_set(numbers, AFTER, token, after[id]);
        token_numbers_set(numbers, PROBABILITY, token, (float)p);
        transport_mark(analysis->work->transport);
    }
    return STATUS_OK;
}

/* Of the first token, which nothing predicts, all are 0. */
static enum status write_sample(struct analysis *analysis, int64_t number, int data)
{
    TRY(sample_file_read(&analysis->samples, &analysis->sample, number));
    const int64_t count = analysis->sample.count;
    for (int plane = 0; plane < PLANES; plane++)
        for (int64_t token = 0; token < count; token++) {
            float value = 0;
            if (token > 0 &&
                !token_numbers_get(&analysis->numbers, analysis->work, data, plane, token, &value))
                return fail(STATUS_INTERNAL, "nobody has scored token %lld of sample %lld",
                            (long long)token, (long long)number);
            analysis->record[plane * count + token] = value;
        }
    return score_file_add(&analysis->writer,
                          &(struct scores){count, analysis->record, analysis->record + count,
                                           analysis->record + 2 * count});
}

static enum status analyze_all(struct analysis *analysis)
{
    const struct rank_work *work = analysis->work;
    for (int64_t first = 0; first < analysis->samples.count; first += work->mesh.data) {
        token_numbers_clear(&analysis->numbers);
        if (first + work->place.data < analysis->samples.count) {
            TRY(sample_file_read(&analysis->samples, &analysis->sample, first + work->place.data));
            TRY(scored_model_forward(&analysis->before, &analysis->sample));
            TRY(scored_model_forward(&analysis->after, &analysis->sample));
            TRY(compare_rows(analysis));
        }
        TRY(token_numbers_exchange(&analysis->numbers, work));
        for (int data = 0; data < work->mesh.data && work->transport->rank == 0; data++)
            if (first + data < analysis->samples.count)
                TRY(write_sample(analysis, first + data, data));
    }
    return STATUS_OK;
}

/* ---- opening and closing ---- */

static enum status allocate(struct analysis *analysis)
{
    const size_t longest = (size_t)analysis->samples.longest;
    analysis->difference = calloc((size_t)analysis->samples.vocab, sizeof(float));
    analysis->record = calloc((size_t)PLANES * longest, sizeof(float));
    if (!analysis->difference || !analysis->record)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the scores of %zu tokens", longest);
    return token_numbers_create(&analysis->numbers, analysis->work, PLANES,
                                analysis->samples.longest);
}

static enum status open_analysis(struct analysis *analysis, const struct train_config *config)
{
    static _Thread_local char samples[TRAIN_STAGE_PATH_BYTES], scores[TRAIN_STAGE_PATH_BYTES];
    const char *method = config->training.method;
    if (!config->model.path[0] || !config->model.tuned[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "an analysis compares two models: give model.path, the one before, and "
                    "model.tuned, the one that was trained for the long window");
    train_stage_path(samples, config, "analyze", "samples");
    train_stage_path(scores, config, "analyze", "scores");
    TRY(sample_file_open(&analysis->samples, samples));
    TRY(scored_model_open(&analysis->before, config->model.path, method, analysis->work,
                          &analysis->samples));
    TRY(scored_model_open(&analysis->after, config->model.tuned, method, analysis->work,
                          &analysis->samples));
    TRY(allocate(analysis));
    if (analysis->work->transport->rank > 0)
        return STATUS_OK;
    TRY(score_file_create(&analysis->writer, scores, analysis->samples.vocab));
    analysis->writes = true;
    return STATUS_OK;
}

static enum status close_writer(struct analysis *analysis, enum status status)
{
    if (!analysis->writes)
        return status;
    if (status == STATUS_OK)
        return record_writer_close(&analysis->writer);
    record_writer_discard(&analysis->writer);
    return status;
}

static void close_analysis(void *context)
{
    struct analysis *analysis = context;
    free(analysis->record);
    free(analysis->difference);
    token_numbers_destroy(&analysis->numbers);
    scored_model_close(&analysis->after);
    scored_model_close(&analysis->before);
    record_file_close(&analysis->samples);
    free(analysis);
}

enum status analyze_samples_run(struct rank_work *work, const struct train_config *config)
{
    struct analysis *analysis = calloc(1, sizeof *analysis);
    if (!analysis)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an analysis");
    analysis->work = work;
    rank_work_leave(work, close_analysis, analysis);
    enum status status = agreement_reach(work->transport, open_analysis(analysis, config));
    if (status == STATUS_OK)
        status = analyze_all(analysis);
    return close_writer(analysis, status);
}
