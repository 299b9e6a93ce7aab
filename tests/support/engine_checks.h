/* What tests ask of a group's runs: that they end well, keep their accounts, and agree. */
#pragma once

#include "tests/support/engine_ranks.h"

/* Runs a case, which must end well. Free the outcome. */
void engine_checks_run(struct engine_outcome *outcome, const struct engine_case *wanted);

/* Every rank's bytes, on the wire and in the arenas, are those that were planned. */
void engine_checks_accounts(const struct engine_outcome *outcome);

/* The case scores with the very bits of `expected`, and keeps its accounts. */
void engine_checks_same_bits(const struct engine_case *wanted,
                             const struct engine_outcome *expected);

/* How far the log-probabilities of two scores are apart; a NaN is farther than anything. */
struct engine_distance {
    double worst; /* of a token */
    double rms;
};
struct engine_distance engine_checks_distance(const struct engine_outcome *a,
                                              const struct engine_outcome *b);

/* The case scores within `allowed` of `expected`, and keeps its accounts. */
void engine_checks_close(const struct engine_case *wanted, const struct engine_outcome *expected,
                         struct engine_distance allowed);
