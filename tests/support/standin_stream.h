/* What the parts of the stand-in share: streams that run pieces of work late. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels_cuda.h"
#include "worker/engine/device/cuda_runtime.h"

/* Does a piece of work; false: it cannot be done yet. `arguments` are its own copy. */
typedef bool standin_work(void *arguments);

/* Puts a piece of work on a stream; its arguments are copied. */
enum status standin_put(struct CUstream_st *stream, standin_work *work, const void *arguments,
                        size_t bytes);

/* What lies behind a device address; other addresses are themselves. */
void *standin_behind(const void *memory);

/* Puts training's kernels into a table. */
void standin_training_install(struct kernels_cuda *table);

/* A random number of the stand-in's own, from any thread. */
uint32_t standin_random(void);
