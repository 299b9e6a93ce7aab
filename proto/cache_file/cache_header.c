/* Owns the header of saved keys and values. Promises that a header that is read is one that could
 * have been written, so that what follows from it needs no second look. */
#include "proto/cache_file/cache_header.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "proto/cache_file/cache_numbers.h"
#include "proto/plan/partition.h"
#include "proto/plan/schedule.h"

enum {
    MAGIC_BYTES = 8,
    FIXED_BYTES = 112,
    STORE_BYTES = 24,
    DIGEST_BYTES = 8,
    BYTE_ORDER_MARK = 0x01020304,
    MODEL_DIGITS = CACHE_MODEL_BYTES - 1,
    ELEMENT_BF16 = 1,
    ELEMENT_F32 = 2,
    ELEMENT_INT8 = 3, /* and a scale a row */
};

/* Types of elements, by the cache that they are of. */
static const struct element {
    uint32_t code;
    size_t bytes;
    const char *name;
} elements[] = {
    [CHOICE_CACHE_BF16] = {ELEMENT_BF16, 2, "bfloat16"},
    [CHOICE_CACHE_F32] = {ELEMENT_F32, 4, "float32"},
    [CHOICE_CACHE_INT8] = {ELEMENT_INT8, 1, "int8"},
};
enum { ELEMENTS = sizeof elements / sizeof elements[0] };

static const char magic[MAGIC_BYTES + 1] = "LHCACHE\n";

/* ---- what is kept ---- */

static int64_t panels_of(int64_t tokens)
{
    return (tokens + BANDS_LANES - 1) / BANDS_LANES;
}

void cache_header_plan(struct cache_header *header, const struct choice *choice,
                       const struct model_shape *shape, int64_t tokens)
{
    struct bands bands;
    choice_bands(choice, &bands);
    *header = (struct cache_header){
        .method = choice->request.method,
        .cache = choice->group.cache,
        .layers = shape->layers,
        .kv_heads = shape->kv_heads,
        .head_dim = shape->head_dim,
        .tokens = tokens,
        .context_tokens = choice->request.context_tokens,
        .store_count = 1,
    };
    header->stores[0] = (struct cache_store){
        .store = BANDS_PANELS,
        .records = bands.panel_frames + 1,
        .first_panel =
            partition_live_first(BANDS_LANES, tokens - 1, bands_reach(&bands)) / BANDS_LANES,
        .end_panel = panels_of(tokens),
    };
    if (!schedule_keeps_sinks(choice, &bands))
        return;
    header->stores[header->store_count++] = (struct cache_store){
        .store = BANDS_SINKS,
        .records = bands.key_frames + 1,
        .end_panel = panels_of(bands.sinks < tokens ? bands.sinks : tokens),
    };
}

static bool same_shape(const struct cache_header *a, const struct cache_header *b)
{
    bool same = a->layers == b->layers && a->kv_heads == b->kv_heads &&
                a->head_dim == b->head_dim && a->tokens == b->tokens &&
                a->store_count == b->store_count;
    for (int s = 0; same && s < a->store_count; s++)
        same = a->stores[s].store == b->stores[s].store &&
               a->stores[s].records == b->stores[s].records &&
               a->stores[s].first_panel == b->stores[s].first_panel &&
               a->stores[s].end_panel == b->stores[s].end_panel;
    return same;
}

enum status cache_header_match(const struct cache_header *found, const struct cache_header *planned,
                               const char *name)
{
    char theirs[METHOD_TEXT_BYTES], ours[METHOD_TEXT_BYTES];
    method_print(&found->method, theirs);
    method_print(&planned->method, ours);
    if (strcmp(found->model, planned->model) != 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s holds keys of the model %s; this one is %s: read the document again", name,
                    found->model, planned->model);
    if (found->cache != planned->cache)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s holds %s keys; these workers' are %s: start workers with the same --cache "
                    "and kernels of the same kind",
                    name, cache_header_element_name(found), cache_header_element_name(planned));
    if (strcmp(theirs, ours) != 0)
        return fail(STATUS_FAILED_PRECONDITION, "%s holds keys for %s, not for %s", name, theirs,
                    ours);
    if (!same_shape(found, planned))
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s holds other panels than %lld tokens have with %s in a context of %lld",
                    name, (long long)planned->tokens, ours, (long long)planned->context_tokens);
    return STATUS_OK;
}

/* ---- what follows from a header ---- */

static int64_t store_panels(const struct cache_store *store)
{
    return store->end_panel - store->first_panel;
}

