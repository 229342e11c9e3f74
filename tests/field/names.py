"""Names that files have, and what lies beside pictures."""

import os
import unicodedata
from pathlib import Path

from tests.field.inputs import jpeg

WHOLE = (
    "plain.jpg",
    " leading space.jpg",
    "trailing space .jpg",
    "trailing dot..jpg",
    "two  spaces.jpg",
    "-rf.jpg",
    "--help.jpg",
    "=SUM(1,2).jpg",
    "+cmd.jpg",
    "@user.jpg",
    "semi;colon, comma.jpg",
    'quote".jpg',
    "a'b`$(id).jpg",
    "<img src=x onerror=alert(1)>.jpg",
    "100%25 plus+ %zz.jpg",
    "question?mark#hash&and.jpg",
    "star*[a-z]{b,c}.jpg",
    "roll [/b] [red] :rose:.jpg",
    "pipe|colon:tilde~.jpg",
    "con.jpg",
    "UPPER.JPG",
    "emoji \N{WOMAN}\N{ZERO WIDTH JOINER}\N{EAR OF RICE}\N{REGIONAL INDICATOR SYMBOL LETTER S}.jpg",
    "right to left \N{RIGHT-TO-LEFT OVERRIDE}gpj.jpg",
    "日本語の写真.jpg",
    "عكس.jpg",
    "new\nline.jpg",
    "carriage\rreturn.jpg",
    "tab\tand \x07bell.jpg",
    "\x1b[31mred\x1b]0;owned\x07.jpg",
    "delete\x7f and c1 \x9b.jpg",
    "nul sign \N{SYMBOL FOR NULL}.jpg",
    "a" * 251 + ".jpg",
    "é" * 125 + ".jpg",  # 254 bytes
    "\N{PARTY POPPER}" * 62 + ".jpg",  # 252 bytes
)
"""Names that come back as they are. All are of at most 255 bytes, in Unicode's composed form."""

DECOMPOSED = tuple(unicodedata.normalize("NFD", name) for name in ("Zürich.jpg", "Ångström é.jpg", "が.jpg"))
"""As macOS writes them; they come back composed."""

NO_UNICODE = (b"h\xf6he.jpg", b"caf\xe9/1.jpg", b"\x83\x5c.jpg", b"half of a pair \xed\xa0\x80.jpg")
"""Latin-1, Shift-JIS (its second byte is a backslash), an encoded surrogate: shown with what is no UTF-8 replaced."""

BESIDE = (
    "@eaDir/{name}/SYNOPHOTO_THUMB_XL.jpg",
    "@eaDir/{name}@SynoEAStream",
    "#recycle/{name}",
    "#snapshot/GMT-2026.01.01/{name}",
    "$RECYCLE.BIN/$R1.jpg",
    "System Volume Information/{name}",
    "@Recycle/{name}",
    ".@__thumb/default{name}",
    "__MACOSX/._{name}",
    ".Trashes/501/{name}",
    ".Trash-1000/files/{name}",
    ".stversions/{name}",
    ".thumbnails/normal/{name}",
    "._{name}",
    ".hidden.jpg",
    "Thumbs.db",
    "desktop.ini",
    ".DS_Store",
    "album/@eaDir/{name}/SYNOPHOTO_THUMB_M.jpg",
    "album/.picasaoriginals/{name}",
    "Mac.photoslibrary/resources/derivatives/{name}",
    "half of {name}.crdownload",
)
"""What storage devices, systems and programs keep beside a picture `name`: skipped, though some are pictures."""


MEANT = ("IMG_0.JPG", "IMG_1.JPG", "IMG_2.JPG", "album/IMG_9.JPG")


def share(folder: Path) -> None:
    """A share of a storage device below `folder`: the pictures MEANT, and litter."""
    for number, name in enumerate(MEANT):
        write(folder / name, jpeg(4000 + number))
    for number, pattern in enumerate(BESIDE):
        write(folder / pattern.format(name="IMG_0.JPG"), jpeg(4100 + number))


def named(folder: Path, *names: str | bytes, seed: int = 4200) -> None:
    """A small picture under each name."""
    for number, name in enumerate(names):
        write(Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name)))), jpeg(seed + number))


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
