/* Owns the chunks of inputs. Promises that bytes come back as they came, or not at all. */
#include "coordinator/batch/store_input.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_schema.h"

struct chunk {
    int64_t start, bytes;
    uint64_t digest;
    int64_t segment, place; /* segment 0: the body is in the row */
};

enum status store_input_add(struct store_turn *turn, struct store_batch_row *row, const void *input,
                            size_t bytes)
{
    struct store_body body;
    const int64_t number = row->batch.number;
    if (row->chunks >= STORE_LINES_MAX)
        return fail(STATUS_RESOURCE_EXHAUSTED, "batches/%s: its input came in too many pieces",
                    row->batch.id);
    TRY(store_segment_put(turn, &body, input, bytes));
    TRY(store_link_do(turn->link, "INSERT INTO chunks VALUES(?, ?, ?, ?, ?, ?, ?)",
                      store_int(store_key(number, row->chunks)),
                      store_int(row->batch.committed_bytes), store_int((int64_t)bytes),
                      store_int((int64_t)body.digest), STORE_BODY_VALUES(&body)));
    row->chunks++;
    row->batch.committed_bytes += (int64_t)bytes;
    row->stored_bytes += (int64_t)bytes;
    return STATUS_OK;
}

static enum status missing(const struct store_batch_row *row, int64_t which)
{
    return fail(STATUS_DATA_LOSS, "batches/%s: chunk %lld of its input is gone", row->batch.id,
                (long long)which);
}

/* The start of chunk `which`. */
static enum status start_of(struct store_link *link, const struct store_batch_row *row,
                            int64_t which, int64_t *start)
{
    bool found;
    TRY(store_link_number(link, start, &found, "SELECT start FROM chunks WHERE key = ?",
                          store_int(store_key(row->batch.number, which))));
    return found ? STATUS_OK : missing(row, which);
}

/* The chunk that holds `offset`: their starts grow, so by halves. */
static enum status find(struct store_link *link, const struct store_batch_row *row, int64_t offset,
                        int64_t *which)
{
    int64_t first = 0, end = row->chunks;
    while (end - first > 1) {
        const int64_t middle = first + (end - first) / 2;
        int64_t start;
        TRY(start_of(link, row, middle, &start));
        if (start <= offset)
            first = middle;
        else
            end = middle;
    }
    *which = first;
    return STATUS_OK;
}

static enum status damaged(const struct store_batch_row *row, const struct chunk *chunk)
{
    return fail(STATUS_DATA_LOSS, "batches/%s: bytes %lld to %lld of its input are damaged",
                row->batch.id, (long long)chunk->start, (long long)(chunk->start + chunk->bytes));
}

/* `bytes` of a chunk from `within` on, from its segment. */
static enum status read_segment(struct store *store, const struct store_batch_row *row,
                                const struct chunk *chunk, char *to, size_t bytes, int64_t within,
                                bool checked)
{
    if (!checked)
        return store_segment_read(&store->place, chunk->segment, chunk->place, within, to, bytes);
    char *whole = malloc((size_t)chunk->bytes);
    if (!whole)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read batches/%s", row->batch.id);
    enum status status = store_segment_read(&store->place, chunk->segment, chunk->place, 0, whole,
                                            (size_t)chunk->bytes);
    if (status == STATUS_OK && store_segment_digest(whole, (size_t)chunk->bytes) != chunk->digest)
        status = damaged(row, chunk);
    if (status == STATUS_OK)
        memcpy(to, whole + within, bytes);
    free(whole);
    return status;
}

/* What chunk `which` has of [offset, offset + bytes); `*got` bytes of it. */
static enum status read_chunk(struct store *store, struct store_link *link,
                              const struct store_batch_row *row, int64_t which, char *to,
                              size_t bytes, int64_t offset, bool checked, size_t *got)
{
    sqlite3_stmt *rows;
    bool found;
    TRY(store_link_ask(link, &rows,
                       "SELECT start, bytes, digest, coalesce(segment, 0), coalesce(place, 0), body"
                       " FROM chunks WHERE key = ?",
                       store_int(store_key(row->batch.number, which))));
    TRY(store_link_step(link, rows, &found));
    if (!found)
        return missing(row, which);
    const struct chunk chunk = {
        .start = sqlite3_column_int64(rows, 0),
        .bytes = sqlite3_column_int64(rows, 1),
        .digest = (uint64_t)sqlite3_column_int64(rows, 2),
        .segment = sqlite3_column_int64(rows, 3),
        .place = sqlite3_column_int64(rows, 4),
    };
    const int64_t within = offset - chunk.start;
    enum status status = STATUS_OK;
    if (within < 0 || within >= chunk.bytes || chunk.bytes > STORE_BODY_BYTES) {
        status = damaged(row, &chunk);
        goto reset;
    }
    *got = (size_t)(chunk.bytes - within) < bytes ? (size_t)(chunk.bytes - within) : bytes;
    if (chunk.segment) {
        status = read_segment(store, row, &chunk, to, *got, within, checked);
        goto reset;
    }
    const char *body = sqlite3_column_blob(rows, 5);
    if (!body || sqlite3_column_bytes(rows, 5) != chunk.bytes ||
        (checked && store_segment_digest(body, (size_t)chunk.bytes) != chunk.digest))
        status = damaged(row, &chunk);
    else
        memcpy(to, body + within, *got);
reset:
    sqlite3_reset(rows);
    return status;
}

enum status store_input_read(struct store *store, struct store_link *link,
                             const struct store_batch_row *row, void *to, size_t bytes,
                             int64_t offset, bool checked)
{
    const int64_t there = row->batch.committed_bytes;
    if (offset < 0 || offset > there || (int64_t)bytes > there - offset)
        return fail(STATUS_OUT_OF_RANGE, "batches/%s: its input has %lld bytes", row->batch.id,
                    (long long)there);
    if (bytes == 0)
        return STATUS_OK;
    int64_t which;
    TRY(find(link, row, offset, &which));
    for (size_t done = 0; done < bytes; which++) {
        size_t got = 0;
        TRY(read_chunk(store, link, row, which, (char *)to + done, bytes - done,
                       offset + (int64_t)done, checked, &got));
        done += got;
    }
    return STATUS_OK;
}

enum status store_input_forget(struct store_turn *turn, int64_t number, int64_t most, bool *more)
{
    return store_segment_forget_rows(turn,
                                     "SELECT key, coalesce(segment, 0) FROM chunks"
                                     " WHERE key BETWEEN ? AND ? LIMIT 1",
                                     "DELETE FROM chunks WHERE key = ?", number, most, more);
}
