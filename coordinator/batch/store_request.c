/* Owns request ids and the form in which answers are kept. Promises the same answer for the same
 * id, and no answer to another's. */
#include "coordinator/batch/store_request.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "coordinator/batch/store_parts.h"

enum { ID_BYTES_MAX = 128, DIGEST_BYTES = 16 };
#define KEPT_US (INT64_C(24) * 3600 * 1000000)

void store_request_clear(struct store_saved *saved)
{
    free(saved->bytes);
    *saved = (struct store_saved){0};
}

static bool has_id(const struct store_request *request)
{
    return request && request->id && request->id[0];
}

static void digest_of(uint8_t digest[DIGEST_BYTES], const struct store_request *request)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(request->content, request->content_bytes));
    memcpy(digest, canonical.digest, DIGEST_BYTES);
}

static enum status copy_blob(struct store_saved *saved, sqlite3_stmt *rows, int column)
{
    const void *blob = sqlite3_column_blob(rows, column);
    saved->size = (size_t)sqlite3_column_bytes(rows, column);
    saved->bytes = malloc(saved->size + 1);
    if (!saved->bytes)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer");
    if (saved->size > 0)
        memcpy(saved->bytes, blob, saved->size);
    return STATUS_OK;
}

enum status store_request_find(struct store_link *link, struct store_saved *saved, bool *found,
                               int64_t tenant, int64_t now_us, const struct store_request *request)
{
    uint8_t digest[DIGEST_BYTES];
    sqlite3_stmt *rows;
    *found = false;
    if (!has_id(request))
        return STATUS_OK;
    if (strlen(request->id) > ID_BYTES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "request_id has more than %d bytes", ID_BYTES_MAX);
    TRY(store_link_ask(link, &rows,
                       "SELECT digest, answer FROM request_ids WHERE tenant = ? AND id = ?"
                       " AND expires_us > ?",
                       store_int(tenant), store_text(request->id), store_int(now_us)));
    TRY(store_link_step(link, rows, found));
    if (!*found)
        return STATUS_OK;
    digest_of(digest, request);
    enum status status = STATUS_OK;
    if (sqlite3_column_bytes(rows, 0) != DIGEST_BYTES ||
        memcmp(sqlite3_column_blob(rows, 0), digest, DIGEST_BYTES) != 0)
        status = fail(STATUS_ALREADY_EXISTS,
                      "request_id \"%s\" was used for another request within the last 24 hours: "
                      "use a new one",
                      request->id);
    else
        status = copy_blob(saved, rows, 1);
    sqlite3_reset(rows);
    return status;
}

enum status store_request_keep(struct store_turn *turn, int64_t tenant,
                               const struct store_request *request, const struct store_saved *saved)
{
    uint8_t digest[DIGEST_BYTES];
    if (!has_id(request))
        return STATUS_OK;
    digest_of(digest, request);
    /* OR REPLACE: one that is older than 24 hours and was not forgotten yet. */
    return store_link_do(
        turn->link, "INSERT OR REPLACE INTO request_ids VALUES(NULL, ?, ?, ?, ?, ?)",
        store_int(tenant), store_text(request->id), store_blob(digest, sizeof digest),
        store_blob(saved->bytes ? saved->bytes : (const void *)"", saved->size),
        store_int(turn->now_us + KEPT_US));
}

enum status store_request_forget(struct store_turn *turn, int64_t most, bool *more)
{
    /* Numbers grow as times do: those that expire first come first. */
    TRY(store_link_do(turn->link,
                      "DELETE FROM request_ids WHERE number IN"
                      " (SELECT number FROM (SELECT number, expires_us FROM request_ids"
                      " ORDER BY number LIMIT ?) WHERE expires_us <= ?)",
                      store_int(most), store_int(turn->now_us)));
    *more = sqlite3_changes64(turn->link->database) >= most;
    return STATUS_OK;
}

/* ---- the form of an answer: numbers and strings, each string behind its length ---- */

struct packer {
    struct store_saved *saved;
    size_t room;
    bool failed;
};

static void put(struct packer *packer, const void *bytes, size_t size)
{
    struct store_saved *saved = packer->saved;
    if (saved->size + size > packer->room) {
        const size_t room = 2 * packer->room + size + 256;
        uint8_t *larger = realloc(saved->bytes, room);
        packer->failed |= !larger;
        if (!larger)
            return;
        saved->bytes = larger;
        packer->room = room;
    }
    if (size > 0)
        memcpy(saved->bytes + saved->size, bytes, size);
    saved->size += size;
}

