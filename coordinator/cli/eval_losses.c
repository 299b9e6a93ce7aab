/* Owns the file of losses while it grows. Promises that what it holds are whole lines in one
 * sequence, so that a repeated command goes on behind the last one. */
#include "coordinator/cli/eval_losses.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/batch/text_set.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/eval_counter.h"
#include "coordinator/cli/eval_files.h"
#include "coordinator/cli/method_option.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/cli/text_scores.h"
#include "coordinator/eval/eval_windows.h"
#include "proto/json_writer.h"

enum { BINS = 32, BIN_MOST = 256, CONTEXT_SPARE = 64 };

struct scoring {
    const struct eval_settings *settings;
    const struct server_option *server;
    const struct config *config;
    char path[PATH_MAX];
    char *text; /* owned */
    size_t bytes;
    struct eval_counter counter;
    struct connection connection;
    bool connected;
    FILE *file;
    int64_t done, next, all; /* lines: there, to come, in the end */
};

/* ---- what is there ---- */

/* Whole lines of an earlier command; a torn one is cut off. */
static enum status count_done(struct scoring *scoring)
{
    off_t end = 0;
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(scoring->path, "r+e");
    if (!file)
        return errno == ENOENT ? STATUS_OK
                               : fail(STATUS_IO, "open %s: %s", scoring->path, strerror(errno));
    for (ssize_t bytes; (bytes = getline(&line, &room, file)) > 0 && line[bytes - 1] == '\n';) {
        end += bytes;
        scoring->done++;
    }
    free(line);
    const bool wrong = ferror(file) || ftruncate(fileno(file), end) != 0;
    fclose(file);
    return wrong ? fail(STATUS_IO, "read %s: %s", scoring->path, strerror(errno)) : STATUS_OK;
}

/* ---- one window ---- */

struct window {
    const char *text; /* ends in 0 */
    int64_t length, number, tokens;
    const char *method;
};

/* A power of two: BINS of them to a length, and of BIN_MOST tokens at most. */
static int64_t bin_of(int64_t length)
{
    int64_t bin = 4;
    while (2 * bin * BINS <= length && 2 * bin <= BIN_MOST)
        bin *= 2;
    return bin;
}

static double mean_loss(const float *logprobs, size_t first, size_t end)
{
    double sum = 0;
    for (size_t i = first; i < end; i++)
        sum -= (double)logprobs[i];
    return sum / (double)(end - first);
}

static void write_loss(FILE *file, const struct window *window, const struct text_scores *scores,
                       int64_t stride)
{
    char hex[TEXT_SET_HEX_BYTES];
    struct json_writer writer = {.file = file};
    const size_t count = scores->logprobs_count, bin = (size_t)bin_of(window->length);
    const bool overlaps = stride > 0 && (size_t)stride < count && window->number > 0;
    const size_t tail = overlaps ? (size_t)stride : count;
    text_set_hex(hex, window->text, strlen(window->text));
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "task", "perplexity");
    json_writer_text(&writer, "method", window->method);
    json_writer_integer(&writer, "length", window->length);
    json_writer_integer(&writer, "window", window->number);
    json_writer_integer(&writer, "tokens", window->tokens);
    json_writer_text(&writer, "prompt_xxh3", hex);
    json_writer_real(&writer, "loss", mean_loss(scores->logprobs, 0, count));
    json_writer_real(&writer, "new_loss", mean_loss(scores->logprobs, count - tail, count));
    json_writer_integer(&writer, "new_tokens", (int64_t)tail);
    json_writer_integer(&writer, "bin", (int64_t)bin);
    json_writer_begin_array(&writer, "losses");
    for (size_t first = 0; first + bin <= count; first += bin)
        json_writer_real(&writer, NULL, mean_loss(scores->logprobs, first, first + bin));
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static enum status connect(struct scoring *scoring)
{
    const struct private_coordinator_args args = {
        .config = scoring->config,
        .context_tokens = number_list_most(&scoring->settings->lengths) + CONTEXT_SPARE};
    if (scoring->connected)
        return STATUS_OK;
    scoring->connected = true;
    return connection_open(&scoring->connection, scoring->server, &args);
}

static enum status ask(struct scoring *scoring, struct text_scores *scores,
                       const struct window *window)
{
    struct method_option method;
    method_option_set(&method, scoring->config);
    method.method.spelling = (char *)(size_t)window->method; /* only read */
    method.options.method = &method.method;
    console_progress("scoring: %" PRId64 " of %" PRId64 " windows are there", scoring->next,
                     scoring->all);
    TRY(text_scores_ask(scores, scoring->connection.client, window->text, &method, 0));
    if (scores->logprobs_count == 0 || (int64_t)scores->logprobs_count + 1 != window->tokens)
        return fail(STATUS_FAILED_PRECONDITION,
                    "a window of %" PRId64 " tokens by --model was read as %zu: the coordinator "
                    "serves another model",
                    window->tokens, scores->logprobs_count + 1);
    return STATUS_OK;
}

