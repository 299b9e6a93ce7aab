"""The texts of the experiment, bytes all through, each of a length that is asked for: running text, keys and their values with
questions about them, and strings that come again. Everything follows from the seed of the generator that is handed in.

Running text is of a small language. Its words and how often each of them comes (Zipf's law) are the same everywhere; a text talks
of a handful of nouns, so that what was read long ago helps. `@K`, a newline and `4821.` say that key K has the value 4821; `?K`, a
newline and `4821.` ask for it and answer. `*`, a newline and `qwerty.` are a string, and the next one of the same text is the same."""
import bisect
import functools
import itertools
import random
import string

KEYS = string.ascii_uppercase
DIGITS = 4
NOUNS_OF_A_TEXT = 6
STRING_LETTERS = (8, 16)
KINDS = ("text", "keys", "copy")
SHARES = (0.1, 0.45, 0.45)  # of KINDS among the documents of training
FULL = 1.0  # of a document may be keys or strings


def words(generator, count, syllables):
    found = set()
    while len(found) < count:
        found.add("".join(generator.choice("bdfgklmnprstvz") + generator.choice("aeiou") for _ in range(syllables)))
    return sorted(found)


_language = random.Random(20260409)
NOUNS = words(_language, 120, 2)
VERBS = words(_language, 24, 2)
QUALITIES = words(_language, 40, 2)
JOINTS = ("in", "on", "by", "for", "with", "from")


@functools.cache
def zipf_sums(count):
    return list(itertools.accumulate(1 / (rank + 1) for rank in range(count)))


def zipf(generator, list_):
    sums = zipf_sums(len(list_))
    return list_[bisect.bisect_left(sums, generator.random() * sums[-1])]


class Topic:
    """What one text talks of."""

    def __init__(self, generator):
        self.generator = generator
        self.nouns = [zipf(generator, NOUNS) for _ in range(NOUNS_OF_A_TEXT)]

    def sentence(self):
        choice = self.generator.choice
        quality = zipf(self.generator, QUALITIES) + " " if self.generator.random() < 0.4 else ""
        end = f" {choice(JOINTS)} the {choice(self.nouns)}" if self.generator.random() < 0.5 else ""
        return f" the {quality}{choice(self.nouns)} {zipf(self.generator, VERBS)} the {choice(self.nouns)}{end}."


def definition(key, value):
    return f"@{key}\n{value}."


def question(key, value):
    return f"?{key}\n{value}."


def new_string(generator):
    return "".join(generator.sample(string.ascii_lowercase, generator.randint(*STRING_LETTERS)))


def new_values(generator, count):
    return {key: "".join(generator.sample(string.digits, DIGITS)) for key in generator.sample(KEYS, count)}


def filled(generator, length, inserted):
    """Running text of `length` bytes with `inserted` [(place from 0 to 1, text)] in it, none of them cut; a place is where in
    what running text there is room for."""
    room = length - sum(len(text) for _, text in inserted)
    assert room >= 0, "more is inserted than there is room for"
    topic, prose = Topic(generator), ""
    pieces, written = [], 0
    for place, text in sorted(inserted, key=lambda pair: pair[0]):
        while len(prose) < place * room:
            prose += topic.sentence()
        end = min(len(prose), room)
        pieces += [prose[written:end], text]
        written = end
    while len(prose) < room:
        prose += topic.sentence()
    return "".join(pieces) + prose[written:room]


def text_document(generator, length):
    return filled(generator, length, [])


def keys_document(generator, length):
    """Keys with their values, and questions behind them; how much of the document they are is drawn."""
    entries = max(2, int(length * generator.uniform(0.2, FULL) / len(definition("K", "0" * DIGITS))))
    values = new_values(generator, generator.randint(1, min(len(KEYS), entries // 2)))
    places = {key: generator.random() * 0.6 for key in values}
    inserted = [(places[key], definition(key, value)) for key, value in values.items()]
    for _ in range(entries - len(values)):
        key = generator.choice(sorted(values))
        inserted.append((places[key] + (1 - places[key]) * (0.02 + 0.98 * generator.random()), question(key, values[key])))
    return filled(generator, length, inserted)


def copy_document(generator, length):
    copied = f"*\n{new_string(generator)}."
    times = max(2, int(length * generator.uniform(0.2, FULL) / len(copied)))
    return filled(generator, length, [(generator.random(), copied) for _ in range(times)])


MAKERS = {"text": text_document, "keys": keys_document, "copy": copy_document}


def document(generator, length):
    """One of training."""
    return MAKERS[generator.choices(KINDS, SHARES)[0]](generator, length)


def asked_key(generator, length, depth, keys):
    """(prompt, response) of `length` bytes with the newline between them: of `keys` keys the one that is asked for lies at `depth`, from 0 to 1, the others anywhere."""
    values = new_values(generator, keys)
    asked = generator.choice(sorted(values))
    inserted = [(depth if key == asked else generator.random() * 0.95, definition(key, value)) for key, value in values.items()]
    end = f"?{asked}"
    return filled(generator, length - len(end) - 1 - DIGITS, inserted) + end, values[asked]


def asked_string(generator, length, depth):
    """(prompt, response), likewise: a string at `depth`, to be said again."""
    copied = new_string(generator)
    return filled(generator, length - len(copied) - 2, [(depth, f"*\n{copied}.")]) + "*", copied
