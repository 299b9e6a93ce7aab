/* What an output line says, as far as a run needs it to go on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/openai/batch_line.h"
#include "longhaul/v1/batches.pb-c.h"

struct result_line {
    char custom_id[BATCH_LINE_ID_BYTES]; /* "": none */
    int status_code;                     /* 0: there was no response */
    Longhaul__V1__BatchUsage usage;      /* all 0 but for an answer */
};

/* False for what is no output line. */
bool result_line_read(struct result_line *line, const char *text, size_t bytes);

/* Whether it stays when the run is repeated: an answer, or an error of the line's own. */
bool result_line_stays(const struct result_line *line);
