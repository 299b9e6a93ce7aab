/* How much the tests of kernels do: all there is on a GPU, with fresh data; less where it is
 * emulated. */
#pragma once

/* Whether what is tested refuses arguments: kernels do, references do not. */
#ifndef GPU_REFUSES
#define GPU_REFUSES 1
#endif

#ifndef GPU_CASES
#define GPU_CASES 98          /* every head_dim with both operand types and every group */
#define GPU_CASES_QUERIES 300 /* tokens at most */
#define GPU_CASES_KEYS 700
#define GPU_CASES_LONG 2100
#define GPU_CASES_SEED ((uint64_t)time(NULL))
#endif
