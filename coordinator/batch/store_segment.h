/* Segment files: bodies that are too long for a row, one behind the other.
 *
 * FOLDER/segments/NUMBER holds records {magic, bytes, digest, body}; a row names a body by segment
 * and place. Only the newest is written to, and it is on disk before the commit that names what
 * came into it. A segment goes when no row names any of it. A number is used once: what a failed
 * commit left in a segment stays there, unnamed.
 */
#pragma once

#include "coordinator/batch/store_link.h"
#include "coordinator/batch/store_place.h"

struct store_turn;

struct store_segment {
    int descriptor; /* -1: none is open */
    int64_t number, bytes;
    int64_t last_number; /* the highest that was ever used */
    bool unsynced, name_unsynced;
};

/* A body where it lies: in the row (`bytes` not NULL), or in a segment. */
struct store_body {
    const void *bytes;
    size_t size;
    uint64_t digest; /* store_segment_digest */
    int64_t segment, place;
};

uint64_t store_segment_digest(const void *body, size_t bytes);

/* Finds the highest number, and removes files that no row names. */
MUST_CHECK enum status store_segment_settle(struct store_segment *segment,
                                            const struct store_place *place,
                                            struct store_link *link);

/* Puts a body where it belongs; `body` borrows `bytes` until its row is written. */
MUST_CHECK enum status store_segment_put(struct store_turn *turn, struct store_body *body,
                                         const void *bytes, size_t size);

/* What to bind to the columns segment, place and body of a row. */
#define STORE_BODY_VALUES(b)                                                                       \
    ((b)->bytes ? (struct store_value){.type = STORE_NULL} : store_int((b)->segment)),             \
        ((b)->bytes ? (struct store_value){.type = STORE_NULL} : store_int((b)->place)),           \
        store_blob((b)->bytes, (b)->size)

/* Forgets the first `most` rows of a batch, with their bodies: `first` asks for the key and the
 * segment (0: none) of the first row of a range of keys, `remove` removes the row of a key. `*more`
 * is false once there is no row left. */
MUST_CHECK enum status store_segment_forget_rows(struct store_turn *turn, const char *first,
                                                 const char *remove, int64_t number, int64_t most,
                                                 bool *more);

/* What came into the newest is on disk. */
MUST_CHECK enum status store_segment_sync(struct store_segment *segment,
                                          const struct store_place *place);

/* Nothing is written to the newest any more. */
void store_segment_abandon(struct store_segment *segment, const struct store_place *place);

/* `size` bytes of a body, from `offset` of it on. DATA_LOSS where the segment is gone or short. */
MUST_CHECK enum status store_segment_read(const struct store_place *place, int64_t number,
                                          int64_t body_place, int64_t offset, void *to,
                                          size_t size);
