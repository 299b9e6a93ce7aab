/* Owns the libyaml parser for the time of one walk. Promises time linear in the file: it stops at
 * depth 32 and at the first construct that settings do not need. */
#include "proto/config_yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { PATH_BYTES = 256 };

struct walk {
    const struct config_yaml_visitor *visitor;
    yaml_parser_t parser;
    bool stopped;
    bool document_seen;
    size_t depth;       /* open mappings and lists */
    size_t passed_over; /* the depth at which a passed-over part began; 0: none */
    size_t path_bytes[CONFIG_YAML_DEPTH + 1]; /* length of the path of the mapping at each depth */
    bool key_next[CONFIG_YAML_DEPTH + 1];     /* whether its next scalar is a key */
    char path[PATH_BYTES];                    /* of the key whose value is next */
    struct config_yaml_place key_place;
};

static struct config_yaml_place place_of(yaml_mark_t mark)
{
    return (struct config_yaml_place){.line = mark.line + 1, .column = mark.column + 1};
}

static void stop(struct walk *walk, yaml_mark_t mark, const char *sentence)
{
    walk->visitor->problem(walk->visitor->context, place_of(mark), sentence);
    walk->stopped = true;
}

static void on_key(struct walk *walk, const yaml_event_t *event)
{
    size_t used = walk->path_bytes[walk->depth];
    const char *key = (const char *)event->data.scalar.value;
    if (strlen(key) != event->data.scalar.length || key[0] == '\0') {
        stop(walk, event->start_mark, "a key must be a word");
        return;
    }
    if (used + 1 + strlen(key) >= PATH_BYTES) {
        stop(walk, event->start_mark, "a key is too long to be a setting's");
        return;
    }
    snprintf(walk->path + used, PATH_BYTES - used, "%s%s", used ? "." : "", key);
    walk->key_place = place_of(event->start_mark);
    walk->key_next[walk->depth] = false;
}

static void on_scalar(struct walk *walk, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    bool quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (walk->passed_over)
        return;
    if (walk->depth == 0) {
        if (quoted || text[0])
            stop(walk, event->start_mark, "the file must hold sections such as \"engine:\"");
        return;
    }
    if (walk->key_next[walk->depth]) {
        on_key(walk, event);
        return;
    }
    walk->key_next[walk->depth] = true;
    if (strlen(text) != event->data.scalar.length) {
        stop(walk, event->start_mark, "a value holds a NUL character");
        return;
    }
    walk->visitor->value(walk->visitor->context, walk->path, text, quoted, walk->key_place,
                         place_of(event->start_mark));
}

/* Whether the collection that begins here may be entered at all. */
static bool may_nest(struct walk *walk, const yaml_event_t *event)
{
    if (walk->depth == CONFIG_YAML_DEPTH) {
        stop(walk, event->start_mark, "nested deeper than 32");
        return false;
    }
    if (walk->depth > 0 && !walk->passed_over && walk->key_next[walk->depth]) {
        stop(walk, event->start_mark, "a key must be a word");
        return false;
    }
    return true;
}

static void on_mapping(struct walk *walk, const yaml_event_t *event)
{
    if (!may_nest(walk, event))
        return;
    bool top = walk->depth == 0;
    if (!top && !walk->passed_over)
        walk->key_next[walk->depth] = true;
    walk->depth++;
    if (walk->passed_over)
        return;
    const struct config_yaml_visitor *visitor = walk->visitor;
    if (!top && !visitor->section(visitor->context, walk->path, walk->key_place))
        walk->passed_over = walk->depth;
    walk->path_bytes[walk->depth] = top ? 0 : strlen(walk->path);
    walk->key_next[walk->depth] = true;
}

static void on_list(struct walk *walk, const yaml_event_t *event)
{
    if (!may_nest(walk, event))
        return;
    if (walk->depth == 0) {
        stop(walk, event->start_mark, "the file must hold sections such as \"engine:\"");
        return;
    }
    if (!walk->passed_over)
        walk->key_next[walk->depth] = true;
    walk->depth++;
    if (walk->passed_over)
        return;
    walk->passed_over = walk->depth;
    char sentence[PATH_BYTES + 64];
    snprintf(sentence, sizeof sentence, "%s: takes one value, not a list", walk->path);
    walk->visitor->problem(walk->visitor->context, place_of(event->start_mark), sentence);
}

static void on_end(struct walk *walk)
{
    if (walk->passed_over == walk->depth)
        walk->passed_over = 0;
    walk->depth--;
}

/* Anchors and tags, wherever an event can carry one. */
static bool is_plain(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return !event->data.scalar.anchor && !event->data.scalar.tag;
    case YAML_MAPPING_START_EVENT:
        return !event->data.mapping_start.anchor && !event->data.mapping_start.tag;
    case YAML_SEQUENCE_START_EVENT:
        return !event->data.sequence_start.anchor && !event->data.sequence_start.tag;
    default:
        return event->type != YAML_ALIAS_EVENT;
    }
}

static void on_event(struct walk *walk, const yaml_event_t *event)
{
    if (!is_plain(event)) {
        stop(walk, event->start_mark,
             "anchors, aliases and tags are not supported; write the value out");
        return;
    }
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (walk->document_seen)
            stop(walk, event->start_mark, "a second document begins; a configuration is one");
        walk->document_seen = true;
        break;
    case YAML_SCALAR_EVENT:
        on_scalar(walk, event);
        break;
    case YAML_MAPPING_START_EVENT:
        on_mapping(walk, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        on_list(walk, event);
        break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        on_end(walk);
        break;
    case YAML_STREAM_END_EVENT:
        walk->stopped = true;
        break;
    default:
        break;
    }
}

static void on_syntax_error(struct walk *walk)
{
    char sentence[256];
    const yaml_parser_t *parser = &walk->parser;
    snprintf(sentence, sizeof sentence, "not YAML: %s%s%s",
             parser->problem ? parser->problem : "out of memory", parser->context ? ", " : "",
             parser->context ? parser->context : "");
    stop(walk, parser->problem_mark, sentence);
}

void config_yaml_walk(const struct config_yaml_visitor *visitor, const void *data, size_t bytes)
{
    struct walk walk = {.visitor = visitor};
    yaml_mark_t start = {0};
    if (bytes > CONFIG_YAML_BYTES) {
        stop(&walk, start, "larger than 1 MiB, which no configuration needs");
        return;
    }
    if (!yaml_parser_initialize(&walk.parser)) {
        stop(&walk, start, "out of memory");
        return;
    }
    yaml_parser_set_input_string(&walk.parser, data, bytes);
    while (!walk.stopped) {
        yaml_event_t event;
        if (!yaml_parser_parse(&walk.parser, &event)) {
            on_syntax_error(&walk);
            break;
        }
        on_event(&walk, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&walk.parser);
}
