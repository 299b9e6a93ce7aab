/* The flat vector of parameters.h as the numbers of a model that is written. */
#pragma once

#include "proto/model/model_values.h"
#include "worker/engine/transport/transport.h"
#include "worker/trainer/parameters.h"

struct flat_values {
    const struct parameters *parameters;
    const float *weights;
    struct transport *transport; /* whose ranks wait meanwhile, and see that it goes on */
};

/* Borrows `flat`. */
struct model_values flat_values_of(struct flat_values *flat);
