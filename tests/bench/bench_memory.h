/* Memory for benches, on huge pages as the engine's arenas are. */
#pragma once

#include <stddef.h>

/* Zeroed and touched; ends the program where there is none. Freed with it. */
void *bench_memory(size_t bytes);
