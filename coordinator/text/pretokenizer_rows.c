/* Owns the patterns that cut text into words. Promises that the words cover the text, and time
 * linear in its length: every repetition is possessive, but for white space, which gives back at
 * most one character.
 *
 * The classes are spelt out because the oracle (PyPI `tokenizers` 0.23) and Debian's PCRE2 (10.42)
 * differ: PCRE2's \s holds U+180E, and its Unicode 14 lacks what versions 15 and 16 added (17 for
 * the numbers that are cut one by one). tests/unit/tokenizer_test.c pins a sample; all 1,112,064
 * code points were compared (docs/tokenizer.md).
 */
#include "coordinator/text/pretokenizer_rows.h"

#include <stddef.h>

/* White_Space, without the brackets of a class; and the same without the two that end a line. */
#define SPACE "\\p{Z}\\t-\\r\\x{85}"
#define SPACE_IN_LINE "\\p{Z}\\t\\x{0B}\\x{0C}\\x{85}"

#define LETTER                                                                                     \
    "\\p{L}"                                                                                       \
    "\\x{1C89}-\\x{1C8A}\\x{A7CB}-\\x{A7CD}\\x{A7DA}-\\x{A7DC}\\x{105C0}-\\x{105F3}"               \
    "\\x{10D4A}-\\x{10D65}\\x{10D6F}-\\x{10D85}\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}"         \
    "\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}\\x{113D3}" \
    "\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}\\x{1342F}"          \
    "\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}\\x{16D40}-\\x{16D6C}"         \
    "\\x{18CFF}\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}\\x{1E030}-\\x{1E06D}\\x{1E4D0}-\\x{"      \
    "1E4EB}"                                                                                       \
    "\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"

/* Parts of the letters: Lu and Lt, Ll, and the rest. */
#define UPPER                                                                                      \
    "\\p{Lu}\\p{Lt}"                                                                               \
    "\\x{1C89}\\x{A7CB}-\\x{A7CC}\\x{A7DA}\\x{A7DC}\\x{10D50}-\\x{10D65}"

#define LOWER                                                                                      \
    "\\p{Ll}"                                                                                      \
    "\\x{1C8A}\\x{A7CD}\\x{A7DB}\\x{10D70}-\\x{10D85}\\x{1DF25}-\\x{1DF2A}"

#define MARK                                                                                       \
    "\\p{M}"                                                                                       \
    "\\x{897}\\x{CF3}\\x{ECE}\\x{10D69}-\\x{10D6D}\\x{10EFC}-\\x{10EFF}\\x{11241}"                 \
    "\\x{113B8}-\\x{113C0}\\x{113C2}\\x{113C5}\\x{113C7}-\\x{113CA}\\x{113CC}-\\x{113D0}"          \
    "\\x{113D2}\\x{113E1}-\\x{113E2}\\x{11F00}-\\x{11F01}\\x{11F03}\\x{11F34}-\\x{11F3A}"          \
    "\\x{11F3E}-\\x{11F42}\\x{11F5A}\\x{13440}\\x{13447}-\\x{13455}\\x{1611E}-\\x{1612F}"          \
    "\\x{1E08F}\\x{1E4EC}-\\x{1E4EF}\\x{1E5EE}-\\x{1E5EF}"

#define OTHER_LETTER                                                                               \
    "\\p{Lm}\\p{Lo}"                                                                               \
    "\\x{10D4E}\\x{10D6F}\\x{16D40}-\\x{16D42}\\x{16D6B}-\\x{16D6C}\\x{1E030}-\\x{1E06D}"          \
    "\\x{1E4EB}\\x{105C0}-\\x{105F3}\\x{10D4A}-\\x{10D4D}\\x{10D4F}\\x{10EC2}-\\x{10EC4}"          \
    "\\x{1123F}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}"          \
    "\\x{113B7}\\x{113D1}\\x{113D3}\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}"           \
    "\\x{11F12}-\\x{11F33}\\x{1342F}\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}"                    \
    "\\x{16100}-\\x{1611D}\\x{16D43}-\\x{16D6A}\\x{18CFF}\\x{1B132}\\x{1B155}"                     \
    "\\x{1E4D0}-\\x{1E4EA}\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}"          \
    "\\x{31350}-\\x{323AF}"

