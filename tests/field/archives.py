"""Archives as people's tools write them, byte by byte where the standard library writes them in one way only."""

import bz2
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STORED, DEFLATED, BZIP2, LZMA, XZ = 0, 8, 12, 14, 95
FAT, UNIX, NTFS = 0, 3, 10  # the system that an entry of a zip says it was made on
STREAMED, UTF8 = 0x8, 0x800  # flags
FILE, LINK = 0o100644 << 16, 0o120777 << 16  # attributes of Unix


@dataclass(frozen=True, slots=True)
class Zipped:
    """An entry of a zip. extra: extra fields of the directory's record; wide: with zip64 fields."""

    name: bytes
    data: bytes
    method: int = DEFLATED
    flags: int = 0
    host: int = UNIX
    attributes: int = FILE
    extra: bytes = b""
    wide: bool = False

    @property
    def packed(self) -> bytes:
        match self.method:
            case 8:
                packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
                return packer.compress(self.data) + packer.flush()
            case 12:
                return bz2.compress(self.data)
            case 14:
                alone = lzma.compress(self.data, lzma.FORMAT_ALONE)
                return b"\x09\x04\x05\x00" + alone[:5] + alone[13:]
            case 95:
                return lzma.compress(self.data)
            case _:
                return self.data

    @property
    def local(self) -> bytes:
        """The local header and what follows it up to the next entry."""
        packed, crc = self.packed, zlib.crc32(self.data)
        sizes = (len(packed), len(self.data))
        streamed = bool(self.flags & STREAMED)
        told = (0, 0, 0) if streamed else (crc, *sizes)
        extra = b""
        if self.wide:
            told = (told[0], 0xFFFFFFFF, 0xFFFFFFFF)
            extra = struct.pack("<HHQQ", 1, 16, *((0, 0) if streamed else sizes[::-1]))
        fixed = struct.pack("<5H", 45 if self.wide else 20, self.flags, self.method, 0, 0x21)
        header = b"PK\x03\x04" + fixed + struct.pack("<3L2H", *told, len(self.name), len(extra)) + self.name + extra
        behind = struct.pack("<4sL2Q" if self.wide else "<4s3L", b"PK\x07\x08", crc, *sizes) if streamed else b""
        return header + packed + behind

    def record(self, offset: int) -> bytes:
        """The directory's record."""
        sizes = (len(self.packed), len(self.data))
        extra = (struct.pack("<HH3Q", 1, 24, *sizes[::-1], offset) if self.wide else b"") + self.extra
        told = (0xFFFFFFFF,) * 3 if self.wide else (*sizes, offset)
        fixed = struct.pack("<2B5H", 20, self.host, 45 if self.wide else 20, self.flags, self.method, 0, 0x21)
        lengths = struct.pack("<5HL", len(self.name), len(extra), 0, 0, 0, self.attributes)
        crc = struct.pack("<3L", zlib.crc32(self.data), *told[:2])
        return b"PK\x01\x02" + fixed + crc + lengths + struct.pack("<L", told[2]) + self.name + extra


def zip_of(
    files: Iterable[Zipped],
    *,
    stub: bytes = b"",
    shifted: bool = False,
    signature: bytes = b"",
    gap: bytes = b"",
    comment: bytes = b"",
    behind: bytes = b"",
    disk: int = 0,
) -> bytes:
    """A zip. stub: bytes in front; shifted: its offsets count them; signature: of the directory, at its end.

    gap: bytes between the directory and its end; behind: bytes after the archive; disk: number of this volume.
    """
    data, directory, count = b"", b"", 0
    first = len(stub) if shifted else 0
    for file in files:
        directory += file.record(first + len(data))
        data += file.local
        count += 1
    directory += signature
    place = (disk, disk, count, count, len(directory), first + len(data), len(comment))
    return stub + data + directory + gap + struct.pack("<4s4H2LH", b"PK\x05\x06", *place) + comment + behind


def unicode_path(raw: bytes, name: str) -> bytes:
    """Info-ZIP's extra field with the name that `raw` stands for."""
    data = struct.pack("<BL", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


def windows(files: Mapping[str, bytes]) -> bytes:
    """As `Compress-Archive` of PowerShell 5.1 writes it: backslashes in names of MS-DOS."""
    return zip_of(
        Zipped(name.replace("/", "\\").encode(), data, host=FAT, attributes=0) for name, data in files.items()
    )


def streamed(files: Mapping[str, bytes]) -> bytes:
    """As written into a pipe: sizes of 64 bits behind the data."""
    return zip_of(Zipped(name.encode(), data, flags=STREAMED, wide=True) for name, data in files.items())


def self_extracting(files: Mapping[str, bytes]) -> bytes:
    return zip_of(plain(files), stub=b"MZ" + bytes(510))


def spanned(files: Mapping[str, bytes]) -> bytes:
    """Split into volumes of which one was enough."""
    return zip_of(plain(files), stub=b"PK00", shifted=True)


def plain(files: Mapping[str, bytes]) -> list[Zipped]:
    return [Zipped(name.encode(), data) for name, data in files.items()]


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As Python's zipfile writes it; the same bytes each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def info(name: str, size: int = 0, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tarred(*files: tuple[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    return tar_of(*((info(name, len(data)), data) for name, data in files), kind=kind)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def with_links(files: Mapping[str, bytes], links: Mapping[str, str], kind: bytes = tarfile.LNKTYPE) -> bytes:
    """A tar of files and then links, each with the name that it leads to, as `tar` writes files of several names."""
    members = [(info(name, len(data)), data) for name, data in files.items()]
    return tar_of(*members, *((info(name, type=kind, linkname=target), b"") for name, target in links.items()))
