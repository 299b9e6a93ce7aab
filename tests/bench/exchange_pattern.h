/* The bytes that ranks send each other in a bench, and how many of those that came are others. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What rank `rank` sends in the `round`-th exchange. */
void exchange_pattern_fill(unsigned char *bytes, size_t count, int rank, uint64_t round);

/* Bytes that are not what that rank sent then. */
size_t exchange_pattern_wrong(const unsigned char *bytes, size_t count, int rank, uint64_t round);
