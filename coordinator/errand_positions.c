/* Owns nothing: positions that a client gives the tokens of its prompt. */
#include "coordinator/errand_parts.h"
#include "proto/plan/given_positions.h"

enum status errand_positions_alone(const struct errand_client *client, size_t count)
{
    if (count == 0)
        return STATUS_OK;
    client->details->field = "positions";
    return fail(STATUS_INVALID_ARGUMENT,
                "positions go with one prompt that shares no keys: not with a session, with "
                "several answers or with continuations");
}

enum status errand_positions_read(struct errand *errand, const int64_t *positions, size_t count)
{
    char spelling[METHOD_TEXT_BYTES];
    struct method method;
    struct status_details *details = errand->client->details;
    if (count == 0)
        return STATUS_OK;
    if (errand->part || errand->version)
        return errand_positions_alone(errand->client, count);
    TRY(planner_method(errand->tools->planner, spelling, details, errand->options));
    TRY(method_parse(&method, spelling, 0));
    details->field = "positions";
    TRY(given_positions_check(positions, count, (int64_t)errand->ids.count, &method));
    details->field = NULL;
    errand->positions = positions;
    errand->asked.no_prefix_reuse = true;
    return STATUS_OK;
}
