/* Owns the words. Promises that no word stands in it twice. */
#include "coordinator/eval/eval_words.h"

/* clang-format off */
#define ADJECTIVES \
    "able", "ancient", "angry", "basic", "bitter", "blank", "blind", "bold", "brave", "brief", \
    "bright", "broad", "broken", "calm", "careful", "cheap", "clean", "clear", "clever", "cold", \
    "common", "cool", "crisp", "cruel", "curious", "curly", "dark", "deep", "dense", "direct", \
    "distant", "double", "dry", "dull", "dusty", "eager", "early", "easy", "empty", "exact", \
    "faint", "fair", "famous", "fancy", "fast", "fierce", "final", "firm", "flat", "fond", \
    "formal", "fragile", "free", "fresh", "frozen", "gentle", "giant", "golden", "grand", "gray", \
    "great", "green", "handy", "happy", "harsh", "heavy", "hidden", "hollow", "honest", "humble", \
    "hungry", "ideal", "idle", "jolly", "keen", "kind", "large", "lazy", "level", "light", \
    "linear", "little", "lively", "local", "lonely", "long", "loud", "lucky", "mellow", "mild", \
    "modern", "narrow", "neat", "noble", "odd", "orange", "patient", "plain", "polite", "proud", \
    "pure", "quick", "quiet", "rapid", "rare", "raw", "ready", "remote", "rich", "rough", "round", \
    "royal"

#define NOUNS \
    "acorn", "actor", "album", "anchor", "apple", "apron", "arrow", "autumn", "badge", "baker", \
    "balcony", "barrel", "basket", "beach", "beacon", "bench", "bicycle", "blanket", "bottle", \
    "branch", "bread", "breeze", "bridge", "broom", "bucket", "butter", "cabin", "cactus", \
    "camera", "candle", "canyon", "carpet", "castle", "cellar", "chapel", "cherry", "chimney", \
    "circle", "cliff", "cloud", "coffee", "compass", "copper", "corner", "cottage", "cotton", \
    "cradle", "cricket", "crystal", "curtain", "desert", "diary", "donkey", "dragon", "drawer", \
    "drum", "eagle", "engine", "envelope", "fabric", "falcon", "farmer", "feather", "fence", \
    "ferry", "fiddle", "finger", "flute", "forest", "fountain", "garden", "garlic", "gate", \
    "giraffe", "glacier", "glove", "goat", "guitar", "hammer", "harbor", "harvest", "helmet", \
    "hill", "honey", "horizon", "hotel", "island", "ivory", "jacket", "jewel", "journal", \
    "jungle", "kettle", "kitchen", "ladder", "lagoon", "lantern", "leather", "lemon", "letter", \
    "library", "lizard", "magnet", "mango", "maple", "marble", "market", "meadow", "mirror", \
    "mountain", "museum", "needle", "notebook", "oak", "ocean", "olive", "onion", "orchard", \
    "oven", "owl", "paddle", "palace", "panther", "paper", "parrot", "pebble", "pencil", "pepper", \
    "piano", "pillow", "pirate", "planet", "pocket", "pony", "pottery", "prairie", "pumpkin", \
    "puzzle", "rabbit", "raft", "rainbow", "ribbon", "river", "rocket", "saddle", "sailor", \
    "sandal", "scarf", "school", "shadow", "shelter", "shovel", "silver"

#define VERBS \
    "accept", "admire", "allow", "answer", "appear", "arrange", "arrive", "attend", "bake", \
    "balance", "become", "begin", "behave", "believe", "borrow", "bounce", "build", "carry", \
    "catch", "celebrate", "choose", "climb", "collect", "compare", "complain", "connect", \
    "consider", "continue", "copy", "count", "cover", "create", "cross", "dance", "decide", \
    "deliver", "describe", "destroy", "discover", "divide", "dream", "drink", "drive", "earn", \
    "encourage", "enjoy", "enter", "escape", "examine", "expect", "explain", "explore", "fasten", \
    "fetch", "follow", "forget", "forgive", "gather", "grow", "guess", "happen", "imagine", \
    "improve", "include", "invent", "invite", "join", "jump", "knock", "laugh", "learn", "listen", \
    "manage", "measure", "mention", "multiply", "notice", "oblige", "observe", "offer", "open", \
    "order", "paint", "pause", "perform", "persuade", "plant", "pour", "practice", "prefer", \
    "prepare", "prevent", "promise", "protect", "provide", "publish", "pull", "punish", "push", \
    "reach", "receive", "recognize", "reduce", "remember", "repair", "repeat", "reply", "report", \
    "rescue", "rest", "return", "search", "share", "shout", "sing", "sleep", "slide", "solve", \
    "speak", "spell", "spread", "stretch", "study", "suggest", "supply", "surprise", "swim", \
    "teach", "travel", "trust", "unite", "visit", "wander", "wash", "weigh", "whisper", "wonder", \
    "write"

/* clang-format on */

const char *const eval_words_adjectives[EVAL_WORDS_ADJECTIVES] = {ADJECTIVES};
const char *const eval_words_nouns[EVAL_WORDS_NOUNS] = {NOUNS};

const char *const *eval_words_all(size_t *count)
{
    static const char *const all[] = {ADJECTIVES, NOUNS, VERBS};
    *count = sizeof all / sizeof all[0];
    return all;
}
