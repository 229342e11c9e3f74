"""docs/settings.md, written from the settings themselves: `python -m umbel.base.describe > docs/settings.md`."""

from umbel.base.settings import Settings

HEAD = """# Settings

Every setting is an environment variable. Unset, the default suits one machine: `umbel up` then runs its own Postgres
and Redis below `UMBEL_HOME`. Set but empty counts as unset; spaces, line ends and quotes around a value are left out;
numbers of bytes may have a unit (`20MB`, `20MiB`). A value that cannot be used is told in one line before anything
starts, and a variable that is nearly the name of a setting is warned of. This page is written from
`umbel/base/settings.py`; a test fails when it is stale.

| variable | default | meaning |
|---|---|---|
"""


def settings_page() -> str:
    """The page as Markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `UMBEL_{name.upper()}` | {default} | {field.description} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    print(settings_page(), end="")
