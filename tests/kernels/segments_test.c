/* The walk of the CUDA attention kernels, replayed on the host with the kernels' own functions and
 * held against the definition of visibility pair by pair (plan_cases.h), which shares no code with
 * it: every visible pair is met exactly once and through its own query frame, no visit is wasted,
 * and every visit that could go without a mask does; and so it is where two panels are taken at a
 * time. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/attention_blocks.h"
#include "tests/support/plan_cases.h"
#include "tests/support/unit.h"

enum { KEYS_MAX = 1024, QUERIES_MAX = 512 };

/* One call: bands, spans of queries, extents of keys. */
struct walk_case {
    struct bands bands;
    struct regimes regimes;
    struct attention_span spans[2];
    int span_count;
    struct attention_extent extents[ATTENTION_EXTENTS_MAX];
    int extent_count;
    int tile_tokens;
    bool by_blocks;
    uint8_t met[QUERIES_MAX][KEYS_MAX];   /* times, in this case */
    int8_t frames[QUERIES_MAX][KEYS_MAX]; /* the query frame it was met through */
    int visits, masked;
};

static const char *visit_faults(struct walk_case *c, const struct attention_visits *visits,
                                const struct attention_visit *visit, int64_t row)
{
    const struct attention_extent *extent = &c->extents[visit->extent];
    int seen = 0;
    int64_t key = extent->first + visit->panel * PANEL_TOKENS;
    if (visit->keys < 1 || visit->keys > PANEL_TOKENS || key + visit->keys > extent->end)
        return "a visit reads keys that are not there";
    for (int r = 0; r < visits->tokens; r++) {
        for (int k = 0; k < PANEL_TOKENS; k++) {
            if (!attention_visit_sees(visit, r, k))
                continue;
            if (key + k >= extent->end)
                return "a pair beyond the extent's end";
            c->met[row + r][key + k]++;
            c->frames[row + r][key + k] = (int8_t)visit->query_frame;
            seen++;
        }
    }
    c->visits++;
    c->masked += visit->masked;
    if (seen == 0)
        return "a visit that meets nothing";
    if ((seen == visits->tokens * PANEL_TOKENS) != !visit->masked)
        return "a mask where none is needed";
    return NULL;
}

static const char *tile_by_visits(struct walk_case *c, int span, int64_t row, int64_t index,
                                  int64_t tokens)
{
    struct attention_visits visits;
    struct attention_visit visit;
    attention_visits_begin(&visits, index, tokens);
    for (;;) {
        attention_visits_advance(&visits, &visit, &c->regimes, c->extents, c->extent_count, span);
        if (visit.keys == 0)
            return NULL;
        const char *fault = visit_faults(c, &visits, &visit, row);
        if (fault)
            return fault;
    }
}

static bool sees_nothing(const struct attention_visit *visit, int64_t tokens)
{
    for (int r = 0; r < tokens; r++)
        for (int k = 0; k < PANEL_TOKENS; k++)
            if (attention_visit_sees(visit, r, k))
                return false;
    return true;
}

/* What the flags of a block say of it. `frame`: of the block before, and then of this one. */
static const char *block_faults(const struct attention_block *block, int flags, int *frame)
{
    const struct attention_visit *half = block->half;
    if (half[0].extent != half[1].extent || half[0].query_frame != half[1].query_frame ||
        half[0].key_frame != half[1].key_frame)
        return "halves of two segments";
    const bool is_short = half[0].keys < PANEL_TOKENS || half[1].keys < PANEL_TOKENS;
    const int want = (half[0].query_frame != *frame ? ATTENTION_BLOCK_SWITCHES : 0) |
                     (is_short ? ATTENTION_BLOCK_SHORT : 0) |
                     (half[0].masked ? ATTENTION_BLOCK_MASKED : 0) |
                     (half[1].masked ? 2 * ATTENTION_BLOCK_MASKED : 0) | ATTENTION_BLOCK_SEEN;
    *frame = half[0].query_frame;
    return (flags & ~ATTENTION_BLOCK_LAST) == want ? NULL : "flags that lie";
}

