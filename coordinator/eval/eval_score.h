/* How an answer is judged: 0 to 1. Pure.
 *
 * Sources: RULER (Hsieh et al., 2024) for string_match_all and string_match_part; LM-Infinite and
 * InfiniteBench for the first integer; SQuAD 1.1 (Rajpurkar et al., 2016) for F1 of words and how
 * they are made alike; LongBench v2 for the letter of a choice. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum eval_metric {
    EVAL_MATCH_ALL,     /* the part of the references that stand in it, whatever the case */
    EVAL_MATCH_PART,    /* 1 where one of them does */
    EVAL_FIRST_INTEGER, /* 1 where its first run of digits is the reference */
    EVAL_NODES_F1,      /* F1 of the set of nodes (n and five digits) that it names */
    EVAL_WORDS_F1,      /* the best F1 of words over the references */
    EVAL_EXACT,         /* 1 where a reference is the whole answer, made alike */
    EVAL_CHOICE,        /* 1 where the first single capital letter A to D is the reference */
};

/* "match_all". */
const char *eval_metric_name(enum eval_metric metric);

/* False where no metric has the name. */
bool eval_metric_named(enum eval_metric *metric, const char *name);

/* 0 where there are no references. */
double eval_score(enum eval_metric metric, const char *answer, const char *const *references,
                  size_t count);

/* Whether the reference stands in the answer, small and capital letters of ASCII alike. */
bool eval_score_holds(const char *answer, const char *reference);
