/* A transformer as its definition reads, in float64, one token after the other: what training's
 * passes are held against. Knows neither layer programs nor bands. */
#pragma once

#include "proto/model/spec.h"
#include "proto/train/sample_file.h"
#include "tests/support/plan_methods.h"
#include "worker/trainer/parameters.h"

/* -sum of ln p(token) over the tokens that the sample counts. weights [parameters->floats]. */
double plain_transformer_loss(const struct model_spec *spec, const struct plan_method *method,
                              const struct parameters *parameters, const double *weights,
                              const struct sample *sample);
