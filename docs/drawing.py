"""`make drawings`: docs/images/architecture.svg, which docs/architecture.md shows. What is drawn is below, in words."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

FILE = Path(__file__).parent / "images" / "architecture.svg"
WIDTH, HEIGHT = 960, 500
LINE = 17  # pixels between lines of text


@dataclass(frozen=True)
class Box:
    """A process (ours), a store, or what lies outside; left, top, width, height in pixels."""

    name: str
    lines: tuple[str, ...]
    place: tuple[int, int, int, int]
    kind: str

    def svg(self) -> str:
        left, top, width, height = self.place
        middle = left + width / 2
        first = top + height / 2 - len(self.lines) * LINE / 2 + 5
        texts = [f'<text class="name" x="{middle:g}" y="{first:g}">{escape(self.name)}</text>']
        texts += [
            f'<text x="{middle:g}" y="{first + LINE * n:g}">{escape(line)}</text>'
            for n, line in enumerate(self.lines, 1)
        ]
        frame = f'<rect class="{self.kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="10"/>'
        return "\n".join([frame, *texts])


@dataclass(frozen=True)
class Arrow:
    """From point to point to its head; label: lines around a point."""

    points: tuple[tuple[int, int], ...]
    label: tuple[str, ...]
    at: tuple[int, int]
    anchor: str = "middle"

    def svg(self) -> str:
        way = " L".join(f"{x} {y}" for x, y in self.points)
        x, y = self.at
        texts = [
            f'<text class="label {self.anchor}" x="{x}" y="{y + LINE * n}">{escape(line)}</text>'
            for n, line in enumerate(self.label)
        ]
        return "\n".join([f'<path d="M{way}" marker-end="url(#head)"/>', *texts])


BOXES = (
    Box("Callers", ("the page, umbel,", "Python, JavaScript,", "curl, cameras"), (20, 170, 150, 110), "outside"),
    Box("api", ("keys, limits, routes", "decoders: child processes"), (290, 170, 190, 110), "process"),
    Box(
        "Postgres",
        ("jobs and items: the ledger", "images, labels, events", "vectors, by HNSW (pgvector)"),
        (250, 370, 270, 110),
        "store",
    ),
    Box("Blob store", ("pictures, thumbnails, models;", "workers read it, too"), (275, 20, 220, 80), "store"),
    Box("Redis", ("wake-ups, rate limits;", "nothing that counts"), (590, 185, 180, 80), "store"),
    Box(
        "worker",
        ("claims, embeds, compares", "the model: one process", "decoders: child processes"),
        (590, 370, 190, 110),
        "process",
    ),
    Box("scheduler", ("the sweep, again and again",), (585, 20, 190, 80), "process"),
    Box("Webhooks", ("receivers", "of events"), (820, 185, 120, 80), "outside"),
)
ARROWS = (
    Arrow(((170, 210), (288, 210)), ("HTTP",), (229, 202)),
    Arrow(((290, 240), (172, 240)), ("events (SSE)",), (229, 258)),
    Arrow(((385, 170), (385, 102)), ("bytes",), (395, 141), "start"),
    Arrow(((345, 280), (345, 368)), ("image, job, item:", "one transaction"), (335, 320), "end"),
    Arrow(((425, 370), (425, 282)), ("matches, progress",), (435, 330), "start"),
    Arrow(((480, 225), (588, 225)), ("wake-up",), (534, 217)),
    Arrow(((680, 265), (680, 368)), ("wake-up",), (690, 322), "start"),
    Arrow(((520, 405), (588, 405)), ("claim",), (555, 397)),
    Arrow(((590, 445), (522, 445)), ("vectors,", "outcomes"), (555, 463)),
    Arrow(((680, 100), (680, 183)), ("wakes what waits",), (690, 147), "start"),
    Arrow(((780, 425), (880, 425), (880, 267)), ("signed, until taken",), (870, 330), "end"),
)
STYLE = """
  text { font: 13px system-ui, "DejaVu Sans", sans-serif; text-anchor: middle; fill: #1a1f1b; }
  rect { stroke-width: 1.5; }
  .start { text-anchor: start; } .end { text-anchor: end; }
  .name { font-size: 15px; font-weight: 600; } .label { font-size: 12px; fill: #5a645d; }
  .paper { fill: #fbfaf6; stroke: none; } .process { fill: #e4efe8; stroke: #1d6a49; }
  .store { fill: #fff; stroke: #8a928b; } .outside { fill: none; stroke: #8a928b; stroke-dasharray: 5 4; }
  path { fill: none; stroke: #5a645d; stroke-width: 1.5; } #head path { fill: #5a645d; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e8ebe6; } .label { fill: #a1aca4; } .paper { fill: #121512; }
    .process { fill: #1d3328; stroke: #74cfa1; } .store { fill: #1b1f1c; stroke: #6d7770; }
    .outside { stroke: #6d7770; } path { stroke: #a1aca4; } #head path { fill: #a1aca4; }
  }
"""


def drawing() -> str:
    """The picture as SVG."""
    described = (
        "Callers ask the api; it keeps jobs, images and vectors in Postgres and bytes in the blob store, and wakes"
    )
    described += " workers through Redis, which claim from Postgres and store vectors and outcomes there."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(described)}</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 Z"/></marker></defs>',
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="14"/>',
        *(one.svg() for one in (*BOXES, *ARROWS)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    FILE.write_text(drawing())
