/* Whether a text is what Prometheus (0.0.4) or OpenMetrics (1.0.0) reads, and what promtool would
 * not complain of. It knows the formats' rules, and nothing of proto/metrics.c. */
#pragma once

#include <stdbool.h>

enum { METRICS_LINT_BYTES = 256 };

/* True, or false with a sentence: which line and which rule. */
bool metrics_lint(char sentence[METRICS_LINT_BYTES], const char *text, bool openmetrics);

/* The value of the sample that is written so, "name{label=\"value\"}"; NAN where there is none. */
double metrics_lint_value(const char *text, const char *sample);
