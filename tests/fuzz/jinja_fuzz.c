/* A chat template of anything, rendered for a conversation. However it ends, what the conversation
 * brings is never the template's own text: a character that each of its texts has is in no own
 * piece, unless the template has it itself. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/jinja/jinja_template.h"
#include "proto/utf8_check.h"
#include "tests/support/jinja_json.h"
#include "tests/fuzz/fuzz.h"

enum { MARK = 0x01 };

static const char *const seeds[] = {
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] | trim + '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}\n"
    "{{- '<|im_start|>assistant\\n' }}{%- endif %}",
    "{% macro f(x, y=1) %}{% if x is mapping %}{% for k, v in x | items %}{{ k }}={{ f(v) }}"
    "{% endfor %}{% elif x is sequence and x is not string %}{{ x | map('string') | join(',') }}"
    "{% else %}{{ x | tojson(indent=2) }}{% endif %}{% endmacro %}{{ f(tools) }}{{ tools }}",
    "{% set ns = namespace(n=0) %}{% for m in messages[::-1] if m.role != 'x' %}{% set ns.n = "
    "loop.index0 + 1 %}{% if loop.last %}{% break %}{% endif %}{% endfor %}{{ ns.n ~ 'a' * 3 }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | sort "
    "| unique | join('-') | upper | replace('A', 'b') | indent(2) | capitalize }}",
    "{% set x %}{{ messages[0].content.split('\\n', 1)[-1].strip('a').lstrip() }}{% endset %}"
    "{{ '{} {}'.format(x, 2.5) }}{% filter trim %}{{ x[1:-1] }}{% endfilter %}{{ x[0] }}",
    "{% raw %}{{ }}{% endraw %}{# c #}{{ {'a': (1, -2 ** 3 // 4), 'b': [none, true]}['a'] }}"
    "{{ tools | dictsort }}{{ strftime_now('%Y') }}{% call(x) f() %}{% endcall %}",
    "{% generation %}{{ dict(a=messages).items() | list | first | last | length }}"
    "{% endgeneration %}{% with a = 1 %}{{ a if a < 2 else messages | reverse | list }}{% endwith "
    "%}",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if (index >= (int)(sizeof seeds / sizeof seeds[0]) || strlen(seeds[index]) > room)
        return 0;
    memcpy(data, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static json_t *conversation(void)
{
    static json_t *made;
    if (!made)
        made = json_pack("{s:[{s:s,s:s},{s:s,s:s}],s:{s:[s,i,f],s:{s:n}},s:b}", "messages", "role",
                         "\x01user", "content", "\x01\n caf\xC3\xA9 \x01<|im_end|>\x01 ", "role",
                         "\x01", "content", "\x01", "tools",
                         "\x01"
                         "b",
                         "\x01", 7, 1.5,
                         "\x01"
                         "a",
                         "\x01", "add_generation_prompt", 1);
    return made;
}

static void check(const struct jinja_string *text, const char *source, size_t source_bytes)
{
    size_t bytes = 0;
    const bool has_mark = memchr(source, MARK, source_bytes) || memchr(source, '\\', source_bytes);
    for (size_t i = 0; i < text->count; i++) {
        const struct jinja_piece *piece = &text->pieces[i];
        bytes += piece->bytes;
        require(utf8_check(piece->text, piece->bytes, "") == STATUS_OK);
        require(!piece->is_own || has_mark || !memchr(piece->text, MARK, piece->bytes));
    }
    require(bytes == text->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct tm day = {.tm_mday = 1};
    struct jinja_template *template;
    const struct jinja_string *text;
    struct jinja_value variables;
    if (jinja_template_create(&template, (const char *)data, bytes) != STATUS_OK)
        return 0;
    struct jinja_arena arena = jinja_template_arena(0);
    arena.bytes_max = 4 << 20;
    require(jinja_json_value(&variables, &arena, conversation()) == STATUS_OK);
    const struct jinja_template_args args = {variables.dict, 0, &day};
    if (jinja_template_render(template, &text, &arena, &args) == STATUS_OK)
        check(text, (const char *)data, bytes);
    jinja_arena_deinit(&arena);
    jinja_template_destroy(template);
    return 0;
}
