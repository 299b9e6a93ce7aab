/* Owns the definitions of methods that tests judge by. */
#include "tests/support/plan_methods.h"

#include <assert.h>

enum { TRAINED_TOKENS = 8192 };

static bool rope(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                 bool *far)
{
    (void)method;
    *far = false;
    *distance = (double)(i - j);
    return true;
}

/* shift a, local b */
static bool string(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                   bool *far)
{
    *far = false;
    *distance = (double)(i - j < method->a ? i - j : i - j - method->a + method->b);
    return true;
}

/* window a, sinks b, ceiling c */
static bool lm_infinite(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                        bool *far)
{
    *far = i - j >= method->a;
    *distance = (double)(*far ? method->c : i - j);
    return !*far || j < method->b;
}

/* window a, sinks b: a sink stands at its place in a cache of a + b tokens, once that is full */
static bool streaming_llm(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                          bool *far)
{
    const bool sink = j<method->b, full = i> method->a + method->b;
    *far = sink && (full || i - j > method->a);
    *distance = (double)(sink && full ? method->a + method->b - j : i - j);
    return sink || i - j <= method->a;
}

/* window a */
static bool rerope(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                   bool *far)
{
    *far = false;
    *distance = (double)(i - j < method->a ? i - j : method->a);
    return true;
}

/* window a, factor */
static bool leaky_rerope(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                         bool *far)
{
    const double beyond = (double)(i - j - method->a);
    *far = false;
    *distance = beyond < 0 ? (double)(i - j) : (double)method->a + beyond / method->factor;
    return true;
}

/* window a, group b */
static bool self_extend(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                        bool *far)
{
    const int64_t group = method->b;
    *far = false;
    *distance =
        (double)(i - j < method->a ? i - j : i / group - j / group + method->a - method->a / group);
    return true;
}

/* chunk a, local b: by the chunks of a - b tokens that the two are in */
static bool dca(const struct plan_method *method, int64_t i, int64_t j, double *distance, bool *far)
{
    const int64_t s = method->a - method->b;
    const int64_t apart = i / s - j / s;
    int64_t query = i % s;
    if (apart == 1)
        query = i % s + s < method->a ? i % s + s : method->a;
    if (apart > 1)
        query = method->a;
    *far = false;
    *distance = (double)(query - j % s);
    return true;
}

/* near a, far b, mapped c, and the text's length as factor: as the published code goes about it,
 * index by index. */
static bool lampe(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                  bool *far)
{
    const int64_t near = method->a, mapped = method->c, length = (int64_t)method->factor;
    *far = false;
    *distance = (double)(i - j);
    if (length < 2 * near || length - 1 <= mapped || i - j < near)
        return true;
    int64_t last = method->b;
    while (last + 1 < length &&
           (last + 1) * mapped / (length - 1) == method->b * mapped / (length - 1))
        last++;
    const int64_t moved = near - near * mapped / (length - 1) - 1;
    const int64_t turn = length - 1 - last;
    if (method->b > 0 && i - j >= length - last)
        *distance = (double)(i - (turn - turn * mapped / (length - 1) - moved) - j);
    else
        *distance = (double)(i * mapped / (length - 1) + moved - j * mapped / (length - 1));
    return true;
}

/* A table of a user's own: window 9 of ordinary keys, 3 sinks. */
static bool mixed(const struct plan_method *method, int64_t i, int64_t j, double *distance,
                  bool *far)
{
    (void)method;
    const int64_t d = i - j;
    *far = false;
    if (j >= 3) {
        *distance = (double)(d < 4 ? d : d - 2);
        return d < 9;
    }
    *far = (d >= 2 && d < 5) || d >= 9;
    *distance = (double)(d < 2 ? d : d < 5 ? 6 : d < 12 ? 12 - j : 6);
    return true;
}

const struct plan_method plan_methods[] = {
    {"rope", rope, 0, 0, 0, false, 0},
    {"string:shift=1,local=0", string, 1, 0, 0, false, 0},
    {"string:shift=4,local=1", string, 4, 1, 0, false, 0},
    {"string:shift=7,local=7", string, 7, 7, 0, false, 0},
    {"lm_infinite:window=1,sinks=0,ceiling=1", lm_infinite, 1, 0, 1, true, 0},
    {"lm_infinite:window=1,sinks=1,ceiling=1", lm_infinite, 1, 1, 1, true, 0},
    {"lm_infinite:window=3,sinks=5,ceiling=2", lm_infinite, 3, 5, 2, true, 0},
    {"lm_infinite:window=4,sinks=2,ceiling=4", lm_infinite, 4, 2, 4, true, 0},
    {"lm_infinite:window=9,sinks=3,ceiling=12", lm_infinite, 9, 3, 12, true, 0},
    {"lm_infinite:window=20,sinks=4,ceiling=20", lm_infinite, 20, 4, 20, true, 0},
    {"lm_infinite:window=2,sinks=40,ceiling=6", lm_infinite, 2, 40, 6, true, 0},
    {"streaming_llm:window=4,sinks=2", streaming_llm, 4, 2, 0, true, 0},
    {"streaming_llm:window=1,sinks=5", streaming_llm, 1, 5, 0, true, 0},
    {"streaming_llm:window=7,sinks=0", streaming_llm, 7, 0, 0, true, 0},
    {"rerope:window=4", rerope, 4, 0, 0, false, 0},
    {"rerope:window=1", rerope, 1, 0, 0, false, 0},
    {"leaky_rerope:window=4,factor=2", leaky_rerope, 4, 0, 0, false, 2},
    {"leaky_rerope:window=3,factor=2.5", leaky_rerope, 3, 0, 0, false, 2.5},
    {"self_extend:window=4,group=2", self_extend, 4, 2, 0, false, 0},
    {"self_extend:window=5,group=3", self_extend, 5, 3, 0, false, 0},
    {"streaming_heads:heads=1,window=4,sinks=2", rope, 1, 4, 2, false, 0}, /* all heads together */
    {"dca:chunk=6,local=2", dca, 6, 2, 0, false, 0},
    {"dca:chunk=7,local=5", dca, 7, 5, 0, false, 0},
    {"dca:chunk=3,local=0", dca, 3, 0, 0, false, 0},
    {"lampe:near=4,far=3,mapped=5,length=20", lampe, 4, 3, 5, false, 20},
    {"lampe:near=3,far=0,mapped=7,length=12", lampe, 3, 0, 7, false, 12},
    {"table:sinks=3,keys=plain..4/shift:-2..9/hidden,"
     "sink_keys=plain..2/fixed:6..5/anchor:12..12/fixed:6",
     mixed, 0, 0, 0, true, 0},
};
const int plan_methods_count = sizeof plan_methods / sizeof plan_methods[0];

bool plan_methods_sees(const void *method, int64_t i, int64_t j, double *distance, bool *far)
{
    const struct plan_method *definition = method;
    return j <= i && definition->sees(definition, i, j, distance, far);
}

struct method plan_methods_parse(const char *spelling)
{
    struct method method;
    const enum status status = method_parse(&method, spelling, TRAINED_TOKENS);
    assert(status == STATUS_OK);
    return method;
}
