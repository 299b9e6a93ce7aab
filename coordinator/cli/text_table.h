/* Tables for people: columns as wide as what stands in them. Rows are given twice, once to measure
 * and once to print. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

enum { TEXT_TABLE_CELL_BYTES = 136, TEXT_TABLE_COLUMNS = 10 };

struct text_table {
    FILE *out;
    bool printing;
    int columns;
    int widths[TEXT_TABLE_COLUMNS];
    bool right[TEXT_TABLE_COLUMNS]; /* numbers stand on the right */
    char cells[TEXT_TABLE_COLUMNS][TEXT_TABLE_CELL_BYTES];
};

/* Of names "group|state|ranks"; a '>' before a name sets its column on the right. */
void text_table_head(struct text_table *table, const char *names);

/* The row that stands in `cells`. What could move the cursor is masked. */
void text_table_row(struct text_table *table);
