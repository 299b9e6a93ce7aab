/* How a campaign of tests/durability is started: options from one table, which --help shows, and a
 * folder of its own. */
#pragma once

#include "proto/flags.h"
#include "tests/support/store_folder.h"

enum { CAMPAIGN_ROWS_MAX = 8 };

/* A whole number from 0 on. */
#define CAMPAIGN_COUNT(option, place, words)                                                       \
    {                                                                                              \
        .name = (option), .type = FLAGS_INTEGER, .target = (place), .value = "N", .help = (words), \
        .least = 0, .most = 1e15                                                                   \
    }

struct campaign_command {
    const char *program; /* "crash_points" */
    const char *summary; /* as of struct flags_command */
    const struct flags_row *rows;
    size_t rows_count; /* at most CAMPAIGN_ROWS_MAX */
};

/* Reads the command line, with --folder DIR beside its rows (given none, the system's for temporary
 * files), and makes a new folder in there. Ends the process where that fails, or after --help. */
void campaign_begin(const struct campaign_command *campaign, char folder[STORE_FOLDER_BYTES],
                    int argc, char **argv);