static const char *tile_by_blocks(struct walk_case *c, int span, int64_t row, int64_t index,
                                  int64_t tokens)
{
    struct attention_blocks blocks;
    struct attention_block block;
    int frame = -1, flags = 0, count = 0;
    attention_blocks_begin(&blocks, index, tokens);
    for (; !(flags & ATTENTION_BLOCK_LAST); count++) {
        flags =
            attention_blocks_next(&blocks, &block, &c->regimes, c->extents, c->extent_count, span);
        if (!(flags & ATTENTION_BLOCK_SEEN))
            return count == 0 && flags == ATTENTION_BLOCK_LAST ? NULL : "an empty block";
        const char *fault = block_faults(&block, flags, &frame);
        for (int h = 0; h < 2 && !fault; h++) {
            const struct attention_visit *half = &block.half[h];
            const int64_t panel = c->extents[half->extent].first / PANEL_TOKENS + half->panel;
            if (panel % 2 == h)
                fault = visit_faults(c, &blocks.walk, half, row);
            else if (half->panel != block.half[!h].panel || !sees_nothing(half, tokens))
                fault = "a half that stands in the place of the other, and sees";
        }
        if (fault)
            return fault;
    }
    return NULL;
}

/* All tiles of all spans, as the kernel goes through them. */
static const char *walk(struct walk_case *c)
{
    int64_t tiles = 0;
    for (int s = 0; s < c->span_count; s++)
        tiles += attention_span_tiles(&c->spans[s], c->tile_tokens);
    for (int64_t t = 0; t < tiles; t++) {
        int64_t tile = t;
        int s = attention_span_of_tile(&tile, c->spans, c->span_count, c->tile_tokens);
        const struct attention_span *span = &c->spans[s];
        int64_t first = tile * c->tile_tokens;
        int64_t left = span->tokens - first;
        const int64_t tokens = left < c->tile_tokens ? left : c->tile_tokens;
        const char *fault = (c->by_blocks ? tile_by_blocks : tile_by_visits)(
            c, s, span->row + first, span->index + first, tokens);
        if (fault)
            return fault;
    }
    return NULL;
}

static int query_frame_of(const struct bands *bands, int64_t i, int64_t j)
{
    const struct band *band = bands_find(bands, i, j);
    return band ? band->query_frame : -1;
}

static bool span_sees_extent(const struct walk_case *c, int span, int store, int64_t j)
{
    for (int r = 0; r < c->extent_count; r++)
        if (c->extents[r].store == store && span >= c->extents[r].span_first &&
            span < c->extents[r].span_end && j >= c->extents[r].first && j < c->extents[r].end)
            return true;
    return false;
}

static const char *compare(const struct walk_case *c, int64_t *i, int64_t *j)
{
    for (int s = 0; s < c->span_count; s++) {
        for (int64_t t = 0; t < c->spans[s].tokens; t++) {
            *i = c->spans[s].index + t;
            int64_t row = c->spans[s].row + t;
            for (*j = 0; *j < KEYS_MAX; ++*j) {
                double distance;
                int key_frame = 0;
                bool sees = cases_sees(&c->bands, *i, *j, &distance, &key_frame) &&
                            span_sees_extent(c, s, key_frame >= c->bands.panel_frames, *j);
                if (c->met[row][*j] != (sees ? 1 : 0))
                    return sees ? "a pair is not met once" : "a pair is met that is not visible";
                if (sees && c->frames[row][*j] != query_frame_of(&c->bands, *i, *j))
                    return "a pair is met through another query frame";
            }
        }
    }
    return NULL;
}

/* Extents that lie apart, with far sinks among them, some of them for one span only. */
static void random_extents(struct walk_case *c, struct cases_random *random)
{
    int64_t panel = cases_between(random, 0, 2);
    c->extent_count = 0;
    if (c->bands.sinks > 0)
        c->extents[c->extent_count++] = (struct attention_extent){
            .end = c->bands.sinks, .store = BANDS_SINKS, .span_end = c->span_count};
    while (c->extent_count < 6 && panel < KEYS_MAX / PANEL_TOKENS) {
        struct attention_extent *extent = &c->extents[c->extent_count++];
        *extent =
            (struct attention_extent){.first = panel * PANEL_TOKENS, .span_end = c->span_count};
        panel += cases_between(random, 1, 5);
        if (panel > KEYS_MAX / PANEL_TOKENS)
            panel = KEYS_MAX / PANEL_TOKENS;
        extent->end = panel * PANEL_TOKENS;
        if (cases_between(random, 0, 2) == 0)
            extent->end -= cases_between(random, 0, PANEL_TOKENS - 1);
        if (cases_between(random, 0, 3) == 0)
            extent->span_first = extent->span_end - 1;
        else if (cases_between(random, 0, 3) == 0)
            extent->span_end = 1;
        panel += cases_between(random, 0, 2);
    }
}

