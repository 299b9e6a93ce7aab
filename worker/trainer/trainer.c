/* Owns a rank's transport and what it computes with, around the work that was asked for. Promises
 * that a rank which fails ends the others. */
#include "worker/trainer/trainer.h"

#include <stddef.h>

#include "worker/rank_place.h"
#include "worker/trainer/analyze_samples.h"
#include "worker/trainer/rank_work.h"
#include "worker/trainer/score_samples.h"
#include "worker/trainer/train_loop.h"

/* A layer of a long sample may take as long. */
#define SILENCE_NS (300 * INT64_C(1000000000))

/* Without a configuration every rank has samples of its own. */
static struct mesh mesh_of(const struct train_config *config, int size)
{
    if (!config)
        return (struct mesh){size, 1, 1};
    return (struct mesh){(int)config->mesh.data, (int)config->mesh.sequence,
                         (int)config->mesh.tensor};
}

static const char *method_of(const struct trainer_options *options)
{
    if (options->method)
        return options->method;
    return options->config ? options->config->training.method : "rope";
}

static enum status run(struct rank_work *work, const struct trainer_options *options,
                       const struct train_stage *stage)
{
    if (options->score)
        return score_samples_run(work,
                                 options->model ? options->model : options->config->model.path,
                                 method_of(options), options->score, options->out);
    if (options->analyze)
        return analyze_samples_run(work, options->config);
    return train_loop_run(work, options, stage);
}

/* Steps alone are computed on GPUs. */
static bool wants_gpu(const struct trainer_options *options)
{
    struct train_stage stage;
    if (!options->config || options->score || options->analyze)
        return false;
    train_stage_make(&stage, options->config, options->stage);
    return stage.training->device == TRAIN_DEVICE_CUDA;
}

static enum status open_and_run(struct rank_work *work, const struct rank_place *place,
                                const struct trainer_options *options)
{
    struct transport *transport = place->transport;
    const struct train_config *config = options->config;
    const struct mesh mesh = mesh_of(config, transport->size);
    struct train_stage stage = {.training = NULL};
    int batch = mesh.data, threads = options->threads;
    if (config) {
        train_stage_make(&stage, config, options->stage);
        threads = threads ? threads : (int)stage.training->threads;
    }
    if (config && !options->score && !options->analyze)
        batch = (int)stage.training->batch;
    TRY(rank_work_open(work, transport, &mesh, batch, threads, options->kernels));
    work->streams = place->on_gpu ? &place->streams : NULL;
    transport_set_silence(transport, SILENCE_NS);
    transport_set_silence(work->sequence, SILENCE_NS);
    return run(work, options, &stage);
}

enum status trainer_play(struct transport *transport, const struct trainer_options *options)
{
    const struct rank_place_request request = {
        .cuda = true,
        .find_cuda = options->find_cuda,
        .find_nccl = options->find_nccl,
    };
    struct rank_place place = {.transport = transport};
    struct rank_work work = {0};
    enum status status = STATUS_OK;
    if (wants_gpu(options))
        status = rank_place_open(&place, transport, &request);
    if (status == STATUS_OK)
        status = open_and_run(&work, &place, options);
    /* Told to end, all ranks end alike. */
    if (status != STATUS_OK && status != STATUS_CANCELLED)
        transport_abort(place.transport, status_message());
    rank_work_close(&work);
    transport_destroy(place.transport);
    place.transport = NULL;
    rank_work_end(&work); /* what lies on the GPU goes before the GPU does */
    rank_place_close(&place);
    return status;
}
