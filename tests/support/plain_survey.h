/* A survey of logits as its contract says it (kernels/logits_survey.h), and no faster. */
#pragma once

#include <stdint.h>

#include "kernels/logits_survey.h"

void plain_survey(struct logits_survey *survey, const float *logits, int64_t vocab,
                  double temperature);
