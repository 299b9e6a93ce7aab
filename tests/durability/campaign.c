#include "tests/durability/campaign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void campaign_begin(const struct campaign_command *campaign, char folder[STORE_FOLDER_BYTES],
                    int argc, char **argv)
{
    const char *parent = P_tmpdir;
    char example[128];
    struct flags_row rows[CAMPAIGN_ROWS_MAX + 1];
    snprintf(example, sizeof example, "  build/release/tests/%s --folder /dev/shm\n",
             campaign->program);
    memcpy(rows, campaign->rows, campaign->rows_count * sizeof *rows);
    rows[campaign->rows_count] = (struct flags_row){
        .name = "folder",
        .type = FLAGS_TEXT,
        .target = &parent,
        .value = "DIR",
        .help = "make its folder in there [" P_tmpdir "]",
    };
    const struct flags_command command = {
        .program = campaign->program,
        .example = example,
        .summary = campaign->summary,
        .rows = rows,
        .rows_count = campaign->rows_count + 1,
    };
    int first_argument = 0;
    const int code = flags_parse(&command, argc, argv, &first_argument);
    if (code != FLAGS_GO_ON)
        exit(code);
    snprintf(folder, STORE_FOLDER_BYTES, "%s/longhaul-%s-XXXXXX", parent, campaign->program);
    if (!mkdtemp(folder)) {
        fprintf(stderr, "%s: make a folder in %s: %s\n", campaign->program, parent,
                strerror(errno));
        exit(70);
    }
}
