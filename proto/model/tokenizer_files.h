/* The files of a directory that a tokenizer is read from. */
#pragma once

#include <stddef.h>

struct tokenizer_file {
    const char *path; /* for sentences; NULL where there is no such file */
    const void *data;
    size_t bytes;
};

struct tokenizer_files {
    struct tokenizer_file tokenizer;         /* tokenizer.json, tokenizer.model or tekken.json */
    struct tokenizer_file tokenizer_config;  /* bos_token, eos_token, chat_template */
    struct tokenizer_file generation_config; /* eos_token_id */
    struct tokenizer_file config;            /* bos_token_id, eos_token_id */
    struct tokenizer_file chat_template;     /* chat_template.jinja, which goes first */
};
