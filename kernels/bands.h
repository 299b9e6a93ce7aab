/* What a query sees, as a kernel needs it: plain data, and exact integer questions about it.
 *
 * A pair is a query index i and a key index j <= i. A key is a sink if j < sinks, otherwise
 * ordinary. Exactly one band of its class covers a pair: that of i's query range in whose distance
 * range floor(i / unit) - floor(j / unit) lies. A masked band hides its pairs, and the table's
 * window those that are too far apart. Through any other band the effective distance, which is all
 * that rope sees, is
 *
 *     e = bands_position(&query_frame[band.query_frame], i)
 *       - bands_position(&key_frame[band.key_frame], j)
 *
 * So a pair is visible in at most one key frame. Keys are kept in the first `panel_frames` key
 * frames; in the others only sinks are, in panels of their own that outlive the ordinary ones.
 * Sinks that stay visible for longer than the keys around them are read through such a frame.
 */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Both compilers see the same functions. */
#ifdef __CUDACC__
#define BANDS_CALL static __forceinline__ __host__ __device__
#else
#define BANDS_CALL static inline
#endif

enum {
    BANDS_MAX = 16,
    BANDS_FRAMES_MAX = 4,  /* of queries, and of keys */
    BANDS_RECORDS_MAX = 3, /* of a panel: K in the frames that all keys are kept in, and V */
    BANDS_LANES = 64,      /* keys of a mask */
};

/* An open end of a range. */
#define BANDS_OPEN INT64_MAX

/* Half-open range of token indices. */
struct span {
    int64_t first, end;
};

enum { BANDS_PARTS_MAX = 1 << 22 };

/* Where a token stands for rope:
 * min(cap, scale * floor(parts * (index mod modulo) / group) + offset). */
struct bands_frame {
    double scale;   /* 0: the same for all tokens */
    int64_t modulo; /* 0: none */
    int64_t parts;  /* that a group of tokens is spread over: 1 to BANDS_PARTS_MAX */
    int64_t group;  /* at least 1 */
    double offset;
    double cap; /* INFINITY: none */
};

/* As initializer: the index times SCALE plus OFFSET. */
#define BANDS_FRAME(SCALE, OFFSET)                                                                 \
    {                                                                                              \
        (SCALE), 0, 1, 1, (OFFSET), INFINITY                                                       \
    }

BANDS_CALL double bands_position(const struct bands_frame *frame, int64_t index)
{
    const int64_t within = frame->modulo > 0 ? index % frame->modulo : index;
    const int64_t spread = within * frame->parts;
    const int64_t place = frame->group > 1 ? spread / frame->group : spread;
    const double position = frame->scale * (double)place + frame->offset;
    return position < frame->cap ? position : frame->cap;
}

enum band_class {
    BAND_ORDINARY,
    BAND_SINK,
};

struct band {
    enum band_class key_class;
    int64_t query_first, query_end;       /* the query indices it applies to */
    int64_t unit;                         /* tokens that distances are counted in: 1, or a chunk */
    int64_t distance_first, distance_end; /* the distances it applies to, in units */
    bool masked;                          /* not visible; the frames are ignored */
    int query_frame;
    int key_frame;
};

struct bands {
    int count;
    struct band list[BANDS_MAX];
    int64_t sinks;
    int64_t window; /* keys at this distance in tokens and beyond are masked, too; 0: none are */
    int query_frames;
    struct bands_frame query_frame[BANDS_FRAMES_MAX];
    int key_frames;
    int panel_frames; /* key frames at and beyond it are kept for sinks only */
    struct bands_frame key_frame[BANDS_FRAMES_MAX];
};

/* Where keys are read from: the panels that hold all of them in the first key frames, or those of
 * the sinks. */
enum bands_store {
    BANDS_PANELS,
    BANDS_SINKS,
};

static inline enum bands_store bands_store_of(const struct bands *bands, const struct band *band)
{
    return band->key_frame < bands->panel_frames ? BANDS_PANELS : BANDS_SINKS;
}

/* For tests: refuses a table whose bands overlap, leave a distance uncovered, count one class's
 * distances in different units, or name frames that are not there or not kept. */
bool bands_check(const struct bands *bands, const char **reason);

/* For tests: the band through which query i sees key j; NULL if it does not (j > i and masked pairs
 * included). It is the definition that everything faster is held against. */
const struct band *bands_find(const struct bands *bands, int64_t i, int64_t j);

/* A distance in tokens from which on no key is visible in the panels that hold all keys;
 * BANDS_OPEN if there is none. */
int64_t bands_reach(const struct bands *bands);
