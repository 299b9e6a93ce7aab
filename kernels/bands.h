/* The bands of a method as a kernel needs them: plain data, and exact integer questions about it.
 *
 * A pair is a query index i and a key index j <= i at distance d = i - j. A key is a sink if
 * j < sinks, otherwise ordinary. Exactly one band of its class covers a pair. The effective
 * distance, which is all that rope sees, is
 *
 *     e = frame[query_frame].scale * i + frame[query_frame].offset - kpos(j)
 *
 * with kpos(j) = j for key frame 0 (keys rotated at their index) and 0 for key frame 1 (unrotated,
 * sinks only). Near sinks are read through key frame 0, out of the ordinary panels; far ones
 * through key frame 1, out of panels of their own. So a pair is visible in at most one key frame.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { BANDS_MAX = 16, BANDS_FRAMES_MAX = 4, BANDS_LANES = 64 };

/* An open end of a range. */
#define BANDS_OPEN INT64_MAX

/* Half-open range of token indices. */
struct span {
    int64_t first, end;
};

enum band_class {
    BAND_ORDINARY,
    BAND_SINK,
};

enum band_rule {
    BAND_IDENTITY, /* e = d;         query frame {1, 0},     key frame 0 */
    BAND_SHIFT,    /* e = d + value; query frame {1, value}, key frame 0 */
    BAND_CLAMP,    /* e = value;     query frame {0, value}, key frame 1; sinks only */
    BAND_MASK,     /* not visible; the frames are ignored */
};

struct band {
    enum band_class key_class;
    int64_t query_first, query_end;       /* the query indices it applies to */
    int64_t distance_first, distance_end; /* the distances it applies to */
    enum band_rule rule;
    int64_t value;
    int query_frame;
    int key_frame;
};

/* Q of query i is rotated at scale * i + offset. */
struct bands_frame {
    int scale; /* 0 or 1 */
    int64_t offset;
};

struct bands {
    int count;
    struct band list[BANDS_MAX];
    int64_t sinks;
    int query_frames;
    struct bands_frame frame[BANDS_FRAMES_MAX];
};

enum bands_tile {
    BANDS_SKIP,  /* no pair of the tile is visible in this key frame */
    BANDS_FULL,  /* every pair is visible, all with one query frame */
    BANDS_MIXED, /* anything else */
};

/* For tests: refuses a table whose bands overlap, leave a distance uncovered, or have frames that
 * do not fit their rules. */
bool bands_check(const struct bands *bands, const char **reason);

/* The band through which query i sees key j in `key_frame`; NULL if it does not (j > i and masked
 * pairs included). */
const struct band *bands_find(const struct bands *bands, int64_t i, int64_t j, int key_frame);

/* Bit t is set if query i sees key first_key + t, t < count <= 64, through `band`. */
uint64_t bands_lanes(const struct bands *bands, const struct band *band, int64_t i,
                     int64_t first_key, int count);

/* Classes queries x keys in `key_frame`; *query_frame is set only for BANDS_FULL. Empty spans are
 * BANDS_SKIP. */
enum bands_tile bands_classify(const struct bands *bands, struct span queries, struct span keys,
                               int key_frame, int *query_frame);

/* Smallest distance from which on no key is visible in key frame 0; BANDS_OPEN if there is none. */
int64_t bands_reach(const struct bands *bands);

/* Whether some query index below `tokens` sees a key through key frame 1. */
bool bands_far_sinks(const struct bands *bands, int64_t tokens);
