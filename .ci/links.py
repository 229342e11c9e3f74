"""Follows the links within the repository of every Markdown file that git knows: the file, and the heading in it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)?$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//")
MADE = {"docs/index.md", "docs/reference/api.md", "docs/reference/cli.md"}  # by docs/site.py


def broken(page: Path) -> Iterator[str]:
    """What is wrong with the links of a page."""
    text = CODE.sub("", page.read_text())
    for found in LINK.finditer(text):
        link = found[1] or found[2]
        if ELSEWHERE.match(link) or link.startswith("/"):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT):
            yield f"{link} leads out of the repository"
        elif str(target.relative_to(ROOT)) in MADE:
            continue
        elif not target.exists():
            yield f"{link} leads nowhere"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{link}: there is no such heading"


@cache
def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub and MkDocs make them."""
    found: set[str] = set()
    for heading in HEADING.findall(re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        found |= {name, re.sub(r"-+", "-", name)}
    return found


def main() -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    pages = [ROOT / name for name in listed.stdout.split("\0") if name]
    wrong = [f"{page.relative_to(ROOT)}: {fault}" for page in pages if page.exists() for fault in broken(page)]
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