int64_t cache_header_blocks(const struct cache_header *header)
{
    int64_t panels = 0;
    for (int s = 0; s < header->store_count; s++)
        panels += store_panels(&header->stores[s]);
    return panels * header->layers;
}

/* The store of block *number, which becomes its number there. */
static const struct cache_store *find_store(const struct cache_header *header, int64_t *number)
{
    const struct cache_store *store = header->stores;
    while (*number >= store_panels(store) * header->layers) {
        *number -= store_panels(store) * header->layers;
        store++;
        assert(store < header->stores + header->store_count);
    }
    return store;
}

struct cache_place cache_header_place(const struct cache_header *header, int64_t number)
{
    const struct cache_store *store = find_store(header, &number);
    return (struct cache_place){
        .store = store->store,
        .panel = store->first_panel + number / header->layers,
        .layer = (int)(number % header->layers),
    };
}

int64_t cache_header_number(const struct cache_header *header, const struct cache_place *place)
{
    int64_t before = 0;
    for (int s = 0; s < header->store_count; s++) {
        const struct cache_store *store = &header->stores[s];
        if (store->store == place->store && place->panel >= store->first_panel &&
            place->panel < store->end_panel && place->layer >= 0 && place->layer < header->layers)
            return before + (place->panel - store->first_panel) * header->layers + place->layer;
        before += store_panels(store) * header->layers;
    }
    return -1;
}

const char *cache_header_element_name(const struct cache_header *header)
{
    return elements[header->cache].name;
}

size_t cache_header_element_bytes(const struct cache_header *header)
{
    return elements[header->cache].bytes;
}

static size_t record_bytes(const struct cache_header *header)
{
    return (size_t)(BANDS_LANES * header->kv_heads *
                    choice_cache_bytes(header->cache, header->head_dim));
}

size_t cache_header_block_bytes(const struct cache_header *header, int64_t number)
{
    return (size_t)find_store(header, &number)->records * record_bytes(header);
}

size_t cache_header_block_most(const struct cache_header *header)
{
    int records = 0;
    for (int s = 0; s < header->store_count; s++)
        records = header->stores[s].records > records ? header->stores[s].records : records;
    return (size_t)records * record_bytes(header);
}

/* ---- writing ---- */

