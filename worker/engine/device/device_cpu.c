/* Owns one rank's weights and memory on the host, and its threads. */
#include "worker/engine/device/device_cpu.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attention_rows.h"
#include "proto/clock.h"
#include "worker/engine/device/device_cpu_parts.h"
#include "worker/engine/device/device_cpu_stage.h"
#include "worker/engine/device/device_cpu_step.h"

/* Rows that keep a block's products efficient. */
enum { BLOCK_STEP = 48 };

/* ---- making ---- */

static enum status choose_kernels(const struct kernels **kernels, const char *name, bool int8_cache)
{
    *kernels = name ? kernels_find(name) : kernels_best();
    if (!*kernels)
        return fail(STATUS_INVALID_ARGUMENT,
                    "there are no kernels called \"%s\"; `longhaul doctor` lists them", name);
    if (!kernels_runs_here(*kernels))
        return fail(STATUS_INVALID_ARGUMENT,
                    "kernels %s need instructions that this CPU does not have; `longhaul doctor` "
                    "lists those that run here",
                    name);
    if (int8_cache)
        *kernels = kernels_int8(*kernels);
    return STATUS_OK;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static enum choice_cache cache_of(const struct kernels *kernels)
{
    if (kernels->cache == DTYPE_INT8)
        return CHOICE_CACHE_INT8;
    return kernels->cache == DTYPE_F32 ? CHOICE_CACHE_F32 : CHOICE_CACHE_BF16;
}

/* What the planner must know of this device; needs spec, kernels and the thread count. */
static void describe(struct device_cpu *cpu, const struct model *model)
{
    const struct model_spec *spec = &cpu->spec;
    struct device *device = &cpu->device;
    int64_t query_width = device_cpu_query_width(cpu);
    const struct kernels_limits limits = {
        .rows = KERNELS_ROWS_MAX,
        .width_max = larger(larger(spec->hidden, query_width), spec->ffn),
        .head_dim = spec->head_dim,
        .group = spec->heads / spec->kv_heads,
    };
    layer_program_lay_out(&cpu->layout, device->program, sizeof(float));
    cpu->block_bytes = arena_rounded(KERNELS_ROWS_MAX * cpu->layout.row_bytes);
    cpu->scratch_bytes = cpu->block_bytes + arena_rounded(cpu->kernels->scratch_bytes(&limits));
    device->spec = spec;
    device->shape = spec_shape(spec, (int64_t)weights_bytes(model, &cpu->slice, cpu->kernels));
    device->needs = (struct memory_request){
        .threads = cpu->binding.threads,
        .scratch_bytes = (int64_t)cpu->scratch_bytes,
        .logit_rows = DEVICE_CPU_LOGIT_ROWS,
    };
    device->cache = cache_of(cpu->kernels);
    device->kernels = cpu->kernels->name;
    device->record_bytes =
        attention_record_bytes(cpu->kernels->cache, spec->kv_heads, spec->head_dim);
    device->threads = cpu->binding.threads;
    device->on_host = true;
    device->blocks = 8 * (int64_t)cpu->binding.threads;
    device->attend_most = INT_MAX;
    device->step_sequences = CHOICE_SEQUENCES_MAX;
    device->stage_sequences = CHOICE_SEQUENCES_MAX;
    device->block_rows = KERNELS_ROWS_MAX;
    device->block_step = BLOCK_STEP;
    device->tile_tokens = attention_query_tokens(spec->heads / spec->kv_heads);
    char line[160];
    binding_facts(&cpu->binding, line, sizeof line);
    snprintf(device->facts, sizeof device->facts, "device=cpu kernels=%s %s", cpu->kernels->name,
             line);
}

static void release_memory(struct device_cpu *cpu)
{
    device_cpu_step_deinit(cpu);
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        arena_destroy(cpu->arenas[region]);
        cpu->arenas[region] = NULL;
    }
}

static void destroy(struct device *device)
{
    struct device_cpu *cpu = device_cpu_of(device);
    release_memory(cpu);
    thread_pool_destroy(cpu->pool);
    weights_destroy(cpu->weights);
    layer_program_destroy(cpu->program);
    free(cpu);
}

/* ---- memory ---- */

static enum status take(struct device_cpu *cpu, void *piece, enum memory_region region,
                        size_t bytes)
{
    void *memory;
    TRY(arena_take(cpu->arenas[region], &memory, bytes));
    memcpy(piece, &memory, sizeof memory);
    return STATUS_OK;
}

