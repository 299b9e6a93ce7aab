/* Owns nothing. Promises windows that were counted as they are. */
#include "coordinator/eval/eval_windows.h"

#include <inttypes.h>
#include <stdbool.h>

enum { BYTES_A_TOKEN = 4 }; /* a first guess */

struct place {
    size_t end;
    int64_t tokens;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The last end of a word in (low, near], else the first one in (near, high); `high` where there is
 * none. */
static size_t end_of_word(const struct eval_windows_args *args, size_t low, size_t near,
                          size_t high)
{
    for (size_t at = near; at > low; at--)
        if (is_space(args->text[at]) && !is_space(args->text[at - 1]))
            return at;
    for (size_t at = near + 1; at < high; at++)
        if (is_space(args->text[at]) && !is_space(args->text[at - 1]))
            return at;
    return high;
}

/* Where a straight line between both reaches the budget; in the middle where `middle`. */
static size_t guess(const struct place *fits, const struct place *over, int64_t tokens, bool middle)
{
    const size_t room = over->end - fits->end;
    size_t step = room / 2;
    if (!middle)
        step = (size_t)((double)room * (double)(tokens - fits->tokens) /
                        (double)(over->tokens - fits->tokens));
    return fits->end + (step < 1 ? 1 : step > room - 1 ? room - 1 : step);
}

/* Something that is over the budget, or the text's end. */
static enum status find_over(struct place *fits, struct place *over,
                             const struct eval_windows_args *args, size_t begin, int64_t tokens)
{
    size_t length = (size_t)tokens * BYTES_A_TOKEN;
    for (;; length *= 2) {
        over->end = length < args->bytes - begin
                        ? end_of_word(args, begin, begin + length, args->bytes)
                        : args->bytes;
        TRY(args->count(args->context, &over->tokens, args->text + begin, over->end - begin));
        if (over->tokens > tokens)
            return STATUS_OK;
        *fits = *over;
        if (over->end == args->bytes)
            return STATUS_OK;
    }
}

enum status eval_windows_end(size_t *end, int64_t *counted, const struct eval_windows_args *args,
                             size_t begin, int64_t tokens)
{
    struct place fits = {begin, 0}, over, next;
    bool middle = false;
    if (begin >= args->bytes)
        return fail(STATUS_OUT_OF_RANGE, "the text has ended");
    TRY(find_over(&fits, &over, args, begin, tokens));
    while (over.tokens > tokens && over.end - fits.end > 1) {
        next.end = end_of_word(args, fits.end, guess(&fits, &over, tokens, middle), over.end);
        if (next.end >= over.end)
            break;
        TRY(args->count(args->context, &next.tokens, args->text + begin, next.end - begin));
        if (next.tokens <= tokens)
            fits = next;
        else
            over = next;
        middle = !middle;
    }
    if (fits.end == begin)
        return fail(STATUS_OUT_OF_RANGE,
                    "a word of the text, at byte %zu, has more than %" PRId64 " tokens", begin,
                    tokens);
    *end = fits.end;
    *counted = fits.tokens;
    return STATUS_OK;
}
