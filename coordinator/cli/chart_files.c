/* Owns how wide a chart on standard output is. */
#include "coordinator/cli/chart_files.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "coordinator/bench/chart_svg.h"
#include "coordinator/bench/chart_terminal.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/result_folder.h"

enum { COLUMNS = 80, COLUMNS_MOST = 120, ROWS = 14 };

static int columns_of_output(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS;
    return size.ws_col < COLUMNS_MOST ? size.ws_col : COLUMNS_MOST;
}

static enum status end_file(FILE *file, const char *folder, const char *name, enum status drawn)
{
    if (drawn == STATUS_OK)
        return result_folder_finish(file, folder, name);
    fclose(file);
    return drawn;
}

static enum status write_file(const struct chart *chart, const char *folder, const char *name)
{
    FILE *file = NULL;
    TRY(result_folder_create(&file, folder, name));
    return end_file(file, folder, name, chart_svg_write(file, chart));
}

static enum status write_map(const struct heat_map *map, const char *folder, const char *name)
{
    FILE *file = NULL;
    TRY(result_folder_create(&file, folder, name));
    return end_file(file, folder, name, heat_map_svg_write(file, map));
}

enum status chart_files_draw(const struct chart *chart, const char *folder, const char *name,
                             bool shown)
{
    if (folder)
        TRY(write_file(chart, folder, name));
    if (!shown)
        return STATUS_OK;
    const struct chart_terminal terminal = {
        .columns = columns_of_output(),
        .rows = ROWS,
        .plain = !isatty(STDOUT_FILENO),
        .colour = console_paint(CONSOLE_DIM)[0] != 0,
    };
    putchar('\n');
    return chart_terminal_write(stdout, chart, &terminal);
}

enum status chart_files_draw_map(const struct heat_map *map, const char *folder, const char *name,
                                 bool shown)
{
    if (folder)
        TRY(write_map(map, folder, name));
    if (!shown)
        return STATUS_OK;
    putchar('\n');
    return heat_map_terminal_write(stdout, map, !isatty(STDOUT_FILENO),
                                   console_paint(CONSOLE_DIM)[0] != 0);
}