static size_t padded(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

size_t cache_header_bytes(const struct cache_header *header)
{
    char spelling[METHOD_TEXT_BYTES];
    method_print(&header->method, spelling);
    return FIXED_BYTES + (size_t)header->store_count * STORE_BYTES + padded(strlen(spelling)) +
           padded((size_t)header->tokens * sizeof(int32_t)) + padded(header->document_bytes) +
           DIGEST_BYTES;
}

static uint8_t *put_facts(const struct cache_header *header, uint8_t *at, size_t bytes,
                          size_t spelling_bytes)
{
    struct bands bands;
    method_bands(&header->method, &bands);
    const uint32_t numbers[] = {
        CACHE_VERSION,
        BYTE_ORDER_MARK,
        (uint32_t)bytes,
        elements[header->cache].code,
        (uint32_t)header->layers,
        (uint32_t)header->kv_heads,
        (uint32_t)header->head_dim,
        BANDS_LANES,
        (uint32_t)bands.key_frames,
        (uint32_t)bands.panel_frames,
        (uint32_t)header->store_count,
        (uint32_t)spelling_bytes,
    };
    memcpy(at, magic, MAGIC_BYTES);
    at += MAGIC_BYTES;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        at = cache_put_u32(at, numbers[i]);
    at = cache_put_u64(at, (uint64_t)header->tokens);
    at = cache_put_u64(at, (uint64_t)header->context_tokens);
    memcpy(at, header->model, MODEL_DIGITS);
    at = cache_put_u32(at + MODEL_DIGITS, (uint32_t)header->form);
    return cache_put_u32(at, (uint32_t)header->document_bytes);
}

static void put_all(const struct cache_header *header, uint8_t *start, size_t bytes)
{
    char spelling[METHOD_TEXT_BYTES];
    method_print(&header->method, spelling);
    memset(start, 0, bytes);
    uint8_t *at = put_facts(header, start, bytes, strlen(spelling));
    for (int s = 0; s < header->store_count; s++) {
        const struct cache_store *store = &header->stores[s];
        at = cache_put_u32(at, (uint32_t)store->store);
        at = cache_put_u32(at, (uint32_t)store->records);
        at = cache_put_u64(at, (uint64_t)store->first_panel);
        at = cache_put_u64(at, (uint64_t)store->end_panel);
    }
    memcpy(at, spelling, strlen(spelling));
    at += padded(strlen(spelling));
    for (int64_t t = 0; t < header->tokens; t++)
        cache_put_u32(at + t * (int64_t)sizeof(int32_t), (uint32_t)header->ids[t]);
    if (header->document_bytes > 0)
        memcpy(at + padded((size_t)header->tokens * sizeof(int32_t)), header->document,
               header->document_bytes);
    cache_put_u64(start + bytes - DIGEST_BYTES, XXH3_64bits(start, bytes - DIGEST_BYTES));
}

enum status cache_header_write(const struct cache_header *header, uint8_t *bytes)
{
    struct cache_header again;
    uint64_t digest;
    const size_t count = cache_header_bytes(header);
    struct cursor cursor = {.data = bytes, .bytes = count, .name = "a header to be written"};
    put_all(header, bytes, count);
    if (cache_header_read(&again, &digest, &cursor) == STATUS_OK)
        return STATUS_OK;
    char refusal[512];
    snprintf(refusal, sizeof refusal, "%s", status_message());
    return fail(STATUS_INTERNAL, "%s", refusal);
}

/* ---- reading ---- */

static enum status out_of_range(const struct cursor *cursor, size_t at, const char *what,
                                uint64_t value, uint64_t least, uint64_t most)
{
    return cursor_fail(cursor, at, STATUS_DATA_LOSS, "range", "%s: %llu, must be %llu to %llu",
                       what, (unsigned long long)value, (unsigned long long)least,
                       (unsigned long long)most);
}

static enum status take_u32(struct cursor *cursor, int64_t *value, uint32_t least, uint32_t most,
                            const char *what)
{
    uint32_t number = 0;
    const size_t at = cursor->offset;
    TRY(cursor_u32(cursor, &number, what));
    if (number < least || number > most)
        return out_of_range(cursor, at, what, number, least, most);
    *value = number;
    return STATUS_OK;
}

static enum status take_u64(struct cursor *cursor, int64_t *value, int64_t least, int64_t most,
                            const char *what)
{
    uint64_t number = 0;
    const size_t at = cursor->offset;
    TRY(cursor_u64(cursor, &number, what));
    if (number < (uint64_t)least || number > (uint64_t)most)
        return out_of_range(cursor, at, what, number, (uint64_t)least, (uint64_t)most);
    *value = (int64_t)number;
    return STATUS_OK;
}

/* Magic, version and byte order: what tells a foreign file from a damaged one. Then the bytes of
 * the header, all of which are there and as they were written. */
static enum status take_frame(struct cursor *cursor, struct cursor *header, uint64_t *digest)
{
    const uint8_t *start = NULL;
    uint32_t version = 0, order = 0, bytes = 0;
    const size_t first = cursor->offset;
    struct cursor at = *cursor;
    TRY(cursor_take(&at, &start, MAGIC_BYTES, "the magic"));
    if (memcmp(start, magic, MAGIC_BYTES) != 0)
        return cursor_fail(&at, first, STATUS_DATA_LOSS, "magic",
                           "this is no file of saved keys and values");
    TRY(cursor_u32(&at, &version, "the version"));
    if (version != CACHE_VERSION)
        return cursor_fail(&at, at.offset - 4, STATUS_UNIMPLEMENTED, "version",
                           "version %u, this program knows %d", version, CACHE_VERSION);
    TRY(cursor_u32(&at, &order, "the byte order"));
    if (order != BYTE_ORDER_MARK)
        return cursor_fail(&at, at.offset - 4, STATUS_UNIMPLEMENTED, "byte order",
                           "its numbers are not little-endian");
    TRY(cursor_u32(&at, &bytes, "the header's bytes"));
    if (bytes < FIXED_BYTES + STORE_BYTES + DIGEST_BYTES || bytes % 8 ||
        bytes > CACHE_HEADER_BYTES_MAX)
        return cursor_fail(&at, at.offset - 4, STATUS_DATA_LOSS, "header", "a header of %u bytes",
                           bytes);
    const size_t fields = at.offset;
    at.offset = first;
    TRY(cursor_take(&at, &start, bytes, "the header"));
    cursor->offset = at.offset;
    at.bytes = at.offset;
    at.offset -= DIGEST_BYTES;
    TRY(cursor_u64(&at, digest, "the header's digest"));
    if (XXH3_64bits(start, bytes - DIGEST_BYTES) != *digest)
        return cursor_fail(&at, at.offset - DIGEST_BYTES, STATUS_DATA_LOSS, "digest",
                           "the header is not as it was written");
    *header = at;
    header->bytes -= DIGEST_BYTES;
    header->offset = fields;
    return STATUS_OK;
}

/* Numbers that only say what the reader counts on, for readers that know no methods. */
struct frames {
    int64_t key_frames, panel_frames;
    size_t at; /* their offset */
};

static enum status take_element(struct cursor *cursor, struct cache_header *header)
{
    uint32_t code = 0;
    TRY(cursor_u32(cursor, &code, "the type of the elements"));
    for (int cache = 0; cache < ELEMENTS; cache++)
        if (elements[cache].code == code) {
            header->cache = (enum choice_cache)cache;
            return STATUS_OK;
        }
    return cursor_fail(cursor, cursor->offset - sizeof code, STATUS_UNIMPLEMENTED, "element",
                       "elements of type %u: this program knows bfloat16 (%d), float32 (%d) and "
                       "int8 (%d)",
                       code, ELEMENT_BF16, ELEMENT_F32, ELEMENT_INT8);
}

static enum status take_shape(struct cursor *cursor, struct cache_header *header,
                              struct frames *frames, int64_t *spelling_bytes)
{
    int64_t panel = 0, stores = 0;
    TRY(take_element(cursor, header));
    TRY(take_u32(cursor, &header->layers, 1, MODEL_SHAPE_LAYERS_MAX, "layers"));
    TRY(take_u32(cursor, &header->kv_heads, 1, CACHE_KV_HEADS_MAX, "KV heads"));
    TRY(take_u32(cursor, &header->head_dim, 1, CACHE_HEAD_DIM_MAX, "width of a head"));
    TRY(take_u32(cursor, &panel, BANDS_LANES, BANDS_LANES, "tokens of a panel"));
    frames->at = cursor->offset;
    TRY(take_u32(cursor, &frames->key_frames, 1, BANDS_FRAMES_MAX, "key frames"));
    TRY(take_u32(cursor, &frames->panel_frames, 1, BANDS_RECORDS_MAX - 1,
                 "key frames of all keys"));
    TRY(take_u32(cursor, &stores, 1, CACHE_STORES_MAX, "stores"));
    TRY(take_u32(cursor, spelling_bytes, 1, METHOD_TEXT_BYTES - 1, "bytes of the method"));
    header->store_count = (int)stores;
    return STATUS_OK;
}

static bool is_hexadecimal(const uint8_t *digits)
{
    for (int i = 0; i < MODEL_DIGITS; i++)
        if (!strchr("0123456789abcdef", digits[i]) || digits[i] == 0)
            return false;
    return true;
}

static enum status take_counts(struct cursor *cursor, struct cache_header *header)
{
    const uint8_t *model = NULL;
    TRY(take_u64(cursor, &header->tokens, 1, INT32_MAX, "tokens"));
    TRY(take_u64(cursor, &header->context_tokens, header->tokens, INT32_MAX,
                 "tokens of the context"));
    const size_t at = cursor->offset;
    TRY(cursor_take(cursor, &model, MODEL_DIGITS, "the model's digest"));
    if (!is_hexadecimal(model))
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "model",
                           "the model's digest is not of hexadecimal digits");
    memcpy(header->model, model, MODEL_DIGITS);
    header->model[MODEL_DIGITS] = 0;
    int64_t form = 0, bytes = 0;
    TRY(take_u32(cursor, &form, CACHE_FORM_NONE, CACHE_FORM_CHAT, "form of the document"));
    TRY(take_u32(cursor, &bytes, form != CACHE_FORM_NONE,
                 form == CACHE_FORM_NONE ? 0 : CACHE_HEADER_BYTES_MAX, "bytes of the document"));
    header->form = (enum cache_form)form;
    header->document_bytes = (size_t)bytes;
    return STATUS_OK;
}

