/* Owns the scoring of one model over a file of samples, a sample of each place of the data axis at
 * a time. */
#include "worker/trainer/score_samples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_writer.h"
#include "worker/agreement.h"
#include "worker/trainer/scored_model.h"
#include "worker/trainer/token_numbers.h"

enum { LOGPROB, ARGMAX, PLANES };

struct scoring {
    struct rank_work *work;
    struct record_file samples;
    struct scored_model scored;
    struct token_numbers numbers;
    struct sample sample; /* that the pass is over */
    FILE *out;            /* of rank 0 */
    const char *out_path;
};

/* What the row of the token before says of `token`. */
static enum status look_at(struct scoring *scoring, int64_t token, const float *logits)
{
    const struct kernels *kernels = scoring->work->kernels;
    const int64_t vocab = scoring->samples.vocab;
    const int32_t id = scoring->sample.ids[token];
    const double sum = kernels->logsumexp(logits, vocab);
    if (sum != sum)
        return fail(STATUS_INTERNAL, "the logits before token %lld are not finite",
                    (long long)token);
    token_numbers_set(&scoring->numbers, LOGPROB, token, (float)((double)logits[id] - sum));
    token_numbers_set(&scoring->numbers, ARGMAX, token, kernels->largest(logits, vocab) == id);
    return STATUS_OK;
}

static enum status look_at_rows(struct scoring *scoring)
{
    struct scored_model *scored = &scoring->scored;
    for (int64_t row = 0; row < pass_rows(scored->pass); row++) {
        const int64_t token = pass_row_index(scored->pass, row) + 1;
        if (token >= scoring->sample.count || !scoring->sample.counts[token])
            continue;
        TRY(look_at(scoring, token, scored_model_logits(scored, row)));
        transport_mark(scoring->work->transport);
    }
    return STATUS_OK;
}

static void write_plane(struct scoring *scoring, struct json_writer *writer, const char *key,
                        int data, int plane)
{
    json_writer_begin_array(writer, key);
    for (int64_t token = 0; token < scoring->sample.count; token++) {
        float value;
        if (!token_numbers_get(&scoring->numbers, scoring->work, data, plane < 0 ? 0 : plane, token,
                               &value))
            continue;
        if (plane < 0)
            json_writer_integer(writer, NULL, token);
        else if (plane == ARGMAX)
            json_writer_boolean(writer, NULL, value > 0);
        else
            json_writer_float(writer, NULL, value);
    }
    json_writer_end_array(writer);
}

static enum status write_sample(struct scoring *scoring, int64_t number, int data)
{
    struct json_writer writer = {.file = scoring->out};
    TRY(sample_file_read(&scoring->samples, &scoring->sample, number));
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "sample", number);
    json_writer_integer(&writer, "tokens", scoring->sample.count);
    write_plane(scoring, &writer, "index", data, -1);
    write_plane(scoring, &writer, "logprob", data, LOGPROB);
    write_plane(scoring, &writer, "argmax", data, ARGMAX);
    json_writer_end_object(&writer);
    return fputc('\n', scoring->out) == '\n'
               ? STATUS_OK
               : fail(STATUS_IO, "write %s: %s", scoring->out_path, strerror(errno));
}

/* Samples first .. first + places of the data axis. */
static enum status score_round(struct scoring *scoring, int64_t first)
{
    const struct rank_work *work = scoring->work;
    const int64_t number = first + work->place.data;
    token_numbers_clear(&scoring->numbers);
    if (number < scoring->samples.count) {
        TRY(sample_file_read(&scoring->samples, &scoring->sample, number));
        TRY(scored_model_forward(&scoring->scored, &scoring->sample));
        TRY(look_at_rows(scoring));
    }
    TRY(token_numbers_exchange(&scoring->numbers, work));
    for (int data = 0; data < work->mesh.data && work->transport->rank == 0; data++)
        if (first + data < scoring->samples.count)
            TRY(write_sample(scoring, first + data, data));
    return STATUS_OK;
}

static enum status score_all(struct scoring *scoring)
{
    const int64_t places = scoring->work->mesh.data;
    for (int64_t first = 0; first < scoring->samples.count; first += places)
        TRY(score_round(scoring, first));
    return STATUS_OK;
}

static enum status open_scoring(struct scoring *scoring, const char *model, const char *method,
                                const char *samples)
{
    TRY(sample_file_open(&scoring->samples, samples));
    TRY(scored_model_open(&scoring->scored, model, method, scoring->work, &scoring->samples));
    TRY(token_numbers_create(&scoring->numbers, scoring->work, PLANES, scoring->samples.longest));
    if (scoring->work->transport->rank == 0 && !(scoring->out = fopen(scoring->out_path, "we")))
        return fail(STATUS_IO, "open %s: %s", scoring->out_path, strerror(errno));
    return STATUS_OK;
}

/* Half a file has nobody's name. */
static enum status close_out(struct scoring *scoring, enum status status)
{
    if (!scoring->out)
        return status;
    if (fclose(scoring->out) != 0 && status == STATUS_OK)
        status = fail(STATUS_IO, "write %s: %s", scoring->out_path, strerror(errno));
    if (status != STATUS_OK)
        remove(scoring->out_path);
    return status;
}

static void close_scoring(void *context)
{
    struct scoring *scoring = context;
    token_numbers_destroy(&scoring->numbers);
    scored_model_close(&scoring->scored);
    record_file_close(&scoring->samples);
    free(scoring);
}

enum status score_samples_run(struct rank_work *work, const char *model, const char *method,
                              const char *samples, const char *out)
{
    struct scoring *scoring = calloc(1, sizeof *scoring);
    if (!scoring)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to score samples");
    *scoring = (struct scoring){.work = work, .out_path = out};
    rank_work_leave(work, close_scoring, scoring);
    enum status status = open_scoring(scoring, model, method, samples);
    status = agreement_reach(work->transport, status);
    if (status == STATUS_OK)
        status = score_all(scoring);
    return close_out(scoring, status);
}
