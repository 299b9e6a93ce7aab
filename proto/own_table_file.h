/* A user's own table (proto/plan/own_table.h) as a file of YAML:
 *
 *     keys:
 *       - {rule: plain, below: 4096}
 *       - {rule: shift, by: -2048, below: 8192}
 *       - {rule: hidden}
 *     sinks: 4
 *     sink_keys:
 *       - {rule: plain, below: 4096}
 *       - {rule: fixed, at: 4096}
 *
 * A file is at most 64 KiB and one document, without anchors, aliases and tags. What is wrong in
 * it is said as "FILE:LINE:COLUMN: what is wrong". It is read where a user names it; what travels
 * is the table's spelling.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/plan/method.h"
#include "proto/status.h"

/* The canonical spelling of a file's table, "table:sinks=4,keys=...", from memory; by itself it is
 * for tests. `name` stands for the file in errors. */
MUST_CHECK enum status own_table_file_read_bytes(char spelling[METHOD_TEXT_BYTES], const char *name,
                                                 const void *data, size_t bytes);

/* Whether a method's spelling begins with table:file=. */
bool own_table_file_is_named(const char *method);

/* A method's spelling in which table:file=PATH, with whatever stands behind it from a comma or a
 * plus on, has given way to the spelling of that file's table; any other as it is. The caller frees
 * *spelling. */
MUST_CHECK enum status own_table_file_expand(char **spelling, const char *method);
