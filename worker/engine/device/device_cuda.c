/* Owns one rank's weights and memory on a GPU, and the pinned memory through which numbers reach
 * the host. Promises that nothing is allocated between device_prepare and the end of a request, and
 * that the host waits only where it needs a number, where a list that the device still reads is
 * written anew, and not to get more than DEVICE_CUDA_AHEAD layers ahead. */
#include "worker/engine/device/device_cuda.h"

#include <assert.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "worker/engine/device/device_cuda_logits.h"
#include "worker/engine/device/device_cuda_parts.h"
#include "worker/engine/device/device_cuda_stage.h"
#include "worker/engine/device/device_cuda_step.h"

/* Scratch is aligned as allocations are: products are fastest so, and their workspace has to be. */
enum {
    SCRATCH_ALIGNMENT = 256,
    LIST_ALIGNMENT = 16,
    LIST_SIDES = 2,
    SURVEY_SIDES = 2,
    PARTS_OF_A_LAYER = 6,
    BLOCK_STEP = 48,
};

/* ---- what the planner must know ---- */

/* What a piece of scratch takes up. */
static int64_t rounded(int64_t bytes)
{
    return (bytes + SCRATCH_ALIGNMENT - 1) / SCRATCH_ALIGNMENT * SCRATCH_ALIGNMENT;
}

static int64_t surveyed_bytes(const struct device_cuda *cuda)
{
    return kernels_cuda_survey_blocks(cuda->spec.vocab) *
           (int64_t)sizeof(struct kernels_cuda_surveyed);
}

static int64_t survey_bytes(void)
{
    return rounded((int64_t)sizeof(struct logits_survey));
}

static int token_splits(const struct device_cuda *cuda)
{
    return kernels_cuda_decode_splits(cuda->streams->facts.processors, cuda->spec.kv_heads,
                                      cuda->spec.head_dim);
}

static int64_t token_partials_bytes(const struct device_cuda *cuda)
{
    return (int64_t)token_splits(cuda) * cuda->spec.heads * (cuda->spec.head_dim + 2) * 4;
}

static int64_t scratch_bytes(const struct device_cuda *cuda)
{
    return rounded((int64_t)cuda->streams->runtime->workspace_bytes) +
           rounded(DEVICE_CUDA_BLOCK_ROWS * (int64_t)cuda->layout.row_bytes) +
           rounded(device_cuda_expanded_elements(cuda) * DEVICE_CUDA_OPERAND_BYTES) +
           rounded(token_partials_bytes(cuda)) + rounded(surveyed_bytes(cuda)) +
           SURVEY_SIDES * survey_bytes();
}

static void describe(struct device_cuda *cuda)
{
    const struct model_spec *spec = &cuda->spec;
    const struct cuda_streams *streams = cuda->streams;
    struct device *device = &cuda->device;
    layer_program_lay_out(&cuda->layout, cuda->program, DEVICE_CUDA_OPERAND_BYTES);
    device->spec = spec;
    device->shape = spec_shape(spec, (int64_t)weights_cuda_bytes(cuda->weights));
    device->needs = (struct memory_request){
        .threads = 1,
        .scratch_bytes = scratch_bytes(cuda),
        .logit_rows = DEVICE_CUDA_LOGIT_ROWS + 1, /* one of them on the host */
        .list_row_bytes = LIST_SIDES * (2 * sizeof(int32_t) + 2 * sizeof(int64_t) +
                                        sizeof(struct kernels_cuda_logits_row)),
        .list_panel_bytes = LIST_SIDES * 2 * sizeof(struct kernels_cuda_extent),
    };
    device->cache = CHOICE_CACHE_BF16;
    device->kernels = "cuda";
    device->record_bytes = attention_record_bytes(DTYPE_BF16, spec->kv_heads, spec->head_dim);
    device->threads = 1;
    device->blocks = 4; /* few large products; blocks are what peers wait for */
    device->block_rows = DEVICE_CUDA_BLOCK_ROWS;
    device->block_step = BLOCK_STEP;
    device->tile_tokens = PANEL_TOKENS;
    device->step_sequences = 1;
    device->stage_sequences = 1;
    device->attend_most = 1; /* so that a slot is free as soon as its keys are done with */
    device->memory_bytes =
        streams->facts.free_bytes > 0 ? streams->facts.free_bytes / streams->ranks : INT64_MAX;
    snprintf(device->facts, sizeof device->facts,
             "device=cuda gpu=%d gpus=%d ranks_on_gpu=%d name=\"%s\" bus=%s sm=%d.%d "
             "memory_gib=%.1f numa=%d links=%s runtime=\"%s\"%s",
             streams->device, streams->devices, streams->ranks, streams->facts.name,
             streams->facts.bus, streams->facts.major, streams->facts.minor,
             (double)streams->facts.memory_bytes / 0x1p30, streams->facts.numa_node, streams->links,
             streams->runtime->name, streams->ranks > 1 ? " timings=invalid" : "");
}

