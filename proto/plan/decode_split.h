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
