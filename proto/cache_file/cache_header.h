/* What a file of saved keys and values says of them: whose they are, how they were made, and which
 * of them are there. docs/cache-files.md has the layout byte by byte.
 *
 * The file's blocks are numbered: store after store, in each the panels in ascending order, of each
 * panel the layers. A block has the panel's records in that layer: K in each key frame, then V,
 * each [kv_heads, 64, head_dim], in 8 bits with a row's scale behind it. Nothing in a file says
 * which rank had what.
 */
#pragma once

#include <stdint.h>

#include "kernels/bands.h"
#include "proto/model/cursor.h"
#include "proto/plan/choice.h"
#include "proto/plan/method.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

enum {
    CACHE_VERSION = 1,
    CACHE_STORES_MAX = 2,
    CACHE_MODEL_BYTES = 33, /* of a digest, as proto/model/digest.h makes it */
    CACHE_HEAD_DIM_MAX = 1024,
    CACHE_KV_HEADS_MAX = 1024,
    CACHE_BLOCK_BYTES_MAX = 16 << 20, /* of a block's records: a message must hold it */
    CACHE_BLOCKS_MAX = 1 << 28,
    CACHE_HEADER_BYTES_MAX = 24 << 20, /* a message must hold it, too */
};

/* Panels that are there, consecutive ones. */
struct cache_store {
    enum bands_store store;
    int records; /* of a panel */
    int64_t first_panel, end_panel;
};

/* How a document became tokens, so that what follows it becomes them alike. */
enum cache_form {
    CACHE_FORM_NONE, /* there is no document, only tokens */
    CACHE_FORM_RAW,  /* as it is */
    CACHE_FORM_CHAT, /* it begins a user's message in the model's chat form */
};

struct cache_header {
    char model[CACHE_MODEL_BYTES]; /* its digest */
    struct method method;
    enum choice_cache cache; /* type of the elements */
    int64_t layers, kv_heads, head_dim;
    int64_t tokens;         /* whose keys are there, but for those out of reach */
    int64_t context_tokens; /* what the sequence was planned for: which keys are kept goes by it */
    int store_count;
    struct cache_store stores[CACHE_STORES_MAX]; /* BANDS_PANELS first, up to the last token */
    const int32_t *ids;                          /* [tokens]; borrowed */
    enum cache_form form;
    const char *document; /* [document_bytes] UTF-8 without a 0; borrowed */
    size_t document_bytes;
};

/* Where a block belongs. */
struct cache_place {
    enum bands_store store;
    int64_t panel;
    int layer;
};

/* What is kept of the first `tokens` tokens of a request of this choice, on a model of this shape:
 * all of a header but the model's digest, the ids and the document. */
void cache_header_plan(struct cache_header *header, const struct choice *choice,
                       const struct model_shape *shape, int64_t tokens);

/* Refuses to take keys of `found` for those of `planned`, from which they differ: another model,
 * another method, another type of elements. FAILED_PRECONDITION with both. */
MUST_CHECK enum status cache_header_match(const struct cache_header *found,
                                          const struct cache_header *planned, const char *name);

int64_t cache_header_blocks(const struct cache_header *header);

/* 0 <= number < blocks. */
struct cache_place cache_header_place(const struct cache_header *header, int64_t number);

/* The number of the block that belongs there; -1: the file has none. */
int64_t cache_header_number(const struct cache_header *header, const struct cache_place *place);

/* Of a file's elements: "bfloat16", "float32", "int8". */
const char *cache_header_element_name(const struct cache_header *header);

/* Of one element, and of all records of block `number`. */
size_t cache_header_element_bytes(const struct cache_header *header);
size_t cache_header_block_bytes(const struct cache_header *header, int64_t number);

/* The largest block of the file. */
size_t cache_header_block_most(const struct cache_header *header);

/* Bytes of the header in a file: a multiple of 8. */
size_t cache_header_bytes(const struct cache_header *header);

/* Writes them to `bytes`, which starts at a multiple of 8. INTERNAL where cache_header_read would
 * refuse them. */
MUST_CHECK enum status cache_header_write(const struct cache_header *header, uint8_t *bytes);

/* Reads a header at the cursor, whose data starts at a multiple of 8, and moves it to the first
 * block. `ids` and `document` are views. DATA_LOSS, or UNIMPLEMENTED where a later version wrote
 * it. *digest is the header's. */
MUST_CHECK enum status cache_header_read(struct cache_header *header, uint64_t *digest,
                                         struct cursor *cursor);
