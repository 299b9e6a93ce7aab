/* Blocks of keys between a rank and its coordinator, for a command that saves a session or restores
 * one: the port that the engine moves them through (worker/engine/engine.h).
 *
 * Each side sends at most CACHE_BLOCKS_AHEAD blocks more than the other has said that it took, so
 * that neither a slow client nor a busy rank is swamped, and the stream stays free for the rest.
 */
#pragma once

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/cache_file/cache_header.h"
#include "proto/status.h"
#include "worker/engine/engine.h"
#include "worker/reports.h"

struct block_port;

/* `header` says which blocks there are; its ids are not looked at. `reports` is borrowed. */
MUST_CHECK enum status block_port_create(struct block_port **port,
                                         const struct cache_header *header, uint64_t run,
                                         struct reports *reports);

/* Accepts NULL. */
void block_port_destroy(struct block_port *port);

/* As the engine takes it; a view. */
struct engine_port block_port_view(struct block_port *port);

/* From the thread that listens: a block that has come. INTERNAL where there are more than were
 * asked for. */
MUST_CHECK enum status block_port_take(struct block_port *port,
                                       const Longhaul__Control__V1__RunBlock *message);

/* From there, too: the coordinator has taken so many more of the rank's. */
void block_port_taken(struct block_port *port, int64_t blocks);
