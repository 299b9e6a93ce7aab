/* A connection to the store's database, with its prepared statements, and SQLite's errors as ours.
 *
 *     TRY(store_link_ask(link, &rows, "SELECT a FROM t WHERE b = ?", store_int(7)));
 *     for (;;) {
 *         bool row;
 *         TRY(store_link_step(link, rows, &row));
 *         if (!row)
 *             break;
 *         use(sqlite3_column_int64(rows, 0));
 *     }
 *
 * A statement is kept under its literal: its SQL must be a string constant. After the last row, or
 * an error, it is reset by itself; who stops before calls sqlite3_reset.
 */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum { STORE_LINK_STATEMENTS = 256 };

struct store_link {
    sqlite3 *database;
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } kept[STORE_LINK_STATEMENTS];
};

enum store_value_type { STORE_NULL, STORE_INT, STORE_TEXT, STORE_BLOB };

struct store_value {
    enum store_value_type type;
    int64_t number;
    const void *bytes; /* borrowed until the statement is reset */
    size_t size;
};

static inline struct store_value store_int(int64_t number)
{
    return (struct store_value){.type = STORE_INT, .number = number};
}

/* NULL binds NULL. */
static inline struct store_value store_text(const char *text)
{
    return (struct store_value){.type = text ? STORE_TEXT : STORE_NULL, .bytes = text};
}

/* NULL binds NULL. */
static inline struct store_value store_blob(const void *bytes, size_t size)
{
    return (struct store_value){
        .type = bytes ? STORE_BLOB : STORE_NULL, .bytes = bytes, .size = size};
}

/* With the settings that every connection of the store has. `cache_kib` of pages. */
MUST_CHECK enum status store_link_open(struct store_link *link, const char *path, const char *vfs,
                                       int64_t cache_kib);
void store_link_close(struct store_link *link);

/* The status of the connection's last error, worded with `what`: UNAVAILABLE where the disk fails,
 * DATA_LOSS where the file is damaged, RESOURCE_EXHAUSTED without memory, else INTERNAL. */
MUST_CHECK enum status store_link_fail(const struct store_link *link, const char *what);

MUST_CHECK enum status store_link_ask_values(struct store_link *link, sqlite3_stmt **rows,
                                             const char *sql, const struct store_value *values,
                                             size_t count);

MUST_CHECK enum status store_link_step(struct store_link *link, sqlite3_stmt *rows, bool *row);

/* Runs a statement that has no rows. */
MUST_CHECK enum status store_link_do_values(struct store_link *link, const char *sql,
                                            const struct store_value *values, size_t count);

/* One or more statements without values, not kept. */
MUST_CHECK enum status store_link_run(struct store_link *link, const char *sql);

/* The number in the first column of the first row; `*found` false where there is none. */
MUST_CHECK enum status store_link_number_values(struct store_link *link, int64_t *number,
                                                bool *found, const char *sql,
                                                const struct store_value *values, size_t count);

#define STORE_VALUES(...)                                                                          \
    (const struct store_value[]){__VA_ARGS__},                                                     \
        sizeof((const struct store_value[]){__VA_ARGS__}) / sizeof(struct store_value)
#define store_link_ask(link, rows, sql, ...)                                                       \
    store_link_ask_values(link, rows, sql, STORE_VALUES(__VA_ARGS__))
#define store_link_do(link, sql, ...) store_link_do_values(link, sql, STORE_VALUES(__VA_ARGS__))
#define store_link_number(link, number, found, sql, ...)                                           \
    store_link_number_values(link, number, found, sql, STORE_VALUES(__VA_ARGS__))

/* Ends whatever was left in the middle. */
void store_link_reset(struct store_link *link);

/* A column's text, copied and cut to `bytes`; NULL reads as "". */
void store_link_copy_text(char *to, size_t bytes, sqlite3_stmt *rows, int column);
