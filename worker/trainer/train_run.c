/* Owns what a training run holds on a rank, and the order in which it comes to be. Promises that
 * what cannot work is refused before the first step, memory among it. */
#include "worker/trainer/train_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/model_new.h"
#include "proto/model/model_save.h"
#include "worker/agreement.h"
#include "worker/process_memory.h"
#include "worker/trainer/flat_values.h"

static const char *model_path(const struct train_run *run)
{
    return run->model ? run->stage->model : run->config->model.shape;
}

/* ---- what the run is about ---- */

static enum status open_model(struct train_run *run)
{
    double base;
    if (run->stage->model[0]) {
        TRY(model_open(&run->model, run->stage->model));
        run->spec = *model_spec(run->model);
    } else {
        TRY(model_new_read_spec(&run->spec, run->config->model.shape));
    }
    train_stage_rope(&base, &run->context_tokens, run->stage, run->config, &run->spec);
    if (base != run->spec.rope_base)
        TRY(spec_replace_base(&run->spec, base, model_path(run)));
    return parameters_create(&run->parameters, &run->spec);
}

static enum status open_samples(struct train_run *run)
{
    const struct train_config_training *training = run->stage->training;
    TRY(sample_file_open(&run->samples, run->stage->samples));
    if (run->samples.vocab != run->spec.vocab)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s has ids of a vocabulary of %lld, and %s one of %d: make the samples with "
                    "this model",
                    run->stage->samples, (long long)run->samples.vocab, model_path(run),
                    run->spec.vocab);
    TRY(sample_order_init(&run->order, run->samples.count, (uint64_t)training->seed));
    run->rate = (struct learning_rate){
        .rate = training->learning_rate,
        .final_part = training->final_rate,
        .warmup_steps = training->warmup_steps,
        .steps = training->steps > 0 ? training->steps
                                     : (run->samples.count + training->batch - 1) / training->batch,
        .decay = training->decay == TRAIN_DECAY_CONSTANT ? LEARNING_RATE_CONSTANT
                 : training->decay == TRAIN_DECAY_LINEAR ? LEARNING_RATE_LINEAR
                                                         : LEARNING_RATE_COSINE,
    };
    return STATUS_OK;
}

/* What must be the same for a run to go on: all that has a part in the weights' bits, but for what
 * may change between two starts, such as the number of steps. */
static void name_run(struct train_run *run)
{
    const struct train_config_training *training = run->stage->training;
    char text[2 * TRAIN_CONFIG_TEXT_BYTES], model[DIGEST_HEX_BYTES] = "";
    char method[METHOD_TEXT_BYTES];
    method_print(&run->method, method);
    if (run->model)
        digest_model(model, run->model);
    const int bytes =
        snprintf(text, sizeof text,
                 "model=%s initialise=%" PRId64 " parameters=%zu base=%a samples=%" PRIx64
                 " method=%s batch=%" PRId64 " rate=%a warmup=%" PRId64
                 " decay=%d final=%a beta1=%a beta2=%a epsilon=%a weight_decay=%a clip=%a "
                 "compute=%d seed=%" PRId64,
                 model, run->model ? 0 : run->config->model.initialise, run->state.count,
                 run->spec.rope_base, run->samples.digest, method, training->batch,
                 training->learning_rate, training->warmup_steps, (int)training->decay,
                 training->final_rate, training->beta1, training->beta2, training->epsilon,
                 training->weight_decay, training->clip, (int)training->compute, training->seed);
    digest_bytes(run->state.run, text, (size_t)bytes);
}

/* ---- what it computes with ---- */

static enum status open_optimiser(struct train_run *run)
{
    const struct train_config_training *training = run->stage->training;
    const struct parameters *parameters = run->parameters;
    enum status status;
    size_t count = 0;
    struct optimiser_matrix *matrices = calloc((size_t)parameters->count, sizeof *matrices);
    if (!matrices)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the list of parameters");
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        const size_t first = (size_t)row->offset;
        if (!row->is_vector)
            matrices[count++] =
                (struct optimiser_matrix){first, first + (size_t)(row->rows * row->columns)};
    }
    status = optimiser_create(
        &run->optimiser,
        &(struct optimiser_options){
            .transport = run->work->transport,
            .pool = run->work->pool,
            .kernels = run->work->kernels,
            .count = run->state.count,
            .matrices = matrices,
            .matrices_count = count,
            .settings = {(float)training->beta1, (float)training->beta2, (float)training->epsilon,
                         (float)training->weight_decay, training->clip},
            .streams = run->work->streams,
        });
    free(matrices);
    return status;
}

static enum status open_pass(struct train_run *run)
{
    const struct train_config_training *training = run->stage->training;
    return pass_create(&run->pass, &(struct pass_options){
                                       .spec = &run->spec,
                                       .method = &run->method,
                                       .transport = run->work->sequence,
                                       .pool = run->work->pool,
                                       .kernels = run->work->kernels,
                                       .parameters = run->parameters,
                                       .tokens = run->samples.longest,
                                       .recompute = training->recompute == TRAIN_RECOMPUTE_LAYER,
                                       .bf16 = training->compute == TRAIN_COMPUTE_BF16,
                                       .streams = run->work->streams,
                                   });
}

