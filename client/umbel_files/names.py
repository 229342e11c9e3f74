"""What the name of a file tells, and how a name is shown and kept: the same for every way in."""

import re
import unicodedata

LONGEST_NAME = 1000  # characters
LONGEST_LABEL = 200
LONGEST_EXTERNAL_ID = 500

PICTURES = (
    *("jpg", "jpeg", "jpe", "jfif", "pjpeg", "mpo", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff"),
    *("heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "jpx", "jxr", "svg", "psd", "ico"),
    *("dng", "cr2", "cr3", "nef", "nrw", "arw", "raf", "orf", "rw2", "pef", "srw", "x3f"),
)
"""Suffixes by which a file means to be a picture, whatever its bytes are."""

OTHERS = (
    *("txt", "md", "log", "json", "jsonl", "xml", "html", "htm", "css", "js", "csv", "tsv", "yaml", "yml"),
    *("pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp", "rtf", "eml"),
    *("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "3gp", "mts", "m2ts", "wmv", "flv"),
    *("mp3", "m4a", "aac", "wav", "flac", "ogg", "opus", "wma"),
    *("xmp", "aae", "pp3", "lrcat", "ini", "db", "url", "lnk", "torrent", "iso", "exe", "dll", "so", "py", "pyc"),
)
"""Suffixes of other files, which lie beside pictures by the thousand and are not opened in search of one."""

LISTS = ("csv", "tsv", "jsonl", "ndjson")
LISTS_ALONE = ("txt", "json")
"""Suffixes of lists of pictures; of those that may lie beside pictures as well, and are lists only by themselves."""

_SUFFIX = re.compile(r"\.([a-z0-9]+)$", re.IGNORECASE)


def suffix(name: str) -> str:
    """The suffix of a file's name in small letters, without its dot; empty where there is none."""
    found = _SUFFIX.search(name)
    return found[1].lower() if found else ""


def has_image_suffix(name: str) -> bool:
    """Whether a file of this name is listed as a picture unopened; if it is none, reading it says so."""
    return suffix(name) in _PICTURES


def may_be_image(name: str) -> bool:
    """Whether a file of this name may be a picture. Without a picture's suffix, its first bytes tell (`kind_of`)."""
    return suffix(name) not in _OTHERS


def is_list(name: str, *, alone: bool = True) -> bool:
    """Whether a file of this name, packed or not, is a list of pictures. alone: nothing else is imported with it."""
    packed = suffix(name) in ("gz", "bz2", "xz")
    return suffix(name.rpartition(".")[0] if packed else name) in (*LISTS, *(LISTS_ALONE if alone else ()))


def normalized(text: str) -> str:
    """The form in which names and labels are kept and compared: "é" is one character, not two (NFC).

    A line ends as Unix has it: in a form, browsers send each end as two characters.
    """
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))


def printable(name: str) -> str:
    """The name as valid Unicode without NUL, normalized; of one longer than LONGEST_NAME characters, the end.

    What is not UTF-8 (surrogates, in Python) is shown as a question mark.
    """
    clean = normalized(name.encode("utf-8", "replace").decode().replace("\0", "\ufffd"))
    return clean if len(clean) <= LONGEST_NAME else "…" + clean[-(LONGEST_NAME - 1) :]


def folder_label(name: str) -> str | None:
    """The label of a picture in a folder of this name; None for no name."""
    return printable(name)[:LONGEST_LABEL] or None


_PICTURES, _OTHERS = frozenset(PICTURES), frozenset(OTHERS)