/* Seven bits a byte, the lowest first; the top bit says that more follow. */
static void put_number(struct packer *packer, int64_t number)
{
    uint8_t bytes[10];
    size_t size = 0;
    uint64_t rest = (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
    do {
        bytes[size++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        rest >>= 7;
    } while (rest);
    put(packer, bytes, size);
}

static void put_string(struct packer *packer, const void *bytes, size_t size)
{
    put_number(packer, (int64_t)size);
    put(packer, bytes, size);
}

struct unpacker {
    const uint8_t *at, *end;
    bool failed;
};

static int64_t get_number(struct unpacker *unpacker)
{
    uint64_t rest = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (unpacker->at == unpacker->end)
            break;
        const uint8_t byte = *unpacker->at++;
        rest |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return (int64_t)(rest >> 1 ^ -(rest & 1));
    }
    unpacker->failed = true;
    return 0;
}

/* A view of the string. */
static const uint8_t *get_string(struct unpacker *unpacker, size_t *size)
{
    const int64_t length = get_number(unpacker);
    if (unpacker->failed || length < 0 || length > unpacker->end - unpacker->at) {
        unpacker->failed = true;
        *size = 0;
        return NULL;
    }
    const uint8_t *string = unpacker->at;
    unpacker->at += length;
    *size = (size_t)length;
    return string;
}

static void get_text(struct unpacker *unpacker, char *text, size_t room)
{
    size_t size;
    const uint8_t *string = get_string(unpacker, &size);
    if (size >= room) {
        unpacker->failed = true;
        size = 0;
    }
    if (size > 0)
        memcpy(text, string, size);
    text[size] = '\0';
}

/* Memory of its own, with a zero byte behind it; NULL for no bytes. */
static uint8_t *get_copy(struct unpacker *unpacker, size_t *size)
{
    const uint8_t *string = get_string(unpacker, size);
    if (*size == 0)
        return NULL;
    uint8_t *copy = malloc(*size + 1);
    unpacker->failed |= !copy;
    if (!copy)
        return NULL;
    memcpy(copy, string, *size);
    copy[*size] = '\0';
    return copy;
}

static enum status packed(const struct packer *packer)
{
    return packer->failed ? fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer") : STATUS_OK;
}

static enum status unpacked(const struct unpacker *unpacker)
{
    return unpacker->failed || unpacker->at != unpacker->end
               ? fail(STATUS_DATA_LOSS, "the answer that was kept for this request_id is damaged")
               : STATUS_OK;
}

/* Every number of a batch, in the sequence in which they are kept. */
enum { BATCH_NUMBERS = 17 };
static void batch_numbers(struct store_batch *batch, int64_t *numbers[BATCH_NUMBERS])
{
    int64_t *const all[BATCH_NUMBERS] = {
        &batch->number,
        &batch->counts.total,
        &batch->counts.completed,
        &batch->counts.failed,
        &batch->counts.cancelled,
        &batch->counts.expired,
        &batch->counts.running,
        &batch->usage.prompt_tokens,
        &batch->usage.cached_tokens,
        &batch->usage.prefilled_tokens,
        &batch->usage.completion_tokens,
        &batch->committed_bytes,
        &batch->retention_seconds,
        &batch->created_us,
        &batch->started_us,
        &batch->ended_us,
        &batch->expires_us,
    };
    memcpy(numbers, all, sizeof all);
}

enum status store_request_save_batch(struct store_saved *saved, const struct store_batch *batch)
{
    struct packer packer = {.saved = saved};
    struct store_batch copy = *batch;
    int64_t *numbers[BATCH_NUMBERS];
    batch_numbers(&copy, numbers);
    for (int i = 0; i < BATCH_NUMBERS; i++)
        put_number(&packer, *numbers[i]);
    put_number(&packer, batch->order);
    put_number(&packer, batch->priority);
    put_number(&packer, batch->state);
    put_number(&packer, batch->expiring);
    put_string(&packer, batch->id, strlen(batch->id));
    put_string(&packer, batch->endpoint, strlen(batch->endpoint));
    put_string(&packer, batch->retry_of, strlen(batch->retry_of));
    put_string(&packer, batch->metadata, batch->metadata_bytes);
    put_string(&packer, batch->error, batch->error ? strlen(batch->error) : 0);
    return packed(&packer);
}

enum status store_request_load_batch(struct store_batch *batch, const struct store_saved *saved)
{
    struct unpacker unpacker = {saved->bytes, saved->bytes + saved->size, false};
    int64_t *numbers[BATCH_NUMBERS];
    size_t size;
    *batch = (struct store_batch){0};
    batch_numbers(batch, numbers);
    for (int i = 0; i < BATCH_NUMBERS; i++)
        *numbers[i] = get_number(&unpacker);
    batch->order = (int)get_number(&unpacker);
    batch->priority = (int)get_number(&unpacker);
    batch->state = (enum store_batch_state)get_number(&unpacker);
    batch->expiring = get_number(&unpacker) != 0;
    get_text(&unpacker, batch->id, sizeof batch->id);
    get_text(&unpacker, batch->endpoint, sizeof batch->endpoint);
    get_text(&unpacker, batch->retry_of, sizeof batch->retry_of);
    batch->metadata = get_copy(&unpacker, &batch->metadata_bytes);
    batch->error = (char *)get_copy(&unpacker, &size);
    const enum status status = unpacked(&unpacker);
    if (status != STATUS_OK)
        store_batch_clear(batch);
    return status;
}

enum status store_request_save_document(struct store_saved *saved,
                                        const struct store_document *document)
{
    struct packer packer = {.saved = saved};
    put_number(&packer, document->number);
    put_number(&packer, document->bytes);
    put_number(&packer, document->tokens);
    put_number(&packer, document->created_us);
    put_number(&packer, document->expires_us);
    put_string(&packer, document->id, strlen(document->id));
    put_string(&packer, document->digest, strlen(document->digest));
    put_string(&packer, document->title, strlen(document->title));
    return packed(&packer);
}

enum status store_request_load_document(struct store_document *document,
                                        const struct store_saved *saved)
{
    struct unpacker unpacker = {saved->bytes, saved->bytes + saved->size, false};
    *document = (struct store_document){0};
    document->number = get_number(&unpacker);
    document->bytes = get_number(&unpacker);
    document->tokens = get_number(&unpacker);
    document->created_us = get_number(&unpacker);
    document->expires_us = get_number(&unpacker);
    get_text(&unpacker, document->id, sizeof document->id);
    get_text(&unpacker, document->digest, sizeof document->digest);
    get_text(&unpacker, document->title, sizeof document->title);
    return unpacked(&unpacker);
}
