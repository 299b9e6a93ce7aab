/* What a run tells of each step: a JSON line, or a line for people, and a line in the run's file of
 * losses. One rank reports.
 *
 *   {"step": 12, "loss": 2.31, "grad_norm": 0.93, "learning_rate": 0.0003, "tokens": 4096,
 *    "seconds": 1.25}
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/status.h"

struct step_facts {
    int64_t step;
    double loss; /* mean of the tokens that count */
    double grad_norm, learning_rate;
    int64_t tokens; /* of all samples of the step */
    double seconds;
};

struct step_report {
    FILE *losses;
    int64_t steps;          /* of the run */
    bool json;              /* on standard output */
    bool rewrites;          /* standard error is a terminal: its line is written anew */
    double tokens, seconds; /* since it began */
    int64_t begun_step;
};

/* FOLDER/losses.jsonl keeps the lines up to step `done`, and goes on behind them. */
MUST_CHECK enum status step_report_open(struct step_report *report, const char *folder,
                                        int64_t done, int64_t steps, bool json);
MUST_CHECK enum status step_report_write(struct step_report *report,
                                         const struct step_facts *facts);
/* Accepts {0}. */
void step_report_close(struct step_report *report);
