/* How the ranks of a training run are laid out: a box, an axis for each way of sharing the work.
 *
 *   data      each place of the axis has samples of its own
 *   sequence  the places of the axis have tokens of one sample
 *   tensor    the places of the axis would have parts of each product; 1
 *
 * Ranks go along the tensor axis first, then along the sequence axis, then along the data axis, so
 * that those that exchange the most stand next to each other. */
#pragma once

#include "proto/status.h"

enum { MESH_AXIS_MOST = 4096 };

struct mesh {
    int data, sequence, tensor; /* places on each axis */
};

/* Of one rank: its place on each axis. */
struct mesh_place {
    int data, sequence, tensor;
};

/* INVALID_ARGUMENT where an axis is no number of places or longer than it may be, or the ranks are
 * not `size`; UNIMPLEMENTED for a tensor axis. `batch`: samples of a step, of which each place of
 * the data axis has one at least. */
MUST_CHECK enum status mesh_check(const struct mesh *mesh, int size, int batch);

int mesh_size(const struct mesh *mesh);
struct mesh_place mesh_place(const struct mesh *mesh, int rank);
