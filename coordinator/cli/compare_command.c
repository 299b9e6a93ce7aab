/* longhaul compare: two files of results, row by row, by more than their noise. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/noise_band.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/result_rows.h"
#include "proto/flags.h"
#include "proto/json_writer.h"
#include "proto/printable.h"

static const char program[] = "longhaul compare";

enum {
    EXIT_REGRESSION = 1,
    EXIT_NO_VERDICT = 2,
    MEMBERS_MOST = 6,
    FIGURES_MOST = 4,
    NAME_BYTES = 320
};

struct figure {
    const char *key;
    bool more_is_better;
};

/* By which members rows are the same one, and what is compared; both lists end in NULL. */
struct kind {
    const char *program;
    const char *members[MEMBERS_MOST];
    struct figure figures[FIGURES_MOST + 1];
};

static const struct kind kinds[] = {
    {"longhaul scale",
     {"mode", "method", "nodes", "workers", "prompt_tokens"},
     {{"seconds_samples", false}, {"efficiency_samples", true}}},
    {"longhaul bench",
     {"test", "method", "workers", "n_prompt", "n_gen"},
     {{"tokens_per_second", true},
      {"prefill_tokens_per_second", true},
      {"decode_tokens_per_second", true},
      {"first_token_seconds", false}}},
};

struct comparison {
    struct result_rows before, after;
    const struct kind *kind;
    bool json;
    int width; /* of the longest row's name */
    int worse, better, same, unknown;
};

/* ---- whether they can be compared ---- */

static const struct kind *find_kind(const struct result_rows *results)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(result_rows_fact(results, "program", NULL), kinds[i].program) == 0)
            return &kinds[i];
    return NULL;
}

/* "rope strong workers=2": what a row is of. */
static void name_row(char name[NAME_BYTES], const json_t *row, const struct kind *kind)
{
    size_t used = 0;
    name[0] = '\0';
    for (size_t i = 0; kind->members[i] && used < NAME_BYTES; i++) {
        const json_t *value = json_object_get(row, kind->members[i]);
        const char *space = used ? " " : "";
        int bytes = 0;
        if (json_is_string(value))
            bytes =
                snprintf(name + used, NAME_BYTES - used, "%s%s", space, json_string_value(value));
        else if (json_integer_value(value) != 0)
            bytes = snprintf(name + used, NAME_BYTES - used, "%s%s=%" PRId64, space,
                             kind->members[i], (int64_t)json_integer_value(value));
        used += (size_t)bytes;
    }
    printable_mask_line(name, strlen(name));
}

/* Whether both rows have samples of one of the figures. */
static bool has_figure(const struct kind *kind, const json_t *row, const json_t *other)
{
    struct samples_summary summary;
    for (const struct figure *figure = kind->figures; figure->key; figure++)
        if (result_rows_samples(row, figure->key, &summary) &&
            result_rows_samples(other, figure->key, &summary))
            return true;
    return false;
}

/* Each row of one is in the other, with something to compare. */
static enum status check_rows(const struct result_rows *one, const struct result_rows *other,
                              const struct kind *kind)
{
    for (size_t i = 0; i < json_array_size(one->rows); i++) {
        const json_t *row = json_array_get(one->rows, i);
        const json_t *found = result_rows_find(other, row, kind->members);
        char name[NAME_BYTES];
        if (found && has_figure(kind, row, found))
            continue;
        name_row(name, row, kind);
        if (found)
            return fail(STATUS_FAILED_PRECONDITION,
                        "row \"%s\" of %s and %s has no samples to compare", name, one->path,
                        other->path);
        return fail(STATUS_FAILED_PRECONDITION, "%s has no row \"%s\", which is in %s", other->path,
                    name, one->path);
    }
    return STATUS_OK;
}

static enum status check_match(struct comparison *comparison)
{
    const struct result_rows *before = &comparison->before, *after = &comparison->after;
    comparison->kind = find_kind(before);
    if (!comparison->kind || find_kind(after) != comparison->kind)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s is of \"%s\" and %s of \"%s\": two of longhaul scale or two of longhaul "
                    "bench can be compared",
                    before->path, result_rows_fact(before, "program", NULL), after->path,
                    result_rows_fact(after, "program", NULL));
    if (strcmp(result_rows_fact(before, "model", "xxh3_128"),
               result_rows_fact(after, "model", "xxh3_128")) != 0)
        return fail(STATUS_FAILED_PRECONDITION, "%s and %s are of different models: %s and %s",
                    before->path, after->path, result_rows_fact(before, "model", "file"),
                    result_rows_fact(after, "model", "file"));
    if (strcmp(result_rows_fact(before, "kernels", NULL),
               result_rows_fact(after, "kernels", NULL)) != 0)
        return fail(STATUS_FAILED_PRECONDITION, "%s was measured with kernels %s and %s with %s",
                    before->path, result_rows_fact(before, "kernels", NULL), after->path,
                    result_rows_fact(after, "kernels", NULL));
    TRY(check_rows(before, after, comparison->kind));
    return check_rows(after, before, comparison->kind);
}

/* ---- comparing ---- */

static const char *const verdicts[] = {
    [NOISE_SAME] = "same",
    [NOISE_BETTER] = "better",
    [NOISE_WORSE] = "worse",
    [NOISE_UNKNOWN] = "unknown",
};

