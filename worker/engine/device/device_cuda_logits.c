/* What the host reads of the row of logits at hand: all of it, or a few numbers that the device
 * finds in it. Each call waits for all that was put on the compute stream. */
#include "proto/clock.h"
#include "worker/engine/device/device_cuda_logits.h"

/* Copies to the host, and waits until it is there. */
static enum status fetch(struct device_cuda *cuda, void *to, const void *from, size_t bytes)
{
    const int64_t start_ns = clock_now_ns();
    TRY(device_cuda_part(cuda, cuda->logits_part));
    TRY(device_cuda_copy(cuda, to, from, bytes));
    TRY(device_cuda_end_parts(cuda, NULL));
    TRY(device_cuda_settle(cuda, NULL));
    cuda->device.compute_seconds += clock_seconds_since(start_ns);
    return STATUS_OK;
}

enum status device_cuda_read_logits(struct device *device, struct span outputs)
{
    struct device_cuda *cuda = device_cuda_of(device);
    return fetch(cuda, device->memory.logits + outputs.first, cuda->logits + outputs.first,
                 (size_t)(outputs.end - outputs.first) * sizeof(float));
}

/* Only after a step: its lists, which nothing on the device reads any more, hold the id and the
 * result. */
enum status device_cuda_logprob(struct device *device, float *logprob, int32_t id)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const struct device_cuda_lists *host = &cuda->step.host;
    const struct device_cuda_lists *there = &cuda->step.there;
    const struct kernels_cuda_logits args = {
        .out = there->scores,
        .logits = cuda->logits,
        .ids = there->targets,
        .rows = 1,
        .vocab = cuda->spec.vocab,
    };
    TRY(device_cuda_part(cuda, cuda->logits_part));
    host->targets[0] = id;
    TRY(device_cuda_copy(cuda, there->targets, host->targets, sizeof id));
    LAUNCH(cuda, logits, &args);
    TRY(fetch(cuda, host->scores, there->scores, sizeof *host->scores));
    *logprob = host->scores[0].logprob;
    return STATUS_OK;
}

enum status device_cuda_survey(struct device *device, struct logits_survey *survey,
                               double temperature)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const struct kernels_cuda_survey args = {
        .out = cuda->survey,
        .work = cuda->surveyed,
        .logits = cuda->logits,
        .vocab = cuda->spec.vocab,
        .temperature = temperature,
    };
    TRY(device_cuda_part(cuda, cuda->logits_part));
    LAUNCH(cuda, survey, &args);
    TRY(fetch(cuda, cuda->pinned_survey, cuda->survey, sizeof *cuda->survey));
    *survey = *cuda->pinned_survey;
    return STATUS_OK;
}
