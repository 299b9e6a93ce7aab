/* Numbers about the tokens of one sample, a plane for each kind of them. Each rank fills in those
 * of its own tokens; all hear all. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/trainer/rank_work.h"

struct token_numbers {
    int planes;
    int64_t tokens; /* most of a sample */
    float *mine;    /* [planes, tokens]; what is not this rank's is a NaN */
    float *all;     /* [ranks, planes, tokens] */
};

MUST_CHECK enum status token_numbers_create(struct token_numbers *table,
                                            const struct rank_work *work, int planes,
                                            int64_t tokens);
/* Accepts {0}. */
void token_numbers_destroy(struct token_numbers *table);

/* No token has numbers. */
void token_numbers_clear(struct token_numbers *table);

static inline void token_numbers_set(struct token_numbers *table, int plane, int64_t token,
                                     float value)
{
    table->mine[plane * table->tokens + token] = value;
}

/* All ranks call it; then every rank knows every rank's numbers. */
MUST_CHECK enum status token_numbers_exchange(struct token_numbers *table,
                                              const struct rank_work *work);

/* What the ranks of one place of the data axis have said of a token; false where none has. */
bool token_numbers_get(const struct token_numbers *table, const struct rank_work *work, int data,
                       int plane, int64_t token, float *value);
