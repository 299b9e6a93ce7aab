/* Owns the layout of tables. Promises that no name in them moves the cursor. */
#include "coordinator/cli/text_table.h"

#include <string.h>

#include "proto/printable.h"

void text_table_row(struct text_table *table)
{
    for (int c = 0; c < table->columns; c++) {
        int width = (int)strlen(table->cells[c]);
        printable_mask_line(table->cells[c], (size_t)width);
        if (!table->printing && width > table->widths[c])
            table->widths[c] = width;
        if (!table->printing)
            continue;
        bool last = c + 1 == table->columns;
        int pad = last && !table->right[c] ? 0 : table->widths[c];
        fprintf(table->out, "%*s%s", table->right[c] ? pad : -pad, table->cells[c],
                last ? "\n" : "  ");
    }
}

void text_table_head(struct text_table *table, const char *names)
{
    table->columns = 0;
    while (*names) {
        int c = table->columns++;
        size_t bytes = strcspn(names, "|");
        table->right[c] = *names == '>';
        snprintf(table->cells[c], TEXT_TABLE_CELL_BYTES, "%.*s", (int)(bytes - table->right[c]),
                 names + table->right[c]);
        names += bytes + (names[bytes] == '|');
    }
    text_table_row(table);
}
