/* What the rows of methods write their bands with, each band at the end of the table. */
#pragma once

#include "kernels/bands.h"

/* Where a token stands at its index. */
extern const struct bands_frame band_list_index;

/* Begins a table of ordinary keys: all are kept in one frame. */
void band_list_begin(struct bands *bands, struct bands_frame keys);

/* The frame that keys are kept in as well, a further one if no other is the same; all of these come
 * before those of sinks. */
int band_list_keys(struct bands *bands, struct bands_frame keys);

/* A further frame that `sinks` sinks are kept in; all such frames hold the same number. */
int band_list_sinks(struct bands *bands, struct bands_frame keys, int64_t sinks);

/* A band for every query, in tokens, that reads keys in their first frame; the caller changes what
 * is otherwise. A query frame is in the table once. */
struct band *band_list_see(struct bands *bands, enum band_class key_class, struct span distances,
                           struct bands_frame queries);

/* The same of pairs that are not visible. */
struct band *band_list_hide(struct bands *bands, enum band_class key_class, struct span distances);
