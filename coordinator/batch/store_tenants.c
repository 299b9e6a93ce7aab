/* Owns the writer's table of tenants. Promises that it says what the database will say once the
 * turn is on disk. */
#include "coordinator/batch/store_tenants.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the store's tenants");
}

void store_tenants_deinit(struct store_tenants *tenants)
{
    for (int64_t i = 0; i < tenants->count; i++) {
        free(tenants->entries[i]->name);
        free(tenants->entries[i]);
    }
    free(tenants->entries);
    free(tenants->slots);
    memset(tenants, 0, sizeof *tenants);
}

struct store_tenant_entry *store_tenants_at(struct store_tenants *tenants, int64_t number)
{
    assert(number >= 1 && number <= tenants->count);
    return tenants->entries[number - 1];
}

/* Where the name is, or would be. */
static int64_t slot_of(const struct store_tenants *tenants, const char *name)
{
    int64_t at = (int64_t)(XXH3_64bits(name, strlen(name)) & (uint64_t)(tenants->slots_count - 1));
    while (tenants->slots[at] && strcmp(tenants->entries[tenants->slots[at] - 1]->name, name) != 0)
        at = (at + 1) & (tenants->slots_count - 1);
    return at;
}

/* Room for one more entry, at most half of the slots in use. */
static enum status make_room(struct store_tenants *tenants)
{
    if (tenants->slots_count > 2 * (tenants->count + 1))
        return STATUS_OK;
    const int64_t slots_count = tenants->slots_count ? 2 * tenants->slots_count : 64;
    int64_t *slots = calloc((size_t)slots_count, sizeof *slots);
    struct store_tenant_entry **entries =
        realloc(tenants->entries, (size_t)slots_count * sizeof(struct store_tenant_entry *));
    if (entries)
        tenants->entries = entries;
    if (!slots || !entries) {
        free(slots);
        return no_memory();
    }
    free(tenants->slots);
    tenants->slots = slots;
    tenants->slots_count = slots_count;
    for (int64_t i = 0; i < tenants->count; i++)
        slots[slot_of(tenants, entries[i]->name)] = i + 1;
    return STATUS_OK;
}

static enum status add(struct store_tenants *tenants, const char *name,
                       const struct store_tenant_entry *facts)
{
    TRY(make_room(tenants));
    struct store_tenant_entry *entry = malloc(sizeof *entry);
    char *copy = strdup(name);
    if (!entry || !copy) {
        free(entry);
        free(copy);
        return no_memory();
    }
    *entry = *facts;
    entry->name = copy;
    entry->number = tenants->count + 1;
    const int64_t slot = slot_of(tenants, name);
    tenants->entries[tenants->count++] = entry;
    tenants->slots[slot] = tenants->count;
    return STATUS_OK;
}

enum status store_tenants_load(struct store_tenants *tenants, struct store_link *link)
{
    sqlite3_stmt *rows;
    store_tenants_deinit(tenants);
    TRY(store_link_ask_values(link, &rows,
                              "SELECT number, name, queued_lines, queued_tokens, running_lines,"
                              " stored_bytes FROM tenants ORDER BY number",
                              NULL, 0));
    for (;;) {
        bool row;
        TRY(store_link_step(link, rows, &row));
        if (!row)
            return STATUS_OK;
        const struct store_tenant_entry facts = {
            .queued_lines = sqlite3_column_int64(rows, 2),
            .queued_tokens = sqlite3_column_int64(rows, 3),
            .running_lines = sqlite3_column_int64(rows, 4),
            .stored_bytes = sqlite3_column_int64(rows, 5),
        };
        const char *name = (const char *)sqlite3_column_text(rows, 1);
        enum status status = name ? STATUS_OK : no_memory();
        if (status == STATUS_OK && sqlite3_column_int64(rows, 0) != tenants->count + 1)
            status = fail(STATUS_DATA_LOSS, "store: tenant %lld is missing",
                          (long long)tenants->count + 1);
        if (status == STATUS_OK)
            status = add(tenants, name, &facts);
        if (status != STATUS_OK) {
            sqlite3_reset(rows);
            return status;
        }
    }
}

struct store_tenant_entry *store_tenants_known(const struct store_tenants *tenants,
                                               const char *name)
{
    const int64_t number = tenants->slots_count > 0 ? tenants->slots[slot_of(tenants, name)] : 0;
    return number ? tenants->entries[number - 1] : NULL;
}

enum status store_tenants_find(struct store_tenants *tenants, struct store_link *link,
                               struct store_tenant_entry **entry, const char *name)
{
    *entry = store_tenants_known(tenants, name);
    if (*entry)
        return STATUS_OK;
    TRY(store_link_do(link, "INSERT INTO tenants VALUES(?, ?, 0, 0, 0, 0)",
                      store_int(tenants->count + 1), store_text(name)));
    const struct store_tenant_entry nothing = {0};
    TRY(add(tenants, name, &nothing));
    *entry = tenants->entries[tenants->count - 1];
    return STATUS_OK;
}

static enum status check_one(int64_t has, int64_t grows, int64_t limit, const char *what)
{
    if (limit == 0 || grows <= 0 || (has <= limit && grows <= limit - has))
        return STATUS_OK;
    return fail(STATUS_RESOURCE_EXHAUSTED, "%lld more %s are too many: %lld are there, %lld may be",
                (long long)grows, what, (long long)has, (long long)limit);
}

enum status store_tenants_check(const struct store_tenant_entry *entry,
                                const struct store_limits *limits,
                                const struct store_tenant_growth *growth)
{
    if (!limits)
        return STATUS_OK;
    TRY(check_one(entry->queued_lines, growth->queued_lines, limits->queued_lines,
                  "waiting lines"));
    TRY(check_one(entry->queued_tokens, growth->queued_tokens, limits->queued_tokens,
                  "waiting tokens"));
    return check_one(entry->stored_bytes, growth->stored_bytes, limits->stored_bytes,
                     "stored bytes");
}

void store_tenants_grow(struct store_tenants *tenants, struct store_tenant_entry *entry,
                        const struct store_tenant_growth *growth)
{
    tenants->growths++;
    entry->queued_lines += growth->queued_lines;
    entry->queued_tokens += growth->queued_tokens;
    entry->running_lines += growth->running_lines;
    entry->stored_bytes += growth->stored_bytes;
    entry->changed = true;
}

enum status store_tenants_flush(struct store_tenants *tenants, struct store_link *link)
{
    for (int64_t i = 0; i < tenants->count; i++) {
        struct store_tenant_entry *entry = tenants->entries[i];
        if (!entry->changed)
            continue;
        TRY(store_link_do(link,
                          "UPDATE tenants SET queued_lines = ?, queued_tokens = ?,"
                          " running_lines = ?, stored_bytes = ? WHERE number = ?",
                          store_int(entry->queued_lines), store_int(entry->queued_tokens),
                          store_int(entry->running_lines), store_int(entry->stored_bytes),
                          store_int(entry->number)));
        entry->changed = false;
    }
    return STATUS_OK;
}

enum status store_tenants_number(struct store_link *link, int64_t *number, const char *name)
{
    bool found;
    TRY(store_link_number(link, number, &found, "SELECT number FROM tenants WHERE name = ?",
                          store_text(name)));
    if (!found)
        *number = 0;
    return STATUS_OK;
}