/* ---- memory ---- */

static void release_memory(struct device_cuda *cuda)
{
    const struct cuda_runtime *runtime = cuda->streams->runtime;
    device_cuda_step_deinit(cuda);
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        runtime->release(cuda->regions[region]);
        cuda->regions[region] = NULL;
    }
    runtime->host_release(cuda->pinned_lists);
    runtime->host_release(cuda->pinned_logits);
    runtime->host_release(cuda->pinned_survey);
    cuda->pinned_lists = NULL;
    cuda->pinned_logits = NULL;
    cuda->pinned_survey = NULL;
}

static void destroy(struct device *device)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const struct cuda_runtime *runtime = cuda->streams->runtime;
    release_memory(cuda);
    for (int e = 0; e < DEVICE_CUDA_AHEAD; e++)
        runtime->event_destroy(cuda->layers_done[e]);
    part_clock_deinit(&cuda->clock);
    runtime->event_destroy(cuda->reached);
    runtime->event_destroy(cuda->lists_read);
    weights_cuda_destroy(cuda->weights);
    layer_program_destroy(cuda->program);
    free(cuda->spans);
    free(cuda->span_queries);
    free(cuda);
}

/* The next `bytes` of lists at *at, which moves on. */
static void *carve(char **at, int64_t bytes)
{
    char *piece = *at;
    *at += ((size_t)bytes + LIST_ALIGNMENT - 1) / LIST_ALIGNMENT * LIST_ALIGNMENT;
    return piece;
}

static void carve_lists(struct device_cuda_lists *lists, char **at, int64_t rows)
{
    lists->ids = carve(at, rows * (int64_t)sizeof *lists->ids);
    lists->indices = carve(at, rows * (int64_t)sizeof *lists->indices);
    lists->records = carve(at, rows * (int64_t)sizeof *lists->records);
    lists->targets = carve(at, rows * (int64_t)sizeof *lists->targets);
    lists->scores = carve(at, rows * (int64_t)sizeof *lists->scores);
}

static void carve_side(const struct device_cuda *cuda, struct device_cuda_lists *stage,
                       struct device_cuda_lists *step, void *memory)
{
    char *at = memory;
    carve_lists(stage, &at, cuda->device.group.stage_rows);
    carve_lists(step, &at, cuda->device.group.step_rows);
    step->extents = carve(&at, cuda->step.extent_capacity * (int64_t)sizeof *step->extents);
    step->split_first =
        carve(&at, (cuda->step.extent_capacity + 1) * (int64_t)sizeof *step->split_first);
    const size_t used = (size_t)(at - (char *)memory);
    if (used > (size_t)cuda->plan.bytes[MEMORY_LISTS] / LIST_SIDES)
        abort(); /* the plan's formula and this walk disagree */
}

/* The next `bytes` of scratch at *at, which moves on. */
static void *carve_piece(char **at, int64_t bytes)
{
    char *piece = *at;
    *at += rounded(bytes);
    return piece;
}

static void carve_scratch(struct device_cuda *cuda)
{
    const int64_t operand = DEVICE_CUDA_OPERAND_BYTES;
    char *at = cuda->regions[MEMORY_THREAD_SCRATCH];
    cuda->workspace = carve_piece(&at, (int64_t)cuda->streams->runtime->workspace_bytes);
    cuda->block = carve_piece(&at, DEVICE_CUDA_BLOCK_ROWS * (int64_t)cuda->layout.row_bytes);
    cuda->expanded = carve_piece(&at, device_cuda_expanded_elements(cuda) * operand);
    cuda->step.token_partials = carve_piece(&at, token_partials_bytes(cuda));
    cuda->surveyed = carve_piece(&at, surveyed_bytes(cuda));
    cuda->survey = carve_piece(&at, (int64_t)sizeof *cuda->survey);
}