static void random_case(struct walk_case *c, struct cases_random *random)
{
    static const int tiles[] = {192, 128, 64, 16, 4, 1};
    memset(c, 0, sizeof *c);
    cases_wide_bands(&c->bands, random, KEYS_MAX);
    if (c->bands.sinks > KEYS_MAX)
        c->bands.sinks = KEYS_MAX;
    regimes_make(&c->regimes, &c->bands);
    c->tile_tokens = tiles[cases_between(random, 0, 5)];
    c->span_count = (int)cases_between(random, 1, 2);
    int64_t row = 0, index = 0;
    for (int s = 0; s < c->span_count; s++) {
        index += cases_between(random, 0, 400);
        c->spans[s] = (struct attention_span){row, index, cases_between(random, 1, 220)};
        row += c->spans[s].tokens;
        index += c->spans[s].tokens;
    }
    random_extents(c, random);
}

static void meets_every_visible_pair_exactly_once(void **unused)
{
    (void)unused;
    enum { CASES = 800, SEED = 20261123 };
    struct walk_case *c = malloc(sizeof *c);
    assert_non_null(c);
    struct cases_random random;
    cases_seed(&random, SEED);
    int64_t visits = 0, masked = 0;
    for (int n = 0; n < CASES; n++) {
        random_case(c, &random);
        c->by_blocks = n % 2;
        int64_t i = -1, j = -1;
        const char *fault = walk(c);
        if (!fault)
            fault = compare(c, &i, &j);
        if (fault)
            fail_msg("seed %d case %d, tile %d by %s: %s (query %lld, key %lld)", SEED, n,
                     c->tile_tokens, c->by_blocks ? "blocks" : "visits", fault, (long long)i,
                     (long long)j);
        visits += c->visits;
        masked += c->masked;
    }
    assert_true(visits > 10000 && masked > visits / 20 && masked < visits);
    free(c);
}

enum { QUERIES = 128 };

/* How many visits, and masked ones, one head takes over `tokens` causal queries. */
static void count_visits(const struct bands *bands, int64_t tokens, int64_t *visits,
                         int64_t *masked)
{
    struct regimes regimes;
    regimes_make(&regimes, bands);
    const struct attention_extent extent = {.end = tokens, .span_end = 1};
    *visits = *masked = 0;
    for (int64_t first = 0; first < tokens; first += QUERIES) {
        struct attention_visits at;
        struct attention_visit visit;
        attention_visits_begin(&at, first, QUERIES);
        for (;;) {
            attention_visits_advance(&at, &visit, &regimes, &extent, 1, 0);
            if (visit.keys == 0)
                break;
            ++*visits;
            *masked += visit.masked;
        }
    }
}

/* The numbers behind "a mixed tile costs nothing worth mentioning" (QUERIES queries, 64 keys). */
static void walks_causal_and_shifted_bands_in_as_few_visits_as_the_tiles_allow(void **unused)
{
    (void)unused;
    enum { TOKENS = 131072, SHIFT = 43712 /* a multiple of 64, a third */ };
    const int64_t tiles = TOKENS / QUERIES;
    struct bands bands = {
        .count = 1,
        .list = {{.query_end = BANDS_OPEN, .unit = 1, .distance_end = BANDS_OPEN}},
        .query_frames = 2,
        .query_frame = {BANDS_FRAME(1, 0), BANDS_FRAME(1, -100)},
        .key_frames = 1,
        .panel_frames = 1,
        .key_frame = {BANDS_FRAME(1, 0)},
    };
    int64_t causal, shifted, masked;
    count_visits(&bands, TOKENS, &causal, &masked);
    assert_int_equal(causal, tiles * (tiles + 1));
    assert_int_equal(masked, 2 * tiles);
    bands.count = 2;
    bands.list[1] = bands.list[0];
    bands.list[0].distance_end = bands.list[1].distance_first = SHIFT;
    bands.list[1].query_frame = 1;
    count_visits(&bands, TOKENS, &shifted, &masked);
    assert_true(shifted > causal && (double)(shifted - causal) / (double)causal < 0.003);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meets_every_visible_pair_exactly_once),
        cmocka_unit_test(walks_causal_and_shifted_bands_in_as_few_visits_as_the_tiles_allow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