/* ---- the plan ---- */

/* Of the slowest rank: they wait for each other. */
static enum status agree_on_rate(struct train_run *run, double *rate)
{
    struct transport *t = run->work->transport;
    const enum dtype operand =
        run->stage->training->compute == TRAIN_COMPUTE_BF16 ? DTYPE_BF16 : DTYPE_F32;
    double mine = 0;
    enum status status = rank_work_product_rate(&mine, run->work, operand, run->spec.hidden);
    TRY(agreement_reach(t, status));
    double *all = calloc((size_t)t->size, sizeof *all);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the ranks' rates");
    status = transport_gather_each(t, &mine, all, sizeof mine);
    *rate = mine;
    for (int rank = 0; rank < t->size; rank++)
        *rate = all[rank] < *rate ? all[rank] : *rate;
    free(all);
    return status;
}

/* Without what lies between tensors. */
static int64_t count_parameters(const struct parameters *parameters)
{
    int64_t count = 0;
    for (int p = 0; p < parameters->count; p++)
        count += parameters->list[p].rows * parameters->list[p].columns;
    return count;
}

static double mib(int64_t bytes)
{
    return (double)bytes / 0x1p20;
}

static void tell_plan(const struct train_run *run, double rate)
{
    const struct train_plan *plan = &run->plan;
    const struct mesh *mesh = &run->work->mesh;
    fprintf(stderr,
            "plan: %lld parameters on %d x %d x %d ranks (data, sequence, tensor), %lld steps of "
            "%lld samples of up to %lld tokens\n"
            "plan: a rank takes %.1f MiB: weights %.1f, gradients %.1f, optimiser %.1f, "
            "activations and exchange %.1f\n"
            "plan: a step has %.3g GFLOP in products and %.3g in attention, and sends %.1f MiB of "
            "gradients and weights a rank; at %.1f GFLOP/s a rank, measured now, it takes %.3g s "
            "or more\n",
            (long long)count_parameters(run->parameters), mesh->data, mesh->sequence, mesh->tensor,
            (long long)run->rate.steps, (long long)run->stage->training->batch,
            (long long)run->samples.longest, mib(plan->rank_bytes), mib(plan->weights_bytes),
            mib(plan->gradients_bytes),
            mib((int64_t)optimiser_bytes(run->state.count, run->work->transport->size)),
            mib((int64_t)pass_bytes(run->pass)), plan->products_flops * 1e-9,
            plan->attention_flops * 1e-9, mib(plan->exchange_bytes), rate * 1e-9,
            plan->step_seconds);
}

static enum status make_plan(struct train_run *run)
{
    const struct model_shape shape = spec_shape(&run->spec, 0);
    const struct transport *t = run->work->transport;
    double rate = 0;
    TRY(agree_on_rate(run, &rate));
    train_plan_make(&run->plan,
                    &(struct train_plan_request){
                        .shape = &shape,
                        .parameters = (int64_t)run->state.count,
                        .mesh = run->work->mesh,
                        .batch = run->stage->training->batch,
                        .sample_tokens = run->samples.longest,
                        .recompute = run->stage->training->recompute == TRAIN_RECOMPUTE_LAYER,
                        .optimiser_bytes = (int64_t)optimiser_bytes(run->state.count, t->size),
                        .pass_bytes = (int64_t)pass_bytes(run->pass),
                        .product_rate = rate,
                    });
    if (t->rank == 0)
        tell_plan(run, rate);
    return STATUS_OK;
}

/* ---- weights ---- */

static size_t flat_bytes(const struct train_run *run)
{
    return (run->state.count * sizeof(float) + 63) / 64 * 64;
}

static enum status allocate_on_gpu(struct train_run *run)
{
    const struct cuda_runtime *runtime = run->work->streams->runtime;
    void *copy, *weights, *gradients;
    TRY(runtime->host_allocate(&copy, flat_bytes(run)));
    run->state.weights = copy;
    TRY(runtime->allocate(&weights, flat_bytes(run)));
    run->weights = weights;
    TRY(runtime->allocate(&gradients, flat_bytes(run)));
    run->gradients = gradients;
    return STATUS_OK;
}

static enum status allocate_arrays(struct train_run *run)
{
    const size_t bytes = flat_bytes(run);
    const int64_t room = process_memory_available() / run->work->transport->local_size;
    if (run->work->streams)
        return allocate_on_gpu(run);
    /* Nobody has written to the pass and the optimiser yet, so that their pages are still free. */
    if (room > 0 && run->plan.rank_bytes > room)
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "a rank takes %.1f MiB, and this host has %.1f MiB left for each of its ranks: "
                    "use fewer ranks a host, shorter samples, or a host with more memory",
                    mib(run->plan.rank_bytes), mib(room));
    run->weights = run->state.weights = aligned_alloc(64, bytes);
    run->gradients = aligned_alloc(64, bytes);
    if (!run->state.weights || !run->gradients)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for weights and gradients: %.1f MiB",
                    mib((int64_t)(2 * bytes)));
    memset(run->gradients, 0, bytes);
    return STATUS_OK;
}

