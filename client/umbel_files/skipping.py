"""What lies beside pictures and is never meant to be one: trash, snapshots, thumbnails that programs keep."""

import re

FOLDERS = (
    "__MACOSX",  # in zips made by macOS
    "@eaDir",  # Synology: thumbnails
    "#recycle",  # Synology and QNAP: trash
    "#snapshot",
    "@Recycle",
    "@Recently-Snapshot",
    ".@__thumb",  # QNAP: thumbnails
    "$RECYCLE.BIN",  # Windows: trash
    "RECYCLER",
    "System Volume Information",
    "lost+found",
    "~snapshot",  # NetApp
    ".snapshot",
    ".stversions",  # Syncthing: earlier versions
    ".stfolder",
    ".Trash",
    ".thumbnails",
)
FILES = ("Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".DS_Store", "Icon\r")

_FOLDERS = frozenset(name.casefold() for name in FOLDERS)
_FILES = frozenset(name.casefold() for name in FILES)
_NUMBERED_TRASH = re.compile(r"\.trash(es|-\d+)$", re.IGNORECASE)


def skipped_folder(name: str) -> bool:
    """Whether what lies in a folder of this name is passed over. Hidden folders are: people hide what is not theirs."""
    return name.startswith(".") or name.casefold() in _FOLDERS or bool(_NUMBERED_TRASH.match(name))


def skipped_file(name: str) -> bool:
    """Whether a file of this name is passed over, whatever it holds; `._x.jpg` is what macOS keeps beside `x.jpg`."""
    return name.startswith(".") or name.casefold() in _FILES


def skipped_path(path: str) -> bool:
    """As the two above, of a path with slashes, relative to what is imported."""
    *folders, name = path.removeprefix("./").split("/")
    return skipped_file(name) or any(map(skipped_folder, folders))
