/* What changing each key of a model's files does, by architecture. */
#pragma once

/* One key. Of architectures that neither list names the file is refused, by the key's name or by
 * `names`. A list has names of architectures with spaces between them; "*": all. */
struct model_key_row {
    const char *kind;     /* of scaling, where the key is one of rope_parameters; else NULL */
    const char *key;      /* of GGUF files, behind the architecture's name */
    const char *beside;   /* JSON: what the file has besides, before and after; NULL: nothing */
    const char *flipped;  /* JSON: the key's other value; "odd": by layer */
    const char *changes;  /* where the result changes */
    const char *same;     /* where it does not */
    const char *names;    /* in refusals that do not name the key */
    const char *why_same; /* of keys whose names say that they may matter */
};

/* The last row has no key. Rows with the same `beside` stand together: they are compared with one
 * result. */
extern const struct model_key_row model_key_rows_config[];
extern const struct model_key_row model_key_rows_rope[];
extern const struct model_key_row model_key_rows_gguf[];

/* As the table of architectures has them; NULL ends it. */
extern const char *const model_key_types[];
