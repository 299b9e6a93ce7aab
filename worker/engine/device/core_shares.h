/* How the cores of one machine are shared out among the ranks of a group that are on it. Pure: all
 * that it knows it is told. Sets hold cores by the number that core_order.h gives them. */
#pragma once

#include "worker/engine/device/core_order.h"

#include <stdbool.h>

/* What a rank may use, and wants. */
struct core_request {
    cpu_set_t cores; /* that its process may use, at least one */
    int threads;     /* 0: as many as its share has cores */
};

struct core_share {
    cpu_set_t cores;   /* own: the rank's alone, one for each thread; else all it may use */
    cpu_set_t held;    /* what it keeps other groups from thinking free */
    int threads;       /* at least 1 */
    int fair_cores;    /* its part of the cores that it may use and no other group holds */
    int allowed_cores; /* that it may use, before sharing */
    int foreign_cores; /* of these, those that other groups hold */
    bool own;          /* false: cores are short, so that its threads share them */
};

/* Ranks that may use the same cores get consecutive parts of them in the machine's order, alike to
 * one core, of those which neither other groups (`foreign`) nor ranks with a narrower choice have.
 * Where that leaves one of them with fewer cores than threads, all of them share. */
void core_shares_make(struct core_share *shares, const struct core_request *requests, int ranks,
                      const struct core_order *order, const cpu_set_t *foreign);
