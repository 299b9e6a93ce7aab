"""What an echo worker must answer, from the prompt's ids alone (echo_answer.h says the same in C)."""

MASK = (1 << 64) - 1
FIRST_ID, IDS = 100, 26  # echo-worker's own: in a tiny model's vocabulary the letters a to z
BYTE_0 = 3  # the token of a byte, of a tiny model (tiny_model.h)
PANEL = 64


def prompt_number(ids):
    number = 0xcbf29ce484222325
    for token in ids:
        number = (number ^ token) * 0x100000001b3 & MASK
    return number


def draw(number, place):
    z = number + (place + 1) * 0x9e3779b97f4a7c15 & MASK
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & MASK
    z = (z ^ z >> 27) * 0x94d049bb133111eb & MASK
    return z ^ z >> 31


def answer_ids(ids, count):
    number = prompt_number(ids)
    return [FIRST_ID + draw(number, place) % IDS for place in range(count)]


def answer_text(ids, count):
    return bytes(token - BYTE_0 for token in answer_ids(ids, count)).decode("ascii")


def raw_ids(text):
    """A tiny model's ids of a raw prompt, a token a byte: the text must hold none of the pairs that its vocabulary
    merges, which upper case letters and digits never are."""
    return [BYTE_0 + byte for byte in text.encode()]


class Prefixes:
    """Which whole panels a worker holds that forgets none: what must be computed of prompts that are read one after
    another."""

    def __init__(self):
        self.held = set()

    def read(self, ids):
        """Tokens (cached, prefilled) of the next prompt. The last token is always computed."""
        panels = [tuple(ids[:end]) for end in range(PANEL, len(ids) + 1, PANEL)]
        cached = 0
        while cached < (len(ids) - 1) // PANEL and panels[cached] in self.held:
            cached += 1
        self.held.update(panels)
        return cached * PANEL, len(ids) - cached * PANEL
