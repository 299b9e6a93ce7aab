/* Owns the groups. Promises that only answers to the same prompt are held against each other. */
#include "coordinator/cli/eval_compare.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct comparing {
    struct eval_compare *compare;
    const struct eval_rows *before;
    const struct eval_row **after; /* [after_count], in the order of `order` */
    size_t after_count;
    bool any_method;
};

/* Of rows, but for their method and prompt. A file's records may be called as a task is whose rows
 * are losses. */
static int by_sample(const struct eval_row *a, const struct eval_row *b)
{
    const int task = strcmp(a->task, b->task);
    if (task != 0)
        return task;
    if (a->is_loss != b->is_loss)
        return a->is_loss ? 1 : -1;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    return (a->sample > b->sample) - (a->sample < b->sample);
}

static int order(const void *left, const void *right)
{
    const struct eval_row *a = *(const struct eval_row *const *)left;
    const struct eval_row *b = *(const struct eval_row *const *)right;
    const int sample = by_sample(a, b);
    return sample ? sample : strcmp(a->method, b->method);
}

/* Whether one method is all that there is. */
static bool has_one_method(const struct eval_rows *rows)
{
    for (size_t i = 1; i < rows->count; i++)
        if (strcmp(rows->rows[i].method, rows->rows[0].method) != 0)
            return false;
    return rows->count > 0;
}

static const struct eval_row *partner_of(const struct comparing *comparing,
                                         const struct eval_row *row)
{
    size_t low = 0, high = comparing->after_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct eval_row *there = comparing->after[middle];
        int way = by_sample(there, row);
        if (way == 0 && !comparing->any_method)
            way = strcmp(there->method, row->method);
        if (way == 0)
            return there;
        if (way < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static struct eval_compare_group *
group_of(struct eval_compare *compare, const struct eval_row *before, const struct eval_row *after)
{
    for (size_t i = compare->count; i-- > 0;) {
        const struct eval_row *first = compare->groups[i].before;
        if (first->length == before->length && first->is_loss == before->is_loss &&
            strcmp(first->task, before->task) == 0 && strcmp(first->method, before->method) == 0)
            return &compare->groups[i];
    }
    compare->groups[compare->count] = (struct eval_compare_group){.before = before, .after = after};
    return &compare->groups[compare->count++];
}

static enum status take_pair(struct comparing *comparing, const struct eval_row *before,
                             const struct eval_row *after)
{
    if (strcmp(before->hex, after->hex) != 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s of %" PRId64 " tokens, sample %" PRId64
                    ": the two have other prompts, by another seed, text or tokenizer",
                    before->task, before->length, before->sample);
    struct eval_compare_group *group = group_of(comparing->compare, before, after);
    const double gain =
        before->is_loss ? before->score - after->score : after->score - before->score;
    group->pairs++;
    group->better += gain > 0;
    group->worse += gain < 0;
    group->before_sum += before->score;
    group->after_sum += after->score;
    return STATUS_OK;
}

static enum status pair_all(struct comparing *comparing)
{
    struct eval_compare *compare = comparing->compare;
    size_t paired = 0;
    for (size_t i = 0; i < comparing->before->count; i++) {
        const struct eval_row *before = &comparing->before->rows[i];
        const struct eval_row *after = partner_of(comparing, before);
        if (!after || before->failed || after->failed)
            continue;
        paired++;
        TRY(take_pair(comparing, before, after));
    }
    compare->unpaired = comparing->before->count + comparing->after_count - 2 * paired;
    for (size_t i = 0; i < compare->count; i++)
        compare->groups[i].chance =
            eval_interval_sign_test(compare->groups[i].better, compare->groups[i].worse);
    return paired > 0 ? STATUS_OK
                      : fail(STATUS_FAILED_PRECONDITION,
                             "the two have no sample in common: task, method, length, depth");
}

enum status eval_compare_make(struct eval_compare *compare, const struct eval_rows *before,
                              const struct eval_rows *after)
{
    struct comparing comparing = {.compare = compare,
                                  .before = before,
                                  .after_count = after->count,
                                  .any_method = has_one_method(before) && has_one_method(after)};
    *compare = (struct eval_compare){.groups = calloc(before->count + 1, sizeof *compare->groups)};
    comparing.after = calloc(after->count + 1, sizeof(const struct eval_row *));
    enum status status = STATUS_OK;
    if (!compare->groups || !comparing.after)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu results", before->count),
                 free_after);
    for (size_t i = 0; i < after->count; i++)
        comparing.after[i] = &after->rows[i];
    if (after->count > 0)
        qsort(comparing.after, after->count, sizeof *comparing.after, order);
    status = pair_all(&comparing);
free_after:
    free(comparing.after);
    return status;
}

void eval_compare_deinit(struct eval_compare *compare)
{
    free(compare->groups);
    *compare = (struct eval_compare){.count = 0};
}
