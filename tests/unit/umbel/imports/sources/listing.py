"""Looking at what a source lists."""

from umbel.imports.sources import Entry, Skipped, Source


def taken(source: Source) -> list[str]:
    """Names of the entries that can be read."""
    return [each.name for each in source.entries() if isinstance(each, Entry) and each.rejected is None]


def rejected(source: Source) -> dict[str, str]:
    """Names of the refused entries, each with its code."""
    return {each.name: each.rejected.code for each in source.entries() if isinstance(each, Entry) and each.rejected}


def skipped(source: Source) -> list[str]:
    return [each.name for each in source.entries() if isinstance(each, Skipped)]


def contents(source: Source) -> dict[str, bytes]:
    """The bytes of every entry that can be read, fetched from the locators alone, last one first."""
    entries = [each for each in source.entries() if isinstance(each, Entry) and each.rejected is None]
    return {each.name: source.read(each.locator) for each in reversed(entries)}


def assert_resumes(source: Source) -> None:
    """Behind every single position, the listing goes on with exactly what is left."""

    def shown(after: str | None = None) -> list[tuple[object, ...]]:
        return [
            (each.position, each.name, getattr(each, "locator", None), str(getattr(each, "rejected", "")))
            for each in source.entries(after)
        ]

    whole = shown()
    for number, (position, *_) in enumerate(whole):
        assert shown(str(position)) == whole[number + 1 :]