static void print_json(const json_t *row, const struct kind *kind, const struct figure *figure,
                       const struct noise_band *found)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    for (size_t i = 0; kind->members[i]; i++) {
        const json_t *value = json_object_get(row, kind->members[i]);
        if (json_is_string(value))
            json_writer_text(&writer, kind->members[i], json_string_value(value));
        else
            json_writer_integer(&writer, kind->members[i], json_integer_value(value));
    }
    json_writer_text(&writer, "figure", figure->key);
    json_writer_real(&writer, "change", found->change);
    json_writer_real(&writer, "band", found->band);
    json_writer_text(&writer, "verdict", verdicts[found->verdict]);
    json_writer_end_object(&writer);
    putchar('\n');
}

static void print_line(int width, const char *name, const char *key,
                       const struct samples_summary *before, const struct samples_summary *after,
                       const struct noise_band *found)
{
    static const enum console_colour colours[] = {CONSOLE_PLAIN, CONSOLE_GREEN, CONSOLE_RED,
                                                  CONSOLE_DIM};
    char band[16] = "?";
    if (isfinite(found->band))
        snprintf(band, sizeof band, "%.1f%%", 100 * found->band);
    printf("%-*s %-26s %12.5g %10.3g %12.5g %10.3g %+7.1f%% %8s  %s%s%s\n", width, name, key,
           before->mean, before->deviation, after->mean, after->deviation, 100 * found->change,
           band, console_paint(colours[found->verdict]), verdicts[found->verdict],
           console_paint(CONSOLE_PLAIN));
}

static void compare_row(struct comparison *comparison, const json_t *row)
{
    const struct kind *kind = comparison->kind;
    const json_t *other = result_rows_find(&comparison->after, row, kind->members);
    char name[NAME_BYTES];
    int *const counts[] = {&comparison->same, &comparison->better, &comparison->worse,
                           &comparison->unknown};
    name_row(name, row, kind);
    for (const struct figure *figure = kind->figures; figure->key; figure++) {
        struct samples_summary before, after;
        if (!result_rows_samples(row, figure->key, &before) ||
            !result_rows_samples(other, figure->key, &after))
            continue;
        const struct noise_band found = noise_band_of(&before, &after, figure->more_is_better);
        ++*counts[found.verdict];
        if (comparison->json)
            print_json(row, kind, figure, &found);
        else
            print_line(comparison->width, name, figure->key, &before, &after, &found);
    }
}

static void print_head(struct comparison *comparison)
{
    const struct result_rows *both[] = {&comparison->before, &comparison->after};
    for (int i = 0; i < 2; i++)
        printf("%s: %s, commit %.12s, %s, %s\n", both[i]->path,
               result_rows_fact(both[i], "date", NULL), result_rows_fact(both[i], "commit", NULL),
               result_rows_fact(both[i], "host", "cpu"),
               result_rows_fact(both[i], "kernels", NULL));
    comparison->width = (int)strlen("row");
    for (size_t i = 0; i < json_array_size(comparison->before.rows); i++) {
        char name[NAME_BYTES];
        name_row(name, json_array_get(comparison->before.rows, i), comparison->kind);
        const int width = (int)strlen(name);
        comparison->width = width > comparison->width ? width : comparison->width;
    }
    printf("\n%-*s %-26s %12s %10s %12s %10s %8s %8s\n", comparison->width, "row", "figure",
           "before", "+-", "after", "+-", "change", "band");
}

static int compare(struct comparison *comparison)
{
    const json_t *rows = comparison->before.rows;
    if (!comparison->json)
        print_head(comparison);
    for (size_t i = 0; i < json_array_size(rows); i++)
        compare_row(comparison, json_array_get(rows, i));
    if (!comparison->json)
        printf("\n%d worse, %d better, %d within the noise%s\n", comparison->worse,
               comparison->better, comparison->same,
               comparison->unknown ? "; of one sample nothing follows: measure with -r 3 or more"
                                   : "");
    if (comparison->worse + comparison->better + comparison->same > 0)
        return comparison->worse > 0 ? EXIT_REGRESSION : 0;
    console_failure(program, fail(STATUS_FAILED_PRECONDITION,
                                  "nothing could be judged: each figure has one sample in a file, "
                                  "measure with -r 3 or more"));
    return EXIT_NO_VERDICT;
}

static int compare_files(struct comparison *comparison, const char *before, const char *after)
{
    enum status status = result_rows_open(&comparison->before, before);
    if (status == STATUS_OK)
        status = result_rows_open(&comparison->after, after);
    int exit_code = 0;
    if (status != STATUS_OK)
        exit_code = console_failure(program, status);
    else if (check_match(comparison) != STATUS_OK) {
        console_failure(program, STATUS_FAILED_PRECONDITION);
        exit_code = EXIT_NO_VERDICT;
    } else
        exit_code = compare(comparison);
    result_rows_close(&comparison->before);
    result_rows_close(&comparison->after);
    return exit_code;
}

int compare_command(int argc, char **argv)
{
    struct comparison comparison = {.json = false};
    int first = 0;
    const struct flags_row rows[] = {
        {.name = "json",
         .type = FLAGS_SWITCH,
         .target = &comparison.json,
         .help = "JSON lines: one for each figure of each row"},
    };
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul compare before/scale.jsonl after/scale.jsonl\n",
        .summary =
            "Compares two files of results of `longhaul scale` or `longhaul bench`, row by row.\n"
            "The band is how far means of such samples differ by chance in 99 of 100 cases\n"
            "(Welch's t-test). Exit codes: 0 nothing is worse by more than that, 1 something is,\n"
            "2 the files are not of the same rows, model or kernels, or no figure has two "
            "samples.\n",
        .arguments = "BEFORE AFTER",
        .arguments_least = 2,
        .arguments_most = 2,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    const int exit_code = flags_parse(&command, argc, argv, &first);
    return exit_code == FLAGS_GO_ON ? compare_files(&comparison, argv[first], argv[first + 1])
                                    : exit_code;
}
