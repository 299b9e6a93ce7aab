/* What a stage was made of, and what came out: a text in the stage's folder by which the next run
 * knows that it need not be repeated.
 *
 *   key = value                       settings that the stage depends on
 *   input DIGEST path                 files that it reads
 *   output DIGEST path                what it wrote; only once it is done
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proto/status.h"
#include "proto/train/train_stage.h"

struct stage_record {
    char path[TRAIN_STAGE_PATH_BYTES]; /* FOLDER/part/name.done */
    FILE *file;                        /* of `text` */
    char *text;
    size_t bytes;
};

/* Makes the folder FOLDER/part too. The caller writes settings to record->file. */
MUST_CHECK enum status stage_record_open(struct stage_record *record,
                                         const struct train_config *config, const char *part,
                                         const char *name);

/* Also of {0}. */
void stage_record_close(struct stage_record *record);

/* Reads all of the file or folder; nothing for "". */
MUST_CHECK enum status stage_record_input(struct stage_record *record, const char *path);

/* Whether the record that lies there says the same settings and inputs, and its outputs, which must
 * be these, are as it says. `outputs` ends in NULL; "" in it is passed over. */
MUST_CHECK enum status stage_record_is_done(struct stage_record *record, bool *done,
                                            const char *const *outputs);

/* Writes the record with the digests of the outputs. */
MUST_CHECK enum status stage_record_finish(struct stage_record *record, const char *const *outputs);
