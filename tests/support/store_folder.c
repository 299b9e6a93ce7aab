/* Owns folders of stores for tests. */
#include "tests/support/store_folder.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void store_folder_make(char folder[STORE_FOLDER_BYTES])
{
    snprintf(folder, STORE_FOLDER_BYTES, "%s/longhaul-store-XXXXXX", P_tmpdir);
    const char *made = mkdtemp(folder);
    assert(made);
}

static int remove_one(const char *path, const struct stat *found, int type, struct FTW *walk)
{
    (void)found;
    (void)type;
    (void)walk;
    return remove(path);
}

void store_folder_remove(const char *folder)
{
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void store_folder_copy(const char *from, const char *to)
{
    char command[2 * STORE_FOLDER_BYTES + 32];
    snprintf(command, sizeof command, "cp -a '%s' '%s'", from, to);
    const int code = system(command);
    assert(code == 0);
}

struct store *store_folder_open(const char *folder)
{
    const struct store_options options = {.folder = folder, .retry_ms = 50};
    struct store *store;
    const enum status status = store_open(&store, &options);
    if (status != STATUS_OK)
        fprintf(stderr, "open %s: %s\n", folder, status_message());
    assert(status == STATUS_OK);
    return store;
}

int store_fixture_set_up(void **state)
{
    struct store_fixture *fixture = calloc(1, sizeof *fixture);
    assert(fixture);
    store_folder_make(fixture->folder);
    fixture->store = store_folder_open(fixture->folder);
    *state = fixture;
    return 0;
}

int store_fixture_tear_down(void **state)
{
    struct store_fixture *fixture = *state;
    store_close(fixture->store);
    store_folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

int64_t store_folder_batch(struct store *store, const char *tenant, const char *id, int count)
{
    struct store_new_line *lines = calloc((size_t)count + 1, sizeof *lines);
    char(*ids)[16] = calloc((size_t)count + 1, sizeof *ids);
    char *input = calloc((size_t)count + 1, 32);
    assert(lines && ids && input);
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        const int bytes = snprintf(input + at, 32, "{\"n\": %d}\n", i + 1);
        snprintf(ids[i], sizeof ids[i], "c%d", i + 1);
        lines[i] = (struct store_new_line){
            .custom_id = ids[i],
            .offset = (int64_t)at,
            .bytes = bytes - 1,
            .digest = store_line_digest(input + at, (size_t)bytes - 1),
            .queued_tokens = 10,
        };
        at += (size_t)bytes;
    }
    const struct store_batch_args args = {
        .tenant = tenant,
        .id = id,
        .endpoint = "/v1/completions",
        .expires_after_seconds = 86400,
        .retention_seconds = 86400,
        .input = input,
        .input_bytes = at,
        .lines = lines,
        .lines_count = (size_t)count,
    };
    struct store_batch_answer answer;
    const enum status status = store_batch_create(store, &answer, &args);
    if (status != STATUS_OK)
        fprintf(stderr, "create: %s\n", status_message());
    assert(status == STATUS_OK);
    const int64_t number = answer.batch.number;
    store_batch_clear(&answer.batch);
    free(lines);
    free(ids);
    free(input);
    return number;
}

int64_t store_folder_lease(struct store *store, const char *tenant, int64_t batch, int64_t line)
{
    struct store_lease lease = {.batch = batch, .line = line};
    const enum status status = store_line_lease(store, tenant, &lease, 1, 0);
    assert(status == STATUS_OK);
    return lease.granted ? lease.epoch : 0;
}

enum status store_folder_commit(struct store *store, const char *tenant, int64_t batch,
                                int64_t line, int64_t epoch, const char *body)
{
    const struct store_result result = {
        .batch = batch,
        .line = line,
        .epoch = epoch,
        .state = STORE_LINE_COMPLETED,
        .status_code = 200,
        .body = body,
        .body_bytes = strlen(body),
        .usage = {.prompt_tokens = 10,
                  .cached_tokens = 4,
                  .prefilled_tokens = 6,
                  .completion_tokens = 3},
    };
    return store_line_commit(store, tenant, &result);
}
