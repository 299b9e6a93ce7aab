/* Owns the checked lines of one input. */
#include "coordinator/batch/whole_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/line_splitter.h"

enum { ROOM_FIRST = 8, RETRY_MS = 2000 };

/* What the splitter's lines are checked with. */
struct taking {
    struct whole_input *input;
    struct line_request_tools tools;
    const struct batch_context *context;
    const char *batch_id;
};

static enum status make_room(struct whole_input *input)
{
    if (input->count < input->room)
        return STATUS_OK;
    const size_t room = input->room ? 2 * input->room : ROOM_FIRST;
    struct checked_line *wider = realloc(input->checked, room * sizeof *wider);
    if (!wider)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu lines", room);
    input->checked = wider;
    input->room = room;
    return STATUS_OK;
}

/* A line may name a long document, which is read and cut into tokens with it. */
static enum status check_wanted(const struct batch_context *context)
{
    if (rpc_call_cancelled(context->call))
        return fail(STATUS_CANCELLED, "the client left while its lines were read");
    if (!atomic_load(&context->tools->errand->draining))
        return STATUS_OK;
    context->details->reason = "DRAINING";
    context->details->retry_ms = RETRY_MS;
    return fail(STATUS_UNAVAILABLE,
                "the coordinator is draining; create the batch again once another one is there");
}

static enum status take(void *context, const struct split_line *line)
{
    struct taking *taking = context;
    struct whole_input *input = taking->input;
    struct line_request request;
    TRY(check_wanted(taking->context));
    TRY(make_room(input));
    const struct line_check_place place = {
        taking->context->tenant, taking->batch_id, line->number, line->offset,
        line->stream_bytes,      input->endpoint};
    struct checked_line *checked = &input->checked[input->count++];
    enum status status =
        line_check(checked, &request, &taking->tools, &place, line->text, line->bytes);
    line_request_deinit(&request);
    return status;
}

/* The lines point into their checks, which stay where they are from now on. */
static enum status collect(struct whole_input *input)
{
    input->lines = calloc(input->count + 1, sizeof *input->lines);
    if (!input->lines)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu lines", input->count);
    for (size_t i = 0; i < input->count; i++) {
        line_check_settle(&input->checked[i]);
        input->lines[i] = input->checked[i].line;
    }
    return STATUS_OK;
}

enum status whole_input_init(struct whole_input *input, const struct batch_context *context,
                             const char *batch_id, const char *endpoint, const void *bytes,
                             size_t size)
{
    struct line_splitter splitter;
    const struct batch_tools *tools = context->tools;
    struct taking taking = {input, {tools->store, &tools->errand->forms}, context, batch_id};
    *input = (struct whole_input){.count = 0};
    snprintf(input->endpoint, sizeof input->endpoint, "%s", endpoint);
    line_splitter_init(&splitter, OPENAI_BODY_BYTES_MAX, 0, 0);
    enum status status = line_splitter_feed(&splitter, bytes, size, take, &taking);
    if (status == STATUS_OK)
        status = line_splitter_end(&splitter, take, &taking);
    if (status == STATUS_OK)
        status = collect(input);
    line_splitter_deinit(&splitter);
    return status;
}

void whole_input_deinit(struct whole_input *input)
{
    for (size_t i = 0; i < input->count; i++)
        line_check_deinit(&input->checked[i]);
    free(input->checked);
    free(input->lines);
    *input = (struct whole_input){.count = 0};
}
