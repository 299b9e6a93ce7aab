/* Walks a YAML configuration file, hostile or not, and hands every value to a visitor with its
 * place.
 *
 * The file is a mapping of sections. At most 1 MiB, nested at most 32 deep; anchors, aliases and
 * tags are refused: libyaml is quadratic in nesting, and a setting needs none of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { CONFIG_YAML_BYTES = 1 << 20, CONFIG_YAML_DEPTH = 32 };

struct config_yaml_place {
    size_t line, column; /* of the key or value, from 1 */
};

struct config_yaml_visitor {
    void *context;
    /* A mapping begins under the key `path`, "a.b". False: its content is passed over. */
    bool (*section)(void *context, const char *path, struct config_yaml_place place);
    /* A value. `quoted` tells "4" from 4. */
    void (*value)(void *context, const char *path, const char *text, bool quoted,
                  struct config_yaml_place key_place, struct config_yaml_place place);
    /* What is wrong with the file as such; also for a list, which no setting takes. */
    void (*problem)(void *context, struct config_yaml_place place, const char *sentence);
};

/* Returns after the whole file, or after the first problem that leaves the rest without meaning. */
void config_yaml_walk(const struct config_yaml_visitor *visitor, const void *data, size_t bytes);