static enum status score_window(struct scoring *scoring, const struct window *window)
{
    struct text_scores scores = {.begun = false};
    if (scoring->next < scoring->done) {
        scoring->next++;
        return STATUS_OK;
    }
    TRY(connect(scoring));
    enum status status = ask(scoring, &scores, window);
    if (status == STATUS_OK) {
        write_loss(scoring->file, window, &scores, scoring->settings->stride);
        scoring->next++;
        if (fflush(scoring->file) != 0 || fdatasync(fileno(scoring->file)) != 0)
            status = fail(STATUS_IO, "write %s: %s", scoring->path, strerror(errno));
    }
    text_scores_deinit(&scores);
    return status;
}

/* ---- all of them ---- */

/* By each method; the window's text ends in 0 meanwhile. */
static enum status score_methods(struct scoring *scoring, struct window *window, char *end)
{
    const char kept = *end;
    enum status status = STATUS_OK;
    *end = 0;
    for (size_t m = 0; status == STATUS_OK && m < scoring->settings->methods.count; m++) {
        window->method = scoring->settings->methods.spellings[m];
        status = score_window(scoring, window);
    }
    *end = kept;
    return status;
}

/* Whether nothing of the text is left there for another window. */
static bool has_ended(const struct scoring *scoring, size_t at)
{
    return at + strspn(scoring->text + at, " \t\r\n") >= scoring->bytes;
}

static enum status score_length(struct scoring *scoring, int64_t length)
{
    const struct eval_windows_args args = {scoring->text, scoring->bytes, eval_counter_count,
                                           &scoring->counter};
    const int64_t stride = scoring->settings->stride ? scoring->settings->stride : length;
    size_t begin = 0;
    for (int64_t i = 0; i < scoring->settings->samples; i++) {
        struct window window = {.text = scoring->text + begin, .length = length, .number = i};
        size_t end = 0, next = 0;
        int64_t moved = 0;
        const bool last = i + 1 == scoring->settings->samples;
        TRY(eval_windows_end(&end, &window.tokens, &args, begin, length));
        if (!last)
            TRY(eval_windows_end(&next, &moved, &args, begin, stride));
        if (!last && (has_ended(scoring, end) || has_ended(scoring, next)))
            return fail(STATUS_OUT_OF_RANGE,
                        "--text %s has no %" PRId64 " windows of %" PRId64 " tokens: %" PRId64
                        " at most; give fewer --samples",
                        scoring->settings->text_path, scoring->settings->samples, length, i + 1);
        TRY(score_methods(scoring, &window, scoring->text + end));
        begin = next;
    }
    return STATUS_OK;
}

static enum status score_all(struct scoring *scoring)
{
    const struct eval_settings *settings = scoring->settings;
    size_t bytes = 0;
    TRY(text_file_read(&scoring->text, &bytes, settings->text_path));
    scoring->bytes = bytes;
    TRY(eval_counter_open(&scoring->counter, config_text(scoring->config, "model.path"), false,
                          ""));
    scoring->file = fopen(scoring->path, "ae");
    if (!scoring->file)
        return fail(STATUS_IO, "write %s: %s", scoring->path, strerror(errno));
    for (size_t l = 0; l < settings->lengths.count; l++)
        TRY(score_length(scoring, settings->lengths.values[l]));
    return STATUS_OK;
}

enum status eval_losses_make(const struct eval_settings *settings, const char *folder,
                             const struct server_option *server, const struct config *config)
{
    struct scoring scoring = {.settings = settings,
                              .server = server,
                              .config = config,
                              .all = settings->samples *
                                     (int64_t)(settings->lengths.count * settings->methods.count)};
    TRY(eval_files_path(scoring.path, folder, EVAL_LOSSES_FILE));
    TRY(count_done(&scoring));
    if (scoring.done >= scoring.all)
        return STATUS_OK;
    enum status status = score_all(&scoring);
    if (scoring.connected)
        status = connection_end(&scoring.connection, status);
    console_clear();
    if (scoring.file && fclose(scoring.file) != 0 && status == STATUS_OK)
        status = fail(STATUS_IO, "write %s: %s", scoring.path, strerror(errno));
    eval_counter_close(&scoring.counter);
    free(scoring.text);
    return status;
}
