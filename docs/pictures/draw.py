#!/usr/bin/env python3
"""Draws sight.svg (what each method lets a token see) and flow.svg (how a request passes through the processes) into its
own folder. Standard library only:

    python3 docs/pictures/draw.py
"""
import html
import pathlib

INK, PALE, LINE = "#1f2933", "#5f6c7b", "#c5cdd6"
TOKENS, CELL = 24, 9


class Picture:
    def __init__(self, width, height, title):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                      f'height="{height}" font-family="system-ui, sans-serif" role="img">',
                      f"<title>{html.escape(title)}</title>", f'<rect width="{width}" height="{height}" fill="#ffffff"/>']

    def rect(self, x, y, width, height, fill, stroke="none", radius=0):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="{fill}" '
                          f'stroke="{stroke}"/>')

    def text(self, x, y, said, size=12, fill=INK, anchor="start", weight="normal"):
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
                          f'font-weight="{weight}">{html.escape(said)}</text>')

    def line(self, points, colour=PALE, arrow=False, dash=""):
        path = " ".join(f"{x},{y}" for x, y in points)
        head = ' marker-end="url(#head)"' if arrow else ""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}{head}/>')

    def arrows(self):
        self.parts.append('<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
                          f'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="{PALE}"/></marker></defs>')

    def write(self, name):
        path = pathlib.Path(__file__).resolve().parent / name
        path.write_text("\n".join([*self.parts, "</svg>"]) + "\n", encoding="utf-8")


# ---- what a token sees: (i, j) -> the distance that rope is shown, or None ----

def rope(i, j):
    return i - j


def string(i, j, shift=14, local=2):
    return i - j if i - j < shift else i - j - shift + local


def lm_infinite(i, j, window=8, sinks=2):
    if i - j < window:
        return i - j
    return window if j < sinks else None


def shade(distance, trained):
    """From dark (near) to light (far) inside the trained range; red beyond it."""
    if distance >= trained:
        return "#d64545"
    part = distance / (trained - 1)
    near, far = (16, 82, 137), (190, 219, 242)
    return "#%02x%02x%02x" % tuple(round(a + (b - a) * part) for a, b in zip(near, far))


def sight():
    trained, left, top, gap = 16, 36, 64, 48
    side = TOKENS * CELL
    picture = Picture(2 * left + 3 * side + 2 * gap, 372, "What each method lets a token see")
    panels = [("rope", rope, ["every earlier token, at its true distance;", "beyond the trained length (red) the model fails"]),
              ("string:shift=14,local=2", string, ["every earlier token; from distance 14 on it is", "shown 12 nearer, inside the trained range"]),
              ("lm_infinite:window=8,sinks=2", lm_infinite, ["the last 8 tokens and the first 2, these at", "distance 8; what lies between is not seen"])]
    for number, (name, rule, said) in enumerate(panels):
        x0 = left + number * (side + gap)
        picture.text(x0, 24, name, 14, weight="bold")
        for row, line in enumerate(said):
            picture.text(x0, 40 + 14 * row, line, 10.5, PALE)
        for i in range(TOKENS):
            for j in range(i + 1):
                distance = rule(i, j)
                if distance is not None:
                    picture.rect(x0 + j * CELL, top + i * CELL, CELL - 1, CELL - 1, shade(distance, trained))
        picture.rect(x0 - 1, top - 1, side + 1, side + 1, "none", LINE)
        picture.text(x0 + side / 2, top + side + 16, "keys, by index", 10.5, PALE, "middle")
    picture.parts.append(f'<text x="{left - 12}" y="{top + side / 2}" font-size="10.5" fill="{PALE}" text-anchor="middle" '
                         f'transform="rotate(-90 {left - 12} {top + side / 2})">queries, by index</text>')
    y = top + side + 44
    picture.text(left, y + 10, "the distance that rope is shown:", 11)
    for distance in range(trained + 2):
        picture.rect(left + 190 + distance * 22, y, 21, 13, shade(distance, trained))
        picture.text(left + 200.5 + distance * 22, y + 26, str(distance), 9, PALE, "middle")
    picture.text(left + 190 + (trained + 2) * 22 + 10, y + 10, f"a model trained for {trained} tokens", 11)
    picture.write("sight.svg")


def box(picture, x, y, width, height, title, lines, fill):
    picture.rect(x, y, width, height, fill, LINE, 6)
    picture.text(x + 12, y + 21, title, 13, weight="bold")
    for row, line in enumerate(lines):
        picture.text(x + 12, y + 40 + 16 * row, line, 11, PALE)


def flow():
    picture = Picture(860, 432, "How a request passes through the processes")
    picture.arrows()
    box(picture, 20, 30, 250, 92, "longhaul, any gRPC client", ["a prompt, or a text to score;", "prints what is streamed back"], "#f4f6f8")
    box(picture, 20, 200, 330, 152, "longhaul-coordinator", [
        "text/: tokenizer, chat form, detokenizer",
        "planner: method, partition, schedule, stages",
        "queue: who is next, by group and place",
        "errand: one request, from its prompt to its end",
        "workers: who has joined, who lives, who is lost",
        "launch: starts mpirun, and starts it again",
    ], "#eef4fb")
    for rank, y in enumerate((30, 160, 290)):
        name = f"longhaul-worker, rank {rank}" if rank < 2 else "longhaul-worker, rank n"
        box(picture, 560, y, 280, 106, name, [
            "the plan, recomputed from the choice",
            "its shard of the rows, its panels of the cache",
            "kernels; a sampler on rank 0" if rank == 0 else "kernels",
        ], "#f1f8f1")
    picture.line([(60, 122), (60, 200)], arrow=True)
    picture.text(68, 165, "Generate, Score", 11, PALE)
    picture.line([(185, 200), (185, 122)], arrow=True)
    picture.text(193, 165, "plan, progress, text", 11, PALE)
    for y in (84, 214, 344):
        picture.line([(350, 290), (450, 290), (450, y), (560, y)], arrow=True)
    picture.text(360, 282, "choice, ids", 11, PALE)
    picture.line([(560, 60), (400, 60), (400, 228), (350, 228)], arrow=True, dash="4 3")
    picture.text(362, 52, "token ids, scores (rank 0)", 11, PALE)
    for y in (136, 266):
        picture.line([(700, y), (700, y + 24)], arrow=True)
        picture.line([(720, y + 24), (720, y)], arrow=True)
        picture.text(732, y + 16, "keys, values, states", 11, PALE)
    picture.text(20, 420, "Arrows between processes are gRPC streams; between ranks, messages by MPI or NCCL. "
                          "Dashed: what rank 0 alone reports.", 11, PALE)
    picture.write("flow.svg")


if __name__ == "__main__":
    sight()
    flow()
