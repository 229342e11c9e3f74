"""What the site has beyond the files of docs/: its front page is the README, its reference is made from the code.

A hook of MkDocs (see mkdocs.yml). Links that lead out of docs/, to code and figures of the checkout, become text.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
os.environ.setdefault("UMBEL_HOME", tempfile.gettempdir())
LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s#:]+)(#[^)]*)?\)")

FENCE = re.compile(r"^(```\w+) [\w ]+$", re.MULTILINE)  # words after the language are for the tests that run the code

CLI = """# Command line

::: mkdocs-click
    :module: cli.main
    :command: umbel
    :prog_name: umbel
    :depth: 1
    :style: table
    :list_subcommands: true
"""


EXAMPLES = re.compile(r"\x08\n((?:.*\S.*\n?)+)")  # a paragraph that click leaves as it is


def on_files(files: Files, config: MkDocsConfig) -> Files:
    _show_examples_as_code()
    made = {"index.md": _front_page(), "reference/api.md": _api(), "reference/cli.md": CLI}
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def _show_examples_as_code() -> None:
    """Change the help of all commands, in this process, so that Markdown keeps the lines of their examples."""
    import click  # noqa: PLC0415

    from cli.main import umbel  # noqa: PLC0415

    def change(command: click.Command) -> None:
        command.help = EXAMPLES.sub(r"```text\n\1\n```\n", f"{command.help}\n")
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                if below := command.get_command(context, name):
                    change(below)

    change(umbel)


def on_page_markdown(markdown: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    folder = Path(config.docs_dir, page.file.src_uri).parent

    markdown = FENCE.sub(r"\1", markdown)
    return LINK.sub(lambda link: _within(Path(config.docs_dir), folder, link), markdown)


def on_page_content(html: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    return html.replace("<code>Sentinel.UNSET</code>", "")  # how mkdocs-click writes that an option has no default


def _within(docs: Path, folder: Path, link: "re.Match[str]") -> str:
    """The link, if it leads to a page or picture of docs/; else its text. Screenshots may not have been made yet."""
    picture, text, target = link[1], link[2], (folder / link[3]).resolve()
    if picture and not target.exists():
        return f"*{text}*"
    if target.is_relative_to(docs) or not target.is_relative_to(ROOT):
        return link[0]
    return f"{text} (`{target.relative_to(ROOT)}`)"


def _front_page() -> str:
    readme = (ROOT / "README.md").read_text()
    return LINK.sub(lambda link: _within(ROOT / "docs", ROOT, link), readme).replace("](docs/", "](")


def _api() -> str:
    from api import create_app  # noqa: PLC0415 - the settings come first
    from api.specification import operations  # noqa: PLC0415

    spec = create_app().spec
    lines = ["# API\n", "A running service shows each in full at `/docs`, and OpenAPI at `/openapi.json`."]
    for tag in spec["tags"]:
        lines.append(f"\n## {tag['name']}\n\n{tag['description']}\n")
        lines.append("| request | | scope of the key |\n|---|---|---|")
        for path, method, operation in operations(spec):
            if tag["name"] in operation["tags"]:
                lines.append(f"| `{method.upper()} {path}` | {operation['summary']} | {operation.get('x-scope', '')} |")
    return "\n".join(lines)