static enum status take_all(struct device_cpu *cpu)
{
    const struct model_spec *spec = &cpu->spec;
    const struct memory_plan *plan = &cpu->plan;
    size_t rows = (size_t)cpu->device.group.stage_rows;
    size_t heads = rows * (size_t)spec->heads;
    struct device_memory *memory = &cpu->device.memory;
    const int64_t *bytes = plan->bytes;
    TRY(take(cpu, &memory->cache, MEMORY_CACHE, (size_t)bytes[MEMORY_CACHE]));
    TRY(take(cpu, &memory->slots, MEMORY_RECEIVE_SLOTS, (size_t)bytes[MEMORY_RECEIVE_SLOTS]));
    TRY(take(cpu, &cpu->hidden, MEMORY_HIDDEN, (size_t)bytes[MEMORY_HIDDEN]));
    TRY(take(cpu, &cpu->queries, MEMORY_QUERIES, (size_t)bytes[MEMORY_QUERIES]));
    TRY(take(cpu, &cpu->tables, MEMORY_ROPE_TABLES, (size_t)bytes[MEMORY_ROPE_TABLES]));
    const struct bands widest = layer_buffers_widest();
    cpu->other_tables = cpu->tables + rows * (size_t)spec->head_dim *
                                          (size_t)layer_buffers_copies(LAYER_TABLES, &widest, 1);
    TRY(take(cpu, &cpu->scratch, MEMORY_THREAD_SCRATCH, (size_t)bytes[MEMORY_THREAD_SCRATCH]));
    TRY(take(cpu, &cpu->acc, MEMORY_STATE, (size_t)bytes[MEMORY_STATE]));
    cpu->max = cpu->acc + heads * (size_t)spec->head_dim;
    cpu->sum = cpu->max + heads;
    TRY(take(cpu, &cpu->logit_rows, MEMORY_LOGITS, (size_t)bytes[MEMORY_LOGITS]));
    cpu->logit_normed = cpu->logit_rows + (size_t)DEVICE_CPU_LOGIT_ROWS * (size_t)spec->vocab;
    memory->logits = cpu->logit_rows;
    if (cpu->slice.places > 1) {
        TRY(take(cpu, &memory->sums, MEMORY_SUMS, (size_t)bytes[MEMORY_SUMS]));
        memory->sum_scratch =
            memory->sums +
            arena_rounded(rows * (size_t)spec->hidden * sizeof(float)) / sizeof(float);
    }
    return device_cpu_step_prepare(cpu);
}

static enum status prepare(struct device *device, const struct group_choice *group,
                           const struct memory_plan *plan)
{
    struct device_cpu *cpu = device_cpu_of(device);
    enum status status = STATUS_OK;
    release_memory(cpu);
    device->group = *group;
    cpu->plan = *plan;
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        if (region == MEMORY_WEIGHTS || region == MEMORY_IDS || region == MEMORY_SCORES ||
            region == MEMORY_SAMPLERS || region == MEMORY_DRAFTS)
            continue;
        TRY_ELSE(arena_create(&cpu->arenas[region], memory_region_name(region),
                              (size_t)plan->bytes[region]),
                 release);
    }
    TRY_ELSE(take_all(cpu), release);
    return STATUS_OK;
release:
    release_memory(cpu);
    return status;
}

static enum status move(struct device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    memcpy(to, from, bytes);
    return STATUS_OK;
}

static enum status clear(struct device *device, void *memory, size_t bytes)
{
    (void)device;
    memset(memory, 0, bytes);
    return STATUS_OK;
}

static struct attention_rows_args rows_of(struct device *device, int record, int records)
{
    return (struct attention_rows_args){
        .cache = device_cpu_of(device)->kernels->cache,
        .kv_heads = (int)device->shape.kv_heads,
        .head_dim = (int)device->shape.head_dim,
        .values = record == records - 1,
    };
}

static enum status take_out(struct device *device, void *rows, const void *panel, int records)
{
    for (int record = 0; record < records; record++) {
        const struct attention_rows_args args = rows_of(device, record, records);
        const size_t offset = (size_t)record * device->record_bytes;
        attention_rows_take((char *)rows + offset, (const char *)panel + offset, &args);
    }
    return STATUS_OK;
}

static enum status put_in(struct device *device, void *panel, const void *rows, int records)
{
    for (int record = 0; record < records; record++) {
        const struct attention_rows_args args = rows_of(device, record, records);
        const size_t offset = (size_t)record * device->record_bytes;
        attention_rows_put((char *)panel + offset, (const char *)rows + offset, &args);
    }
    return STATUS_OK;
}