#define PUNCTUATION_OR_SYMBOL                                                                      \
    "\\p{P}\\p{S}"                                                                                 \
    "\\x{1B4E}-\\x{1B4F}\\x{1B7F}\\x{10D6E}\\x{113D4}-\\x{113D5}\\x{113D7}-\\x{113D8}"             \
    "\\x{11B00}-\\x{11B09}\\x{11BE1}\\x{11F43}-\\x{11F4F}\\x{16D6D}-\\x{16D6F}\\x{1E5FF}"          \
    "\\x{2427}-\\x{2429}\\x{2FFC}-\\x{2FFF}\\x{31E4}-\\x{31E5}\\x{31EF}"                           \
    "\\x{10D8E}-\\x{10D8F}\\x{1CC00}-\\x{1CCEF}\\x{1CD00}-\\x{1CEB3}\\x{1F6DC}"                    \
    "\\x{1F774}-\\x{1F776}\\x{1F77B}-\\x{1F77F}\\x{1F7D9}\\x{1F8B2}-\\x{1F8BB}"                    \
    "\\x{1F8C0}-\\x{1F8C1}\\x{1FA75}-\\x{1FA77}\\x{1FA87}-\\x{1FA89}\\x{1FA8F}"                    \
    "\\x{1FAAD}-\\x{1FAAF}\\x{1FABB}-\\x{1FABF}\\x{1FAC6}\\x{1FACE}-\\x{1FACF}"                    \
    "\\x{1FADA}-\\x{1FADC}\\x{1FADF}\\x{1FAE8}-\\x{1FAE9}\\x{1FAF7}-\\x{1FAF8}"                    \
    "\\x{1FBCB}-\\x{1FBEF}"

#define NUMBER                                                                                     \
    "\\p{N}"                                                                                       \
    "\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}"         \
    "\\x{16130}-\\x{16139}\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1D2C0}-\\x{1D2D3}"         \
    "\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"

/* What cuts numbers one by one knows Unicode 17; the patterns know 16. */
#define NUMBER_17 NUMBER "\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}"

/* "smollm" is two steps: every number by itself, then GPT-2's pattern on what lies between. In one
 * step, white space before a number counts as white space at the end. */
#define SMOLLM                                                                                     \
    "[" NUMBER_17 "]"                                                                              \
    "|'(?:s|t|re|ve|m|ll|d)"                                                                       \
    "| ?[" LETTER "]++"                                                                            \
    "| ?[^" SPACE LETTER NUMBER_17 "]++"                                                           \
    "|[" SPACE "]+(?![^" SPACE NUMBER_17 "])"                                                      \
    "|[" SPACE "]++"

#define GPT_2                                                                                      \
    "'(?:s|t|re|ve|m|ll|d)"                                                                        \
    "| ?[" LETTER "]++"                                                                            \
    "| ?[" NUMBER "]++"                                                                            \
    "| ?[^" SPACE LETTER NUMBER "]++"                                                              \
    "|[" SPACE "]+(?![^" SPACE "])"                                                                \
    "|[" SPACE "]++"

/* White space up to the last end of a line in it is written as lines, so that no step is ever taken
 * back. */
#define SPACES_TO_THE_END                                                                          \
    "|(?:[" SPACE_IN_LINE "]*+[\\r\\n]++)++"                                                       \
    "|[" SPACE "]+(?![^" SPACE "])"                                                                \
    "|[" SPACE "]++"

/* Without regard to case, s is also the long s. */
#define LLAMA_3_WITH(digits)                                                                       \
    "'(?i:s|t|re|ve|m|ll|d)"                                                                       \
    "|[^\\r\\n" LETTER NUMBER "]?+[" LETTER "]++"                                                  \
    "|[" NUMBER "]" digits "| ?[^" SPACE LETTER NUMBER "]++[\\r\\n]*+" SPACES_TO_THE_END

