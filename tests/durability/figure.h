/* One line for each figure: `name figure gate PASS|FAIL seed`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Prints it; returns whether `figure` is at most, or at least, `gate`. */
bool figure_at_most(const char *name, double figure, double gate, uint64_t seed);
bool figure_at_least(const char *name, double figure, double gate, uint64_t seed);
