/* How the ranks of a worker group or of a training run are laid out: a box, an axis for each way of
 * sharing the work.
 *
 *   data      each place of the axis has samples of its own
 *   sequence  the places of the axis have tokens of one sample
 *   tensor    the places of the axis have parts of each product (tensor_slice.h); 1 in training
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

/* A worker group's, as it is asked for: "tensor=2,sequence=3", one of the two, or "auto". What it
 * does not say is 0, and data is 1. INVALID_ARGUMENT says what is wrong. */
MUST_CHECK enum status mesh_parse(struct mesh *mesh, const char *text);

/* Lays out so many ranks as asked: of two axes one that is open gets what the other leaves. Where
 * both are, tensor stays 0. INVALID_ARGUMENT where the axes are not the ranks, or the one that is
 * open would be too long. */
MUST_CHECK enum status mesh_lay_out(struct mesh *mesh, int ranks);

/* Ranks that are asked for, with one place on an axis that is not; 0: any. */
int mesh_asked(const struct mesh *mesh);

int mesh_size(const struct mesh *mesh);
struct mesh_place mesh_place(const struct mesh *mesh, int rank);
