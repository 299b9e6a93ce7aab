/* The tables of the store, by version. */
#pragma once

#include "coordinator/batch/store_link.h"

enum {
    STORE_SCHEMA_VERSION = 1,
    STORE_SCHEMA_APPLICATION = 0x4c48424c, /* PRAGMA application_id of our databases */
    /* A line's or result's key is its batch's number and its own within it. */
    STORE_KEY_BITS = 24
};

static inline int64_t store_key(int64_t batch, int64_t within)
{
    return batch << STORE_KEY_BITS | within;
}

/* The last key of a batch. */
static inline int64_t store_key_end(int64_t batch)
{
    return store_key(batch, (INT64_C(1) << STORE_KEY_BITS) - 1);
}

/* FAILED_PRECONDITION, nothing touched, for what a newer version wrote; `schema` is the mark's. */
MUST_CHECK enum status store_schema_check_version(const char *path, int64_t schema);

/* Makes the tables of a new database, or brings those of an older version up to this one, in one
 * transaction. DATA_LOSS: another program's database. */
MUST_CHECK enum status store_schema_settle(struct store_link *link, const char *path);
