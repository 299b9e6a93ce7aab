/* Owns the numbers of all ranks. */
#include "worker/trainer/token_numbers.h"

#include <math.h>
#include <stdlib.h>

enum status token_numbers_create(struct token_numbers *table, const struct rank_work *work,
                                 int planes, int64_t tokens)
{
    const size_t count = (size_t)planes * (size_t)tokens;
    *table = (struct token_numbers){
        .planes = planes,
        .tokens = tokens,
        .mine = calloc(count, sizeof(float)),
        .all = calloc(count * (size_t)work->transport->size, sizeof(float)),
    };
    if (table->mine && table->all)
        return STATUS_OK;
    token_numbers_destroy(table);
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the numbers of %lld tokens",
                (long long)tokens);
}

void token_numbers_destroy(struct token_numbers *table)
{
    free(table->mine);
    free(table->all);
    *table = (struct token_numbers){0};
}

void token_numbers_clear(struct token_numbers *table)
{
    for (int64_t i = 0; i < table->planes * table->tokens; i++)
        table->mine[i] = NAN;
}

enum status token_numbers_exchange(struct token_numbers *table, const struct rank_work *work)
{
    const size_t bytes = (size_t)table->planes * (size_t)table->tokens * sizeof(float);
    return transport_gather_each(work->transport, table->mine, table->all, bytes);
}

bool token_numbers_get(const struct token_numbers *table, const struct rank_work *work, int data,
                       int plane, int64_t token, float *value)
{
    for (int rank = 0; rank < work->transport->size; rank++) {
        const float *numbers = table->all + (int64_t)rank * table->planes * table->tokens;
        const float said = numbers[plane * table->tokens + token];
        if (mesh_place(&work->mesh, rank).data != data || isnan(said))
            continue;
        *value = said;
        return true;
    }
    return false;
}