/* The store of all keys reaches to the last token; that of sinks, if any, begins at the first. */
static enum status take_stores(struct cursor *cursor, struct cache_header *header,
                               const struct frames *frames)
{
    const int64_t panels = panels_of(header->tokens);
    for (int s = 0; s < header->store_count; s++) {
        struct cache_store *store = &header->stores[s];
        const bool sinks = s > 0;
        const int64_t records = (sinks ? frames->key_frames : frames->panel_frames) + 1;
        int64_t which = 0, found = 0;
        TRY(take_u32(cursor, &which, sinks ? BANDS_SINKS : BANDS_PANELS,
                     sinks ? BANDS_SINKS : BANDS_PANELS, "store"));
        TRY(take_u32(cursor, &found, (uint32_t)records, (uint32_t)records, "records of a panel"));
        TRY(take_u64(cursor, &store->first_panel, 0, sinks ? 0 : panels - 1, "first panel"));
        TRY(take_u64(cursor, &store->end_panel, sinks ? 1 : panels, panels, "end of the panels"));
        store->store = (enum bands_store)which;
        store->records = (int)found;
    }
    return STATUS_OK;
}

/* In its canonical spelling, and with the frames that the header tells. */
static enum status take_method(struct cursor *cursor, struct cache_header *header,
                               const struct frames *frames, int64_t bytes)
{
    const uint8_t *text = NULL;
    char spelling[METHOD_TEXT_BYTES], canonical[METHOD_TEXT_BYTES], refusal[512];
    struct bands bands;
    const size_t at = cursor->offset;
    TRY(cursor_take(cursor, &text, padded((size_t)bytes), "the method"));
    memcpy(spelling, text, (size_t)bytes);
    spelling[bytes] = 0;
    if (strlen(spelling) != (size_t)bytes)
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "method", "a NUL in the method");
    if (method_parse(&header->method, spelling, 0) != STATUS_OK) {
        snprintf(refusal, sizeof refusal, "%s", status_message());
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "method", "%s", refusal);
    }
    method_print(&header->method, canonical);
    if (strcmp(spelling, canonical) != 0)
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "method", "\"%s\" should be \"%s\"",
                           spelling, canonical);
    method_bands(&header->method, &bands);
    if (bands.key_frames != frames->key_frames || bands.panel_frames != frames->panel_frames)
        return cursor_fail(cursor, frames->at, STATUS_DATA_LOSS, "frames",
                           "%lld and %lld key frames, of \"%s\" there are %d and %d",
                           (long long)frames->key_frames, (long long)frames->panel_frames,
                           canonical, bands.key_frames, bands.panel_frames);
    return STATUS_OK;
}

