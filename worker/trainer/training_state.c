/* Owns the files of a checkpoint while they are written and read. Promises that a checkpoint in its
 * place was on disk whole before it came there, and that nothing is taken of one that is not. */
#include "worker/trainer/training_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/log.h"
#include "proto/model/mapping.h"
#include "worker/agreement.h"
#include "worker/trainer/state_folder.h"
#include "worker/trainer/state_header.h"

static const char *file_name(enum state_array array)
{
    return state_folder_files[array];
}

static const char header_name[] = "header";

/* ---- writing ---- */

static enum status write_at(int descriptor, const void *data, size_t bytes, off_t offset,
                            const char *path)
{
    const char *next = data;
    while (bytes > 0) {
        const ssize_t written = pwrite(descriptor, next, bytes, offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return fail(STATUS_IO, "write %s: %s", path, strerror(written < 0 ? errno : ENOSPC));
        next += written;
        bytes -= (size_t)written;
        offset += written;
    }
    return STATUS_OK;
}

/* Into a file that other ranks write too, and on disk. */
static enum status write_file(const char *path, const void *data, size_t bytes, off_t offset)
{
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    enum status status = write_at(descriptor, data, bytes, offset, path);
    if (status == STATUS_OK && fsync(descriptor) != 0)
        status = fail(STATUS_IO, "sync %s: %s", path, strerror(errno));
    if (close(descriptor) != 0 && status == STATUS_OK)
        status = fail(STATUS_IO, "close %s: %s", path, strerror(errno));
    return status;
}

static enum status write_slice(struct transport *transport, struct state_part *part,
                               const char *folder, const struct training_state *state)
{
    const struct optimiser_state *mine = &state->mine;
    const float *arrays[STATE_ARRAYS] = {
        [STATE_WEIGHTS] = state->weights + mine->first,
        [STATE_MOMENTS] = mine->moment,
        [STATE_VARIANCES] = mine->variance,
    };
    const size_t bytes = (mine->end - mine->first) * sizeof(float);
    char path[STATE_FOLDER_PATH_BYTES];
    *part = (struct state_part){.first = mine->first, .end = mine->end};
    for (int a = 0; a < STATE_ARRAYS; a++) {
        TRY(state_folder_part_path(path, folder, state->step, file_name((enum state_array)a)));
        TRY(write_file(path, arrays[a], bytes, (off_t)(mine->first * sizeof(float))));
        digest_bytes(part->digests[a], arrays[a], bytes);
        transport_mark(transport);
    }
    return STATUS_OK;
}

static enum status write_header(const char *folder, const struct training_state *state,
                                struct state_part *parts, uint32_t parts_count)
{
    struct state_header header = {
        .step = (uint64_t)state->step,
        .tokens = (uint64_t)state->tokens,
        .count = state->count,
        .parts_count = parts_count,
        .parts = parts,
    };
    const size_t bytes = state_header_bytes(parts_count);
    char path[STATE_FOLDER_PATH_BYTES];
    memcpy(header.run, state->run, sizeof header.run);
    TRY(state_folder_part_path(path, folder, state->step, header_name));
    void *memory = malloc(bytes);
    if (!memory)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a checkpoint's header");
    state_header_write(memory, &header);
    const enum status status = write_file(path, memory, bytes, 0);
    free(memory);
    return status;
}

static enum status finish(struct transport *transport, const char *folder,
                          const struct training_state *state, struct state_part *parts, int keep)
{
    if (transport->rank > 0)
        return STATUS_OK;
    TRY(write_header(folder, state, parts, (uint32_t)transport->size));
    return state_folder_finish(folder, state->step, keep);
}

enum status training_state_write(struct transport *transport, const char *folder,
                                 const struct training_state *state, int keep)
{
    struct state_part *parts = calloc((size_t)transport->size, sizeof *parts);
    enum status status;
    if (!parts)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a checkpoint of %d ranks",
                    transport->size);
    struct state_part *mine = &parts[transport->rank];
    status = transport->rank == 0 ? state_folder_begin(folder, state->step) : STATUS_OK;
    TRY_ELSE(agreement_reach(transport, status), end);
    TRY_ELSE(agreement_reach(transport, write_slice(transport, mine, folder, state)), end);
    TRY_ELSE(transport_gather_each(transport, mine, parts, sizeof *parts), end);
    status = agreement_reach(transport, finish(transport, folder, state, parts, keep));
end:
    free(parts);
    return status;
}

/* ---- reading ---- */

static enum status check_header(const struct state_header *header,
                                const struct training_state *state, const char *path)
{
    if (strcmp(header->run, state->run) == 0 && header->count == state->count)
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "%s is a checkpoint of another run: of another model, other data or other settings "
                "than steps, mesh, threads and checkpoints; name another output.folder, or remove "
                "it",
                path);
}

