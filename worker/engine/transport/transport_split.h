/* A part of a transport's ranks as a transport of its own: the ranks of one axis of a mesh, say.
 *
 * It keeps the contract of transport.h, and beyond it:
 * - Its messages are messages of the whole: between two ranks and on one channel they come in the
 *   order posted, whether on the split or on the whole.
 * - Its ranks use it and the whole from one thread, and collectives of both in one order.
 * - Its collectives are messages: they take two of the whole's requests for each other rank, and a
 *   broadcast waits for every rank.
 * - Abort, hint, progress and silence are the whole's: an abort ends the waits of all its ranks.
 * - A message of error names ranks by their number in the whole. */
#pragma once

#include "worker/engine/transport/transport.h"

/* All ranks of `whole` call it. Those that name the same `part` (0 and more) become one transport,
 * numbered in the order that they have in the whole; a rank that names -1 gets NULL. `whole` must
 * outlive the split, and its last keepsakes. May be split again. */
MUST_CHECK enum status transport_split(struct transport **split, struct transport *whole, int part);