static void free_arrays(struct train_run *run)
{
    if (!run->work->streams) {
        free(run->gradients);
        free(run->weights);
        return;
    }
    const struct cuda_runtime *runtime = run->work->streams->runtime;
    runtime->release(run->gradients);
    runtime->release(run->weights);
    runtime->host_release(run->state.weights);
}

enum status train_run_clear(struct train_run *run)
{
    const size_t bytes = run->state.count * sizeof *run->gradients;
    const struct cuda_streams *streams = run->work->streams;
    if (streams)
        return streams->runtime->fill(run->gradients, 0, bytes, streams->compute);
    memset(run->gradients, 0, bytes);
    return STATUS_OK;
}

enum status train_run_fetch(struct train_run *run)
{
    const struct cuda_streams *streams = run->work->streams;
    if (!streams)
        return STATUS_OK;
    TRY(streams->runtime->copy(run->state.weights, run->weights,
                               run->state.count * sizeof *run->weights, streams->compute));
    return optimiser_fetch(run->optimiser);
}

static enum status send_weights(struct train_run *run)
{
    const struct cuda_streams *streams = run->work->streams;
    if (!streams)
        return STATUS_OK;
    TRY(streams->runtime->copy(run->weights, run->state.weights,
                               run->state.count * sizeof *run->weights, streams->compute));
    return optimiser_send(run->optimiser);
}

static enum status fill_weights(struct train_run *run)
{
    bool found = false;
    run->state.mine = optimiser_state(run->optimiser);
    TRY(training_state_read(run->work->transport, run->stage->folder, &run->state, &found));
    if (!found && run->model)
        TRY(parameters_load(run->state.weights, run->parameters, run->model));
    else if (!found)
        parameters_initialise(run->state.weights, run->parameters,
                              (uint64_t)run->config->model.initialise);
    return send_weights(run);
}

/* ---- the trained model ---- */

static enum dtype dtype_of(enum train_dtype dtype)
{
    switch (dtype) {
    case TRAIN_DTYPE_FLOAT32:
        return DTYPE_F32;
    case TRAIN_DTYPE_BFLOAT16:
        return DTYPE_BF16;
    case TRAIN_DTYPE_FLOAT16:
        return DTYPE_F16;
    }
    return DTYPE_F32;
}

/* `check`: whether it can be written, so that nobody trains for hours before a refusal. */
static enum status save_one(const struct train_run *run, const struct model_values *values,
                            enum model_save_format format, const char *path, bool check)
{
    const struct model_save save = {
        .source = run->model,
        .values = values,
        .format = format,
        .dtype = dtype_of(run->config->output.dtype),
        .rope_base = run->spec.rope_base,
        .context_tokens = run->context_tokens,
    };
    if (!path[0])
        return STATUS_OK;
    if (check)
        return run->model ? model_save_check(&save, path) : STATUS_OK;
    if (run->model)
        return model_save(&save, path);
    return model_new_write(path, run->config->model.shape, values);
}

static enum status save_all(const struct train_run *run, const struct model_values *values,
                            bool check)
{
    const struct train_stage *stage = run->stage;
    TRY(save_one(run, values, MODEL_SAVE_FOLDER, stage->output_folder, check));
    return save_one(run, values, MODEL_SAVE_GGUF, stage->output_gguf, check);
}

enum status train_run_save(struct train_run *run)
{
    struct flat_values flat = {run->parameters, run->state.weights, run->work->transport};
    const struct model_values values = flat_values_of(&flat);
    enum status status = STATUS_OK;
    if (run->work->transport->rank == 0)
        status = save_all(run, &values, false);
    return agreement_reach(run->work->transport, status);
}

/* ---- opening and closing ---- */

static enum status open_files(struct train_run *run)
{
    TRY(open_model(run));
    run->state.count = (size_t)run->parameters->floats;
    TRY(open_samples(run));
    TRY(method_parse(&run->method, run->stage->training->method,
                     train_stage_window(run->config, &run->spec)));
    TRY(method_check(&run->method));
    name_run(run);
    return run->work->transport->rank == 0 ? save_all(run, NULL, true) : STATUS_OK;
}

enum status train_run_open(struct train_run *run, struct rank_work *work,
                           const struct train_config *config, const struct train_stage *stage)
{
    struct transport *t = work->transport;
    *run = (struct train_run){.work = work, .config = config, .stage = stage};
    TRY(agreement_reach(t, open_files(run)));
    enum status status = open_optimiser(run);
    if (status == STATUS_OK)
        status = open_pass(run);
    TRY(agreement_reach(t, status));
    TRY(make_plan(run));
    TRY(agreement_reach(t, allocate_arrays(run)));
    return fill_weights(run);
}

void train_run_close(struct train_run *run)
{
    pass_destroy(run->pass);
    optimiser_destroy(run->optimiser);
    free_arrays(run);
    parameters_destroy(run->parameters);
    sample_order_deinit(&run->order);
    record_file_close(&run->samples);
    model_close(run->model);
}
