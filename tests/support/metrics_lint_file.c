/* metrics-lint [--openmetrics] < TEXT: exit code 0 where metrics_lint.h takes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/metrics_lint.h"

int main(int argc, char **argv)
{
    char sentence[METRICS_LINT_BYTES];
    static char text[8 << 20];
    const size_t bytes = fread(text, 1, sizeof text - 1, stdin);
    text[bytes] = 0;
    if (metrics_lint(sentence, text, argc > 1 && strcmp(argv[1], "--openmetrics") == 0))
        return 0;
    fprintf(stderr, "metrics-lint: %s\n", sentence);
    return 1;
}
