/* Owns the sequence of steps: which samples each takes, what the ranks tell each other after it,
 * and when a checkpoint is due. */
#include "worker/trainer/train_loop.h"

#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "worker/agreement.h"
#include "worker/trainer/step_report.h"
#include "worker/trainer/train_run.h"

struct loop {
    struct train_run run;
    struct step_report report; /* of rank 0 */
    const struct trainer_options *options;
    int64_t last;       /* step */
    int64_t saved;      /* newest checkpoint's step; -1: none */
    struct word *words; /* [size] */
};

/* What each rank tells of a step. */
struct word {
    double loss;
    int64_t drain;
};

/* ---- a step ---- */

static enum status read_sample(struct loop *loop, struct sample *sample, int64_t step,
                               int64_t number)
{
    struct train_run *run = &loop->run;
    const int64_t batch = run->stage->training->batch;
    const int64_t place = sample_order_place(&run->order, (step - 1) * batch + number);
    return sample_file_read(&run->samples, sample, place);
}

/* Tokens of all samples of a step, and those that the loss counts. */
static enum status count_tokens(struct loop *loop, int64_t step, int64_t *tokens, int64_t *counted)
{
    *tokens = *counted = 0;
    for (int64_t number = 0; number < loop->run.stage->training->batch; number++) {
        struct sample sample;
        TRY(read_sample(loop, &sample, step, number));
        *tokens += sample.count;
        for (int64_t t = 0; t < sample.count; t++)
            *counted += sample.counts[t];
    }
    return *counted > 0
               ? STATUS_OK
               : fail(
                     STATUS_INVALID_ARGUMENT,
                     "%s: none of the %lld tokens of step %lld is in the loss: make training.batch "
                     "larger, or select more",
                     loop->run.stage->samples, (long long)*tokens, (long long)step);
}

/* This rank's part: the samples of its place on the data axis, and of them its tokens. */
static enum status add_gradients(struct loop *loop, int64_t step, int64_t counted, double *loss)
{
    struct train_run *run = &loop->run;
    const struct rank_work *work = run->work;
    const int64_t batch = run->stage->training->batch;
    const int64_t first = batch * work->place.data / work->mesh.data;
    const int64_t end = batch * (work->place.data + 1) / work->mesh.data;
    TRY(train_run_clear(run));
    *loss = 0;
    for (int64_t number = first; number < end; number++) {
        struct sample sample;
        TRY(read_sample(loop, &sample, step, number));
        TRY(pass_gradient(run->pass, run->weights, run->gradients, &sample,
                          (float)(1.0 / (double)counted), loss));
        transport_mark(work->transport);
    }
    return STATUS_OK;
}

/* The sum of the ranks' losses in their order, and whether any of them is told to end. */
static enum status exchange_words(struct loop *loop, double *loss, bool *drains)
{
    struct transport *t = loop->run.work->transport;
    const struct word mine = {*loss, loop->options->drain && atomic_load(loop->options->drain)};
    TRY(transport_gather_each(t, &mine, loop->words, sizeof mine));
    *loss = 0;
    *drains = false;
    for (int rank = 0; rank < t->size; rank++) {
        *loss += loop->words[rank].loss;
        *drains = *drains || loop->words[rank].drain;
    }
    return STATUS_OK;
}

static enum status take_step(struct loop *loop, int64_t step, bool *drains)
{
    struct train_run *run = &loop->run;
    struct step_facts facts = {.step = step, .learning_rate = learning_rate_at(&run->rate, step)};
    const int64_t begun_ns = clock_now_ns();
    int64_t counted;
    double loss;
    TRY(count_tokens(loop, step, &facts.tokens, &counted));
    TRY(add_gradients(loop, step, counted, &loss));
    TRY(optimiser_step(run->optimiser, run->weights, run->gradients, step, facts.learning_rate,
                       &facts.grad_norm));
    TRY(exchange_words(loop, &loss, drains));
    run->state.step = step;
    run->state.tokens += facts.tokens;
    facts.loss = loss / (double)counted;
    facts.seconds = (double)(clock_now_ns() - begun_ns) * 1e-9;
    return run->work->transport->rank == 0 ? step_report_write(&loop->report, &facts) : STATUS_OK;
}

/* ---- steps ---- */

static enum status save(struct loop *loop)
{
    struct train_run *run = &loop->run;
    if (loop->saved == run->state.step)
        return STATUS_OK;
    TRY(train_run_fetch(run));
    TRY(training_state_write(run->work->transport, run->stage->folder, &run->state,
                             (int)run->stage->training->keep));
    loop->saved = run->state.step;
    return STATUS_OK;
}

static enum status take_steps(struct loop *loop)
{
    struct train_run *run = &loop->run;
    const int64_t between = run->stage->training->checkpoint_steps;
    bool drains = false;
    while (run->state.step < loop->last && !drains) {
        const int64_t step = run->state.step + 1;
        TRY(take_step(loop, step, &drains));
        if (drains || step == loop->last || (between > 0 && step % between == 0))
            TRY(save(loop));
    }
    if (drains && run->state.step < loop->last)
        return fail(STATUS_CANCELLED,
                    "told to end: step %lld of %lld is saved in %s; start it again to go on",
                    (long long)run->state.step, (long long)loop->last, run->stage->folder);
    return STATUS_OK;
}

static enum status open_report(struct loop *loop)
{
    const struct train_run *run = &loop->run;
    enum status status = STATUS_OK;
    if (run->work->transport->rank == 0)
        status = step_report_open(&loop->report, run->stage->folder, run->state.step, loop->last,
                                  loop->options->json);
    return agreement_reach(run->work->transport, status);
}

static enum status run_steps(struct loop *loop)
{
    struct train_run *run = &loop->run;
    const int64_t asked = loop->options->last_step;
    loop->last = asked > 0 && asked < run->rate.steps ? asked : run->rate.steps;
    loop->saved = run->state.step > 0 ? run->state.step : -1;
    if (run->state.step > run->rate.steps)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s holds step %lld, and training.steps is %lld: name another output.folder, "
                    "or as many steps again",
                    run->stage->folder, (long long)run->state.step, (long long)run->rate.steps);
    TRY(open_report(loop));
    TRY(take_steps(loop));
    /* A run that was cut short on purpose has no model yet. */
    return loop->last == run->rate.steps ? train_run_save(run) : STATUS_OK;
}

static void close_loop(void *context)
{
    struct loop *loop = context;
    step_report_close(&loop->report);
    train_run_close(&loop->run);
    free(loop->words);
    free(loop);
}

enum status train_loop_run(struct rank_work *work, const struct trainer_options *options,
                           const struct train_stage *stage)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a training run");
    loop->options = options;
    rank_work_leave(work, close_loop, loop);
    loop->words = calloc((size_t)work->transport->size, sizeof *loop->words);
    if (!loop->words)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the words of the ranks");
    TRY(train_run_open(&loop->run, work, options->config, stage));
    return run_steps(loop);
}
