/* How a turn goes from rank 0 to the others. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"
#include "worker/engine/transport/transport.h"
#include "worker/engine/turn.h"

struct turn_post;

/* `transport` is borrowed. */
MUST_CHECK enum status turn_post_create(struct turn_post **post, struct transport *transport);

/* `whole`: no rank of the transport has failed. Accepts NULL. */
void turn_post_destroy(struct turn_post *post, bool whole);

/* The turn that is being made, sent, received or taken. */
struct turn *turn_post_turn(struct turn_post *post);

/* Rank 0, before it makes another one: the last has left. */
MUST_CHECK enum status turn_post_wait(struct turn_post *post);

/* Rank 0 sends the turn to all. */
MUST_CHECK enum status turn_post_tell(struct turn_post *post);

/* Another rank: *there, rank 0 has told a turn. Where one `must` come it is waited for, and silence
 * is a failure; else the wait ends after wait_ms. */
MUST_CHECK enum status turn_post_hear(struct turn_post *post, bool *there, bool must, int wait_ms);
