"""`make recording`: docs/images/terminal.svg, commands of the README and what they print, on a stack of their own."""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from garden import SampleGarden
from tests.processes import UMBEL
from tests.stacks import Stack

FILE = Path(__file__).parents[1] / "docs" / "images" / "terminal.svg"
COLUMNS = 104
SPECIES, SPECIMENS = 12, 8
COMMANDS = (
    "umbel import Pictures --label-from-folder --wait",
    "umbel similar photo.jpg -k 5",
    "umbel facets label --limit 4",
    "umbel jobs list",
)
INK, PAPER = (232, 235, 230), (18, 21, 18)
ANSI = [
    (45, 51, 46),
    (255, 154, 141),
    (116, 207, 161),
    (224, 187, 80),
    (108, 168, 232),
    (240, 127, 184),
    (98, 201, 220),
    INK,
]
FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # which would be fetched from another host
THEME = TerminalTheme(PAPER, INK, ANSI, ANSI)


def main() -> int:
    stack, folder = Stack(), Path(tempfile.mkdtemp(prefix="umbel-recording-"))
    try:
        draw(folder)
        stack.umbel("up", "--detach")
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "green"), (command, "bold")))
            console.print(Text(output(command, stack, folder)), soft_wrap=True)
        shown = console.export_svg(title="umbel", theme=THEME, unique_id="umbel")
        FILE.write_text(FONTS.sub("", shown).replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas"))
    finally:
        stack.umbel("down", check=False)
        shutil.rmtree(stack.home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def draw(folder: Path) -> None:
    """A folder of pictures by what they show, and one more picture."""
    garden = SampleGarden()
    for species in range(SPECIES):
        place = folder / "Pictures" / garden.name(species)
        place.mkdir(parents=True)
        for number in range(SPECIMENS):
            (place / f"{number}.jpg").write_bytes(garden.draw(species, number))
    (folder / "photo.jpg").write_bytes(garden.draw(4, 900))


def output(command: str, stack: Stack, folder: Path) -> str:
    """What it prints, in both streams; without the progress bars of a terminal, which are drawn over and over."""
    environment = stack.environment | {"COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [*UMBEL, *command.split()[1:]],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    return done.stdout.rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