static void carve_all(struct device_cuda *cuda)
{
    const struct model_spec *spec = &cuda->spec;
    const int64_t heads = cuda->device.group.stage_rows * spec->heads;
    struct device_memory *memory = &cuda->device.memory;
    memory->cache = cuda->regions[MEMORY_CACHE];
    memory->slots = cuda->regions[MEMORY_RECEIVE_SLOTS];
    memory->logits = cuda->pinned_logits;
    cuda->hidden = cuda->regions[MEMORY_HIDDEN];
    cuda->queries = cuda->regions[MEMORY_QUERIES];
    cuda->tables = cuda->regions[MEMORY_ROPE_TABLES];
    cuda->acc = cuda->regions[MEMORY_STATE];
    cuda->max = cuda->acc + heads * spec->head_dim;
    cuda->sum = cuda->max + heads;
    carve_scratch(cuda);
    cuda->logits = cuda->regions[MEMORY_LOGITS];
    cuda->logit_normed = cuda->logits + (int64_t)DEVICE_CUDA_LOGIT_ROWS * spec->vocab;
    cuda->step.splits = MEMORY_RANGES_MOST;
    cuda->step.extent_capacity = (int)cuda->device.group.pool_slots + cuda->step.splits;
    cuda->step.token_splits = token_splits(cuda);
    if (cuda->step.token_splits > cuda->step.extent_capacity)
        cuda->step.token_splits = cuda->step.extent_capacity; /* none of less than a panel */
    carve_side(cuda, &cuda->host, &cuda->step.host, cuda->pinned_lists);
    carve_side(cuda, &cuda->there, &cuda->step.there, cuda->regions[MEMORY_LISTS]);
}

/* The bytes of a region that lie on the device: of lists and the survey one side, of logits all
 * rows but one. */
static size_t device_bytes(const struct device_cuda *cuda, enum memory_region region)
{
    const size_t bytes = (size_t)cuda->plan.bytes[region];
    const size_t logit_row = (size_t)(cuda->spec.vocab + cuda->spec.hidden) * sizeof(float);
    switch (region) {
    case MEMORY_WEIGHTS:
    case MEMORY_IDS:
    case MEMORY_SCORES:
    case MEMORY_SAMPLERS:
    case MEMORY_DRAFTS:
        return 0;
    case MEMORY_LISTS:
        return bytes / LIST_SIDES;
    case MEMORY_LOGITS:
        return bytes - logit_row;
    case MEMORY_THREAD_SCRATCH:
        return bytes - (size_t)survey_bytes();
    default:
        return bytes;
    }
}

/* Of the logits at hand, which are pinned: what is copied at once, too, to or from the host's other
 * memory. */
static size_t piece_bytes(const struct device_cuda *cuda)
{
    return (size_t)cuda->plan.bytes[MEMORY_LOGITS] - device_bytes(cuda, MEMORY_LOGITS);
}

static enum status allocate_all(struct device_cuda *cuda)
{
    const struct cuda_runtime *runtime = cuda->streams->runtime;
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        const size_t bytes = device_bytes(cuda, (enum memory_region)region);
        if (bytes > 0)
            TRY(runtime->allocate(&cuda->regions[region], bytes));
    }
    TRY(runtime->host_allocate(&cuda->pinned_lists,
                               (size_t)cuda->plan.bytes[MEMORY_LISTS] / LIST_SIDES));
    TRY(runtime->host_allocate(&cuda->pinned_logits, piece_bytes(cuda)));
    void *survey;
    TRY(runtime->host_allocate(&survey, (size_t)survey_bytes()));
    cuda->pinned_survey = survey;
    return STATUS_OK;
}

static enum status prepare(struct device *device, const struct group_choice *group,
                           const struct memory_plan *plan)
{
    struct device_cuda *cuda = device_cuda_of(device);
    enum status status = STATUS_OK;
    release_memory(cuda);
    device->group = *group;
    cuda->plan = *plan;
    TRY_ELSE(allocate_all(cuda), release);
    carve_all(cuda);
    TRY_ELSE(device_cuda_step_prepare(cuda), release);
    return STATUS_OK;
release:
    release_memory(cuda);
    return status;
}

static enum status move(struct device *device, void *to, const void *from, size_t bytes)
{
    return device_cuda_copy(device_cuda_of(device), to, from, bytes);
}

static enum status clear(struct device *device, void *memory, size_t bytes)
{
    const struct cuda_streams *streams = device_cuda_of(device)->streams;
    return streams->runtime->fill(memory, 0, bytes, streams->compute);
}

