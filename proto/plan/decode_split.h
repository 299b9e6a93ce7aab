/* The products that ranks may share out in decode, by columns of what they leave. Sharing one out
 * divides the reading of its weights by the ranks, and costs an exchange in every layer (of the
 * logits: one a token): so each is worth it or not by itself. A choice has a set of them. */
#pragma once

enum decode_split {
    DECODE_SPLIT_QKV = 1 << 0,
    DECODE_SPLIT_OUTPUT = 1 << 1, /* attention's */
    DECODE_SPLIT_GATE = 1 << 2,   /* gate and up, and the activation */
    DECODE_SPLIT_DOWN = 1 << 3,
    DECODE_SPLIT_LOGITS = 1 << 4,
    DECODE_SPLIT_ALL = (1 << 5) - 1,
};

enum { DECODE_SPLIT_TEXT_BYTES = 64 };

/* What the setting engine.decode asks for: "whole" and "home" are the empty set, "split" all, and
 * anything else, NULL too, -1: the planner's choice. */
int decode_split_wanted(const char *setting);

/* "q|k|v and logits"; of the empty set "". */
void decode_split_print(char text[DECODE_SPLIT_TEXT_BYTES], unsigned set);