static enum status take_ids(struct cursor *cursor, struct cache_header *header)
{
    const uint8_t *ids = NULL;
    const size_t at = cursor->offset;
    TRY(cursor_take(cursor, &ids, padded((size_t)header->tokens * sizeof *header->ids),
                    "the tokens' ids"));
    header->ids = (const int32_t *)(const void *)ids;
    for (int64_t t = 0; t < header->tokens; t++)
        if (header->ids[t] < 0)
            return cursor_fail(cursor, at + (size_t)t * sizeof *header->ids, STATUS_DATA_LOSS,
                               "ids", "token %lld has the id %d", (long long)t, header->ids[t]);
    return STATUS_OK;
}

/* The last of the header's fields. */
static enum status take_document(struct cursor *cursor, struct cache_header *header)
{
    const uint8_t *text = NULL;
    const size_t at = cursor->offset;
    TRY(cursor_take(cursor, &text, padded(header->document_bytes), "the document"));
    if (!cursor_is_utf8(text, header->document_bytes) || memchr(text, 0, header->document_bytes))
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "document",
                           "the document is no text in UTF-8");
    if (cursor_left(cursor) > 0)
        return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "header",
                           "%zu bytes between the document and the digest", cursor_left(cursor));
    header->document = (const char *)text;
    return STATUS_OK;
}

static enum status check_size(const struct cursor *cursor, const struct cache_header *header)
{
    const size_t most = cache_header_block_most(header);
    const int64_t blocks = cache_header_blocks(header);
    if (most > CACHE_BLOCK_BYTES_MAX)
        return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "block",
                           "blocks of %zu bytes, of which at most %d are read", most,
                           CACHE_BLOCK_BYTES_MAX);
    if (blocks > CACHE_BLOCKS_MAX)
        return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "blocks",
                           "%lld blocks, of which at most %d are read", (long long)blocks,
                           CACHE_BLOCKS_MAX);
    return STATUS_OK;
}

enum status cache_header_read(struct cache_header *out, uint64_t *digest, struct cursor *cursor)
{
    struct cache_header header = {0};
    struct cursor whole = *cursor;
    struct cursor fields = {0};
    struct frames frames = {0};
    uint64_t read_digest = 0;
    int64_t spelling_bytes = 0;
    TRY(take_frame(&whole, &fields, &read_digest));
    TRY(take_shape(&fields, &header, &frames, &spelling_bytes));
    TRY(take_counts(&fields, &header));
    TRY(take_stores(&fields, &header, &frames));
    TRY(check_size(&fields, &header));
    TRY(take_method(&fields, &header, &frames, spelling_bytes));
    TRY(take_ids(&fields, &header));
    TRY(take_document(&fields, &header));
    *out = header;
    *digest = read_digest;
    *cursor = whole;
    return STATUS_OK;
}