/* Records are plain rows there. */
static enum status take_out(struct device *device, void *rows, const void *panel, int records)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const size_t bytes = (size_t)records * device->record_bytes;
    const size_t most = piece_bytes(cuda);
    for (size_t done = 0; done < bytes; done += most) {
        const size_t piece = bytes - done < most ? bytes - done : most;
        TRY(device_cuda_copy(cuda, cuda->pinned_logits, (const char *)panel + done, piece));
        TRY(device_cuda_settle(cuda, NULL));
        memcpy((char *)rows + done, cuda->pinned_logits, piece);
    }
    return STATUS_OK;
}

static enum status put_in(struct device *device, void *panel, const void *rows, int records)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const size_t bytes = (size_t)records * device->record_bytes;
    const size_t most = piece_bytes(cuda);
    for (size_t done = 0; done < bytes; done += most) {
        const size_t piece = bytes - done < most ? bytes - done : most;
        memcpy(cuda->pinned_logits, (const char *)rows + done, piece);
        TRY(device_cuda_copy(cuda, (char *)panel + done, cuda->pinned_logits, piece));
        TRY(device_cuda_settle(cuda, NULL));
    }
    return STATUS_OK;
}

/* ---- the rest ---- */

static void skip(struct device *device)
{
    atomic_store(&device_cuda_of(device)->skipping, true);
}

static int64_t last_active_ns(const struct device *device)
{
    const struct device_cuda *cuda = (const struct device_cuda *)(const void *)device;
    return atomic_load(&cuda->busy) ? atomic_load(&cuda->active_ns) : clock_now_ns();
}

static enum status run(struct device *device, int first, int end, const struct device_drive *drive)
{
    struct device_cuda *cuda = device_cuda_of(device);
    return cuda->in_step ? device_cuda_step_run(cuda, first, end)
                         : device_cuda_stage_run(cuda, first, end, drive);
}

static enum status attend(struct device *device, int layer, const struct device_keys *keys,
                          int count, const struct device_drive *drive)
{
    struct device_cuda *cuda = device_cuda_of(device);
    return cuda->in_step ? device_cuda_step_attend(cuda, layer, keys, count)
                         : device_cuda_stage_attend(cuda, layer, keys, count, drive);
}

static enum status logits(struct device *device, int64_t row, int64_t count)
{
    assert(count == 1);
    struct device_cuda *cuda = device_cuda_of(device);
    return cuda->in_step ? device_cuda_step_logits(cuda, row) : device_cuda_stage_logits(cuda, row);
}

static const struct device_ops cuda_ops = {
    .destroy = destroy,
    .prepare = prepare,
    .begin = device_cuda_begin,
    .run = run,
    .attend = attend,
    .score = device_cuda_score,
    .logits = logits,
    .read_logits = device_cuda_read_logits,
    .logprob = device_cuda_logprob,
    .survey = device_cuda_survey,
    .step_begin = device_cuda_step_begin,
    .move = move,
    .clear = clear,
    .take_out = take_out,
    .put_in = put_in,
    .skip = skip,
    .last_active_ns = last_active_ns,
};

static enum status create_events(struct device_cuda *cuda)
{
    const struct cuda_runtime *runtime = cuda->streams->runtime;
    TRY(runtime->event_create(&cuda->lists_read));
    TRY(runtime->event_create(&cuda->reached));
    for (int e = 0; e < DEVICE_CUDA_AHEAD; e++)
        TRY(runtime->event_create(&cuda->layers_done[e]));
    return part_clock_init(&cuda->clock, cuda->streams, PARTS_OF_A_LAYER * cuda->spec.layers + 8);
}

enum status device_cuda_create(struct device **out, const struct model *model,
                               const struct cuda_streams *streams)
{
    enum status status = STATUS_OK;
    const char *special = spec_special_part(model_spec(model));
    if (special)
        return fail(STATUS_UNIMPLEMENTED,
                    "the GPU does not compute %s: start workers with `--device cpu`", special);
    struct device_cuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the CUDA device");
    cuda->device.ops = &cuda_ops;
    cuda->device.name = "cuda";
    cuda->streams = streams;
    cuda->spec = *model_spec(model);
    TRY_ELSE(create_events(cuda), undo);
    TRY_ELSE(layer_program_create(&cuda->program, &cuda->spec, false), undo);
    cuda->device.program = cuda->program;
    TRY_ELSE(weights_cuda_create(&cuda->weights, model, streams), undo);
    describe(cuda);
    *out = &cuda->device;
    return STATUS_OK;
undo:
    destroy(&cuda->device);
    return status;
}