static enum status read_header(struct state_header *header, const char *folder, int64_t step,
                               const struct training_state *state)
{
    char path[STATE_FOLDER_PATH_BYTES];
    struct mapping mapping;
    TRY(state_folder_path(path, folder, step, header_name));
    TRY(mapping_open(&mapping, path));
    enum status status = state_header_read(header, path, mapping.data, mapping.bytes);
    mapping_close(&mapping);
    TRY(status);
    status = check_header(header, state, path);
    if (status != STATUS_OK)
        state_header_deinit(header);
    return status;
}

/* The ranks look at the parts in turn, so that each is looked at once. */
static enum status check_parts(const struct transport *transport, const struct state_header *header,
                               enum state_array array, const struct mapping *mapping,
                               const char *path)
{
    if (mapping->bytes != header->count * sizeof(float))
        return fail(STATUS_DATA_LOSS, "%s has %zu bytes; %llu parameters have %zu", path,
                    mapping->bytes, (unsigned long long)header->count,
                    (size_t)header->count * sizeof(float));
    for (uint32_t p = (uint32_t)transport->rank; p < header->parts_count;
         p += (uint32_t)transport->size) {
        const struct state_part *part = &header->parts[p];
        char digest[DIGEST_HEX_BYTES];
        digest_bytes(digest, mapping->data + part->first * sizeof(float),
                     (part->end - part->first) * sizeof(float));
        if (strcmp(digest, part->digests[array]) != 0)
            return fail(STATUS_DATA_LOSS, "%s: parameters %llu to %llu are not what was written",
                        path, (unsigned long long)part->first, (unsigned long long)part->end);
    }
    return STATUS_OK;
}

static enum status read_array(const struct transport *transport, const struct state_header *header,
                              enum state_array array, const char *folder,
                              struct training_state *state)
{
    const struct optimiser_state *mine = &state->mine;
    float *targets[STATE_ARRAYS] = {state->weights, mine->moment, mine->variance};
    const size_t first = array == STATE_WEIGHTS ? 0 : mine->first;
    const size_t end = array == STATE_WEIGHTS ? state->count : mine->end;
    char path[STATE_FOLDER_PATH_BYTES];
    struct mapping mapping;
    TRY(state_folder_path(path, folder, (int64_t)header->step, file_name(array)));
    TRY(mapping_open(&mapping, path));
    const enum status status = check_parts(transport, header, array, &mapping, path);
    if (status == STATUS_OK && end > first)
        memcpy(targets[array], mapping.data + first * sizeof(float), (end - first) * sizeof(float));
    mapping_close(&mapping);
    return status;
}

static enum status read_one(const struct transport *transport, const char *folder, int64_t step,
                            struct training_state *state)
{
    struct state_header header;
    enum status status = STATUS_OK;
    TRY(read_header(&header, folder, step, state));
    if (header.step != (uint64_t)step)
        status = fail(STATUS_DATA_LOSS, "%s: the checkpoint of step %lld says that it is step %llu",
                      folder, (long long)step, (unsigned long long)header.step);
    for (int a = 0; a < STATE_ARRAYS && status == STATUS_OK; a++)
        status = read_array(transport, &header, (enum state_array)a, folder, state);
    if (status == STATUS_OK) {
        state->step = step;
        state->tokens = (int64_t)header.tokens;
    }
    state_header_deinit(&header);
    return status;
}

/* What is there, as rank 0 sees it. */
struct found_steps {
    int64_t steps[STATE_FOLDER_STEPS_MOST];
    int32_t count;
};

enum status training_state_read(struct transport *transport, const char *folder,
                                struct training_state *state, bool *found)
{
    struct found_steps there = {{0}, 0};
    enum status status = STATUS_OK;
    int count = 0;
    if (transport->rank == 0)
        status = state_folder_list(there.steps, &count, folder);
    there.count = count;
    TRY(agreement_reach(transport, status));
    TRY(transport_broadcast(transport, &there, sizeof there));
    *found = false;
    for (int s = 0; s < there.count; s++) {
        status = read_one(transport, folder, there.steps[s], state);
        status = agreement_reach(transport, status);
        *found = status == STATUS_OK;
        if (*found || transport_aborted(transport) || status == STATUS_FAILED_PRECONDITION)
            return status;
        if (transport->rank == 0)
            log_line(LOG_WARN, "a checkpoint is passed over", log_integer("step", there.steps[s]),
                     log_text("cause", status_message()));
    }
    return there.count == 0
               ? STATUS_OK
               : fail(STATUS_DATA_LOSS,
                      "none of the %d checkpoints in %s is whole to all ranks, each of whose hosts "
                      "must see the folder: remove them to begin anew, or name another "
                      "output.folder",
                      (int)there.count, folder);
}
