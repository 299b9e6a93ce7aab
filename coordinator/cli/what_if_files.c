/* Owns the keys of cluster files and of files of a model's shape. Promises limits within which no
 * plan's numbers overflow. */
#include <stdio.h>

#include "coordinator/cli/what_if.h"

enum { WORKERS_MOST = 1024, TOKENS_MOST = 1 << 24 };

#define MOST_FLOPS 1e6
#define MOST_BYTES 1e6

enum status what_if_cluster_read(struct what_if_cluster *cluster, const char *path)
{
    double linear, attention, memory_rate, memory, host_rate, network_rate;
    double host_latency, network_latency, host_message = 0, network_message = 0, call = 0;
    int64_t ranks_per_host, ranks_per_network_card, call_reads = 0;
    struct what_if_cluster read = {.machine = {.state_passes = 2, .pieces = 1}};
    const struct fact_row rows[] = {
        {"cluster.name", FACT_TEXT, read.name, 0, 0, false},
        {"host.workers", FACT_INTEGER, &ranks_per_host, 1, WORKERS_MOST, false},
        {"host.workers_per_network_card", FACT_INTEGER, &ranks_per_network_card, 1, WORKERS_MOST,
         false},
        {"worker.kernels", FACT_TEXT, read.kernels, 0, 0, false},
        {"worker.linear_tflops", FACT_REAL, &linear, 1e-6, MOST_FLOPS, false},
        {"worker.attention_tflops", FACT_REAL, &attention, 1e-6, MOST_FLOPS, false},
        {"worker.memory_gb", FACT_REAL, &memory, 1e-3, MOST_BYTES, false},
        {"worker.memory_gb_per_second", FACT_REAL, &memory_rate, 1e-3, MOST_BYTES, false},
        {"worker.call_us", FACT_REAL, &call, 0, 1e6, true},
        {"worker.call_reads", FACT_INTEGER, &call_reads, 0, 1 << 20, true},
        {"worker.state_passes", FACT_REAL, &read.machine.state_passes, 0, 100, true},
        {"host_link.gb_per_second", FACT_REAL, &host_rate, 1e-6, MOST_BYTES, false},
        {"host_link.latency_us", FACT_REAL, &host_latency, 0, 1e6, false},
        {"host_link.message_us", FACT_REAL, &host_message, 0, 1e6, true},
        {"network_link.gb_per_second", FACT_REAL, &network_rate, 1e-6, MOST_BYTES, false},
        {"network_link.latency_us", FACT_REAL, &network_latency, 0, 1e6, false},
        {"network_link.message_us", FACT_REAL, &network_message, 0, 1e6, true},
        {"group.block_tokens", FACT_INTEGER, &read.block_tokens, BANDS_LANES, TOKENS_MOST, true},
        {"sweep.workers", FACT_INTEGERS, &read.workers, 1, WORKERS_MOST, false},
        {"sweep.prompt_tokens", FACT_INTEGERS, &read.tokens, 1, TOKENS_MOST, false},
        {"sweep.methods", FACT_TEXT, read.methods, 0, 0, false},
    };
    TRY(fact_file_read(path, rows, sizeof rows / sizeof rows[0]));
    if (read.block_tokens % BANDS_LANES != 0)
        return fail(STATUS_INVALID_ARGUMENT, "%s: group.block_tokens must be a multiple of %d",
                    path, BANDS_LANES);
    read.memory_bytes = (int64_t)(memory * 1e9);
    read.machine.linear_flops = linear * 1e12;
    read.machine.attention_flops = attention * 1e12;
    read.machine.memory_bytes = memory_rate * 1e9;
    read.machine.call_s = call * 1e-6;
    read.machine.call_reads = (int)call_reads;
    read.machine.links = (struct simulate_links){
        .host = {host_rate * 1e9, host_latency * 1e-6, host_message * 1e-6},
        .network = {network_rate * 1e9, network_latency * 1e-6, network_message * 1e-6},
        .ranks_per_host = (int)ranks_per_host,
        .ranks_per_network_card = (int)ranks_per_network_card,
    };
    *cluster = read;
    return STATUS_OK;
}

enum status what_if_model_read(struct what_if_model *model, const char *path)
{
    struct what_if_model read = {.shape = {.layers = 0}};
    struct model_shape *shape = &read.shape;
    double weights;
    const struct fact_row rows[] = {
        {"model.name", FACT_TEXT, read.name, 0, 0, false},
        {"model.layers", FACT_INTEGER, &shape->layers, 1, MODEL_SHAPE_LAYERS_MAX, false},
        {"model.hidden", FACT_INTEGER, &shape->hidden, 1, 1 << 20, false},
        {"model.heads", FACT_INTEGER, &shape->heads, 1, 1 << 12, false},
        {"model.kv_heads", FACT_INTEGER, &shape->kv_heads, 1, 1 << 12, false},
        {"model.head_dim", FACT_INTEGER, &shape->head_dim, 1, 1 << 12, false},
        {"model.ffn", FACT_INTEGER, &shape->ffn, 1, 1 << 20, false},
        {"model.vocab", FACT_INTEGER, &shape->vocab, 1, 1 << 24, false},
        {"model.trained_tokens", FACT_INTEGER, &shape->trained_tokens, 1, TOKENS_MOST, false},
        {"model.weights_gb", FACT_REAL, &weights, 1e-3, 1e5, false},
    };
    TRY(fact_file_read(path, rows, sizeof rows / sizeof rows[0]));
    if (shape->heads % shape->kv_heads != 0)
        return fail(STATUS_INVALID_ARGUMENT, "%s: model.heads %lld is no multiple of kv_heads %lld",
                    path, (long long)shape->heads, (long long)shape->kv_heads);
    shape->weights_bytes = (int64_t)(weights * 1e9);
    *model = read;
    return STATUS_OK;
}
