"""What the name of a file says: whether it is safe to use, and whether it may be a picture's."""

import re
from urllib.parse import quote, unquote

LONGEST = 1000  # characters of a name that is kept for people

IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
ARCHIVES = (
    *(".zip", ".7z", ".rar", ".cab", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"),
    *(".gz", ".bz2", ".xz", ".zst", ".lz", ".lz4", ".lzma"),
)
ARCHIVE_MAGIC = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf",
    b"Rar!",
    b"(\xb5/\xfd",
)

_DRIVE = re.compile(r"^.:")  # Windows takes any character for one
# A longer or stranger tail is a part of the name: "portrait.by Anna", "holiday.2024".
_SUFFIX = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,8}$")


def unsafe(name: str) -> str | None:
    """Why this path must not be followed inside a folder, bucket or archive; None if it may."""
    if not name or "\0" in name:
        return "is empty or contains a NUL character"
    if name.startswith("/"):
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has empty, . or .. parts"
    return None


def unsafe_in_archive(name: str) -> str | None:
    """The same, where the archive may come from Windows or pretend to."""
    if "\\" in name:
        return "contains a backslash"
    if _DRIVE.match(name):
        return "begins with a drive"
    return unsafe(name.removeprefix("./"))  # as `tar -cf x.tar .` writes them


def hidden(name: str) -> bool:
    """Whether a part of the path is hidden, or belongs to what macOS adds to its archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.removeprefix("./").split("/"))


def has_image_suffix(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def may_be_image(name: str) -> bool:
    """Whether nothing in the name speaks against a picture: a picture's suffix, or none at all."""
    return has_image_suffix(name) or not _SUFFIX.search(name)


def is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def starts_as_archive(data: bytes) -> bool:
    return data.startswith(ARCHIVE_MAGIC) or data[257:262] == b"ustar"


def printable(name: str) -> str:
    """A name that people can be shown and a database can keep. Of one that is too long, the end."""
    clean = name.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return clean if len(clean) <= LONGEST else "…" + clean[-(LONGEST - 1) :]


def quoted(path: str) -> str:
    """A path as ASCII, also one whose bytes are no UTF-8. Undone by `unquoted`."""
    return quote(path, errors="surrogateescape")


def unquoted(locator: str) -> str:
    return unquote(locator, errors="surrogateescape")