#define LLAMA_3 LLAMA_3_WITH("{1,3}+")
#define QWEN_2 LLAMA_3_WITH("")

/* A word in which no lower case stands before upper case, as the published
 *     [^\r\n L N]?[Lu Lt Lm Lo M]*[Ll Lm Lo M]+|[^\r\n L N]?[Lu Lt Lm Lo M]+[Ll Lm Lo M]*
 * but without steps back: letters without case and marks (EITHER) count on both sides, and the
 * published pattern finds the last of them by giving back. Without a lower case letter behind it, a
 * run of the first class ends at the last of them, or, where it has none, is the word. */
#define EITHER OTHER_LETTER MARK
#define CASED(suffix)                                                                              \
    "(?:[^\\r\\n" LETTER NUMBER "]?"                                                               \
    "(?:(?:[" UPPER "]*+[" EITHER "]++)*+[" UPPER "]*+[" LOWER "][" LOWER EITHER "]*+"             \
    "|(?:[" UPPER "]*+[" EITHER "]++)++)"                                                          \
    "|[^\\r\\n" LETTER NUMBER "]?[" UPPER EITHER "]++)" suffix

/* A slash ends a run of signs as the end of a line does. */
#define CASED_WORDS(suffix, digits)                                                                \
    CASED(suffix)                                                                                  \
    "|[" NUMBER "]" digits "| ?[^" SPACE LETTER NUMBER "]++[\\r\\n/]*+" SPACES_TO_THE_END

#define TEKKEN CASED_WORDS("", "")
#define GPT_4O CASED_WORDS("(?i:'(?:s|t|re|ve|m|ll|d))?+", "{1,3}+")

/* Three steps as published, each with what lies between its matches: numbers, ideographs and kana,
 * and the rest, in which a character that begins no word is gathered with its like. */
#define DEEPSEEK_NUMBERS "[" NUMBER "]{1,3}+|[^" NUMBER "]++"
#define KANA "\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}"
#define DEEPSEEK_KANA "[" KANA "]++|[^" KANA "]++"
#define DEEPSEEK_WORDS                                                                             \
    "[!-/:-@\\[-`{-~][A-Za-z]++"                                                                   \
    "|[^\\r\\n" LETTER PUNCTUATION_OR_SYMBOL "]?[" LETTER MARK "]++"                               \
    "| ?[" PUNCTUATION_OR_SYMBOL "]++[\\r\\n]*+" SPACES_TO_THE_END                                 \
    "|(?:[^" SPACE LETTER MARK PUNCTUATION_OR_SYMBOL "](?![" LETTER MARK "]))++"

const struct pretokenizer_row pretokenizer_rows[] = {
    {.name = "smollm", .stages = {SMOLLM}},
    {.name = "starcoder", .stages = {SMOLLM}},
    {.name = "refact", .stages = {SMOLLM}},
    {.name = "gpt-2", .stages = {GPT_2}},
    {.name = "phi-2", .stages = {GPT_2}},
    {.name = "olmo", .stages = {GPT_2}},
    {.name = "llama-bpe", .stages = {LLAMA_3}, .ignores_merges = true, .adds_bos = true},
    {.name = "llama3", .stages = {LLAMA_3}, .ignores_merges = true, .adds_bos = true},
    {.name = "llama-v3", .stages = {LLAMA_3}, .ignores_merges = true, .adds_bos = true},
    {.name = "dbrx", .stages = {LLAMA_3}},
    {.name = "smaug-bpe", .stages = {LLAMA_3}},
    {.name = "qwen2", .stages = {QWEN_2}, .normalises = true},
    {.name = "tekken", .stages = {TEKKEN}, .ignores_merges = true, .adds_bos = true},
    {.name = "gpt-4o", .stages = {GPT_4O}},
    {.name = "deepseek-v3",
     .stages = {DEEPSEEK_NUMBERS, DEEPSEEK_KANA, DEEPSEEK_WORDS},
     .adds_bos = true},
    {.name = NULL},
};
