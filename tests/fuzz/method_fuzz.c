/* The parser of methods' spellings over any text, for any trained length: a spelling is refused
 * with a sentence, or gives a method that passes its checks and comes back from its canonical
 * spelling. */
#include <stdlib.h>
#include <string.h>

#include "proto/plan/method.h"
#include "proto/utf8_check.h"
#include "tests/fuzz/fuzz.h"

enum { TEXT_BYTES = 512 };

/* The first byte is the binary logarithm of the trained length, modulo 64; from 41 on it is 0. */
static const char *const seeds[] = {
    "\x0d"
    "string:shift=0.33,local=128,logit_scale=published",
    "\x0e"
    "lm_infinite:window=2048,sinks=4,ceiling=2048",
    "\x29"
    "string:shift=auto,logit_scale=1.0693147180559945e0",
    "\x02"
    "rope",
    "\x10"
    "string:shift=1099511627776,local=0",
    "\x0d"
    "string:shift=60,local=2,logn=300+yarn:factor=2.68,original=2048,attention=1.1",
    "\x0d"
    "streaming_llm:window=1099511627770,sinks=5",
    "\x0b"
    "leaky_rerope:window=64,factor=2.5,logn=4096",
    "\x0d"
    "table:sinks=3,keys=plain..4/shift:-2..9/hidden,sink_keys=plain..2/fixed:6..5/anchor:12..12/"
    "fixed:6",
    "\x0d"
    "table:keys=plain..8/scale:8:2.5..64/group:7:8+linear:factor=2",
    "\x0f"
    "lampe:near=64,far=16,mapped=4194304,length=1099511627776",
    "\x0d"
    "lampe:near=512,far=200,logit_scale=published",
    "\x0a"
    "self_extend:window=1099511627776,group=1099511627776",
    "\x0d"
    "dca:chunk=1099511627776,local=0",
    "\x0d"
    "rope:logn=9+ntk:factor=1e+05",
    "\x0d"
    "lm_infinite+linear:factor=4",
    "\x10"
    "str\xc3\xaeng:locale=3,window=\xe2\x82\xac",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0])
        return 0;
    size_t bytes = strlen(seeds[index]);
    if (bytes > room)
        return 0;
    memcpy(data, seeds[index], bytes);
    return bytes;
}

static void check_method(const struct method *method)
{
    char text[METHOD_TEXT_BYTES];
    struct method again;
    struct bands bands;
    const char *reason;
    if (method_check(method) != STATUS_OK)
        abort();
    method_print(method, text);
    if (method_parse(&again, text, 0) != STATUS_OK || memcmp(&again, method, sizeof again) != 0)
        abort();
    method_bands(method, &bands);
    if (!bands_check(&bands, &reason))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char text[TEXT_BYTES];
    if (bytes == 0 || bytes > sizeof text)
        return 0;
    const int power = data[0] % 64;
    const int64_t trained_tokens = power > 40 ? 0 : INT64_C(1) << power;
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = '\0';
    struct method method;
    memset(&method, 0, sizeof method);
    const enum status status = method_parse(&method, text, trained_tokens);
    const char *sentence = status_message();
    if (status == STATUS_OK) {
        method_fit(&method, trained_tokens);
        check_method(&method);
    } else if (status != STATUS_INVALID_ARGUMENT || !sentence[0] ||
               (utf8_check(text, strlen(text), "text") == STATUS_OK &&
                method_parse(&method, text, trained_tokens) != STATUS_OK &&
                utf8_check(status_message(), strlen(status_message()), "sentence") != STATUS_OK))
        abort();
    return 0;
}
