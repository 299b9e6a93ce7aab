/* The file that says what a checkpoint is and proves that it is whole.
 *
 *   | bytes  | what                                                          |
 *   | 8      | "LHSTATE1"                                                    |
 *   | 8 x 3  | steps done, tokens seen, parameters                           |
 *   | 32     | the run, as hexadecimal digits                                |
 *   | 4      | parts                                                         |
 *   | 112 x  | of each part: first and end of its parameters, the digests of |
 *   |  parts | its bytes in the files of weights, moments and variances      |
 *   | 32     | the digest of all bytes before                                |
 *
 * Integers are little-endian. Parts are those that the ranks wrote; they say nothing about who
 * reads them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/model/digest.h"
#include "proto/status.h"

enum state_array { STATE_WEIGHTS, STATE_MOMENTS, STATE_VARIANCES, STATE_ARRAYS };

enum { STATE_HEADER_PARTS_MOST = 1 << 20 };

struct state_part {
    uint64_t first, end; /* of the parameters */
    char digests[STATE_ARRAYS][DIGEST_HEX_BYTES];
};

struct state_header {
    uint64_t step;   /* steps done */
    uint64_t tokens; /* seen in them */
    uint64_t count;  /* of parameters */
    char run[DIGEST_HEX_BYTES];
    uint32_t parts_count;
    struct state_part *parts; /* [parts_count], end to end from 0 to count */
};

size_t state_header_bytes(uint32_t parts_count);

/* `bytes`: of state_header_bytes(). */
void state_header_write(void *bytes, const struct state_header *header);

/* `name` stands for the file in errors. Allocates the parts, which state_header_deinit frees.
 * DATA_LOSS for what is no such file or not whole. */
MUST_CHECK enum status state_header_read(struct state_header *header, const char *name,
                                         const void *data, size_t bytes);
/* Accepts {0}. */
void state_header_deinit(struct state_header *header);