/* ---- stages and steps ---- */

static enum status run(struct device *device, int first, int end, const struct device_drive *drive)
{
    struct device_cpu *cpu = device_cpu_of(device);
    if (cpu->in_step)
        device_cpu_step_run(cpu, first, end);
    else
        device_cpu_stage_run(cpu, first, end, drive);
    return STATUS_OK;
}

static enum status attend(struct device *device, int layer, const struct device_keys *keys,
                          int count, const struct device_drive *drive)
{
    struct device_cpu *cpu = device_cpu_of(device);
    if (cpu->in_step)
        return device_cpu_step_attend(device, layer, keys, count);
    device_cpu_stage_attend(cpu, layer, keys, count, drive);
    return STATUS_OK;
}

/* ---- logits ---- */

static enum status logits(struct device *device, int64_t row, int64_t count)
{
    struct device_cpu *cpu = device_cpu_of(device);
    if (cpu->in_step)
        return device_cpu_step_logits(device, row, count);
    device_cpu_stage_logits(cpu, row, count);
    return STATUS_OK;
}

/* They are computed into memory.logits. */
static enum status read_logits(struct device *device, struct span outputs)
{
    (void)device;
    (void)outputs;
    return STATUS_OK;
}

static enum status logprob(struct device *device, float *logprob, int32_t id)
{
    struct device_cpu *cpu = device_cpu_of(device);
    const float *all = device->memory.logits;
    *logprob = (float)(all[id] - cpu->kernels->logsumexp(all, cpu->spec.vocab));
    return STATUS_OK;
}

static enum status survey(struct device *device, struct logits_survey *survey, double temperature)
{
    (void)device;
    (void)temperature;
    survey->count = 0;
    return STATUS_OK;
}

/* ---- the rest ---- */

static void skip(struct device *device)
{
    struct device_cpu *cpu = device_cpu_of(device);
    atomic_store(&cpu->skipping, true);
    thread_pool_skip(cpu->pool);
}

static int64_t last_active_ns(const struct device *device)
{
    return thread_pool_last_active_ns(((const struct device_cpu *)(const void *)device)->pool);
}

static const struct device_ops cpu_ops = {
    .destroy = destroy,
    .prepare = prepare,
    .begin = device_cpu_stage_begin,
    .run = run,
    .attend = attend,
    .score = device_cpu_stage_score,
    .logits = logits,
    .read_logits = read_logits,
    .logprob = logprob,
    .survey = survey,
    .step_begin = device_cpu_step_begin,
    .move = move,
    .clear = clear,
    .take_out = take_out,
    .put_in = put_in,
    .skip = skip,
    .last_active_ns = last_active_ns,
};

static enum status choose_cores(struct device_cpu *cpu, const struct device_cpu_options *options)
{
    if (!options->binding)
        return binding_choose(&cpu->binding, options->local_rank, options->local_size,
                              options->threads);
    cpu->binding = *options->binding;
    return STATUS_OK;
}

enum status device_cpu_create(struct device **out, const struct model *model,
                              const struct device_cpu_options *options)
{
    enum status status = STATUS_OK;
    if (options->slice->places > 1 && model_spec(model)->qk_norm_joined)
        return fail(STATUS_UNIMPLEMENTED,
                    "norms over all heads are not computed by ranks that have some of them: start "
                    "workers without a tensor axis");
    struct device_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the CPU device");
    cpu->device.ops = &cpu_ops;
    cpu->device.name = "cpu";
    cpu->slice = *options->slice;
    cpu->spec = spec_slice(model_spec(model), options->slice);
    TRY_ELSE(choose_kernels(&cpu->kernels, options->kernels, options->int8_cache), undo);
    TRY_ELSE(choose_cores(cpu, options), undo);
    TRY_ELSE(thread_pool_create(&cpu->pool, cpu->binding.threads,
                                cpu->binding.pinned ? cpu->binding.processing_units : NULL,
                                !cpu->binding.pinned),
             undo);
    TRY_ELSE(weights_create(&cpu->weights, model, &cpu->slice, cpu->kernels, options->store), undo);
    TRY_ELSE(layer_program_create(&cpu->program, &cpu->spec, cpu->slice.places > 1), undo);
    cpu->device.program = cpu->program;
    describe(cpu, model);
    *out = &cpu->device;
    return STATUS_OK;
undo:
    destroy(&cpu->device);
    return status;
}
