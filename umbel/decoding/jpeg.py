"""The segments of a JPEG: whether it will decode to its end. No pixel is decoded.

Source: ITU-T T.81, annex B (syntax) and C (Huffman tables).
"""

import re

SOI, EOI, SOS, DQT, DHT = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4
PROGRESSIVE = 0xC2
FRAMES = (0xC0, 0xC1, PROGRESSIVE)  # with Huffman codes; of the others decoders know few
OTHER_FRAMES = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic-coded"),
}

HEADERS = 2**16  # bytes in which the frame is looked for, when a file could not be decoded

# In the coded pixels 0xFF is followed by 0 or belongs to RSTn; anything else is the next segment.
_NEXT = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # begins with one byte, for which re searches fastest
_HERE = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


def will_decode(data: bytes) -> bool:
    """Whether frame, tables, scans and the end are there and such that no decoder refuses them."""
    at, scans = 2, 0
    frame: tuple[int, bytes] | None = None
    tables: set[int] = set()  # Huffman's: class × 16 + number
    factors: set[int] = set()  # quantization's
    while found := _NEXT.search(data, at) if scans else _HERE.match(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker == EOI:
            return scans > 0
        length = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + length]
        if length < 2 or at + length > len(data) or marker in (SOI, *OTHER_FRAMES):
            return False
        if marker in FRAMES:
            if frame or not _is_frame(body):
                return False
            frame = (marker, body)
        elif marker == DHT:
            if not _add_tables(body, tables):
                return False
        elif marker == DQT:
            _add_factors(body, factors)
        elif marker == SOS:
            if not (frame and _is_scan(body, *frame, tables, factors)):
                return False
            scans += 1
        at += length
    return False


def mended(data: bytes) -> tuple[bytes, bool]:
    """The picture without junk between segments, and without segments that only describe it, badly; with an end.

    Returns it with whether the end was missing. Raises ValueError if it has no pixels at all.
    """
    parts, pixels, at, coded, whole = [data[:2]], 0, 2, False, False
    while found := _NEXT.search(data, at):
        if coded:
            parts.append(data[at : found.start()])
            pixels += found.start() - at
            coded = False
        marker, at = data[found.end() - 1], found.end()
        if marker == EOI and pixels:
            whole = True
            break
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in (SOI, EOI) or length < 2:
            continue
        if at + length > len(data):
            break
        if _is_needed(marker, data[at + 2 : at + length]):
            parts.append(data[found.start() : at + length])
        coded = marker == SOS
        at += length
    if coded:
        parts.append(data[at:])
        pixels += len(data) - at
    if not pixels:
        raise ValueError("it ends before its pixels begin")
    return b"".join((*parts, b"\xff\xd9")), not whole


def _is_needed(marker: int, body: bytes) -> bool:
    """Whether a segment is part of the picture, or says something of it that is read: EXIF, profile, kind of color."""
    if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
        return True
    known = {0xE0: (b"JFIF\0", 14), 0xE1: (b"Exif\0", 6), 0xE2: (b"ICC_PROFILE\0", 14), 0xEE: (b"Adobe", 12)}
    start, least = known.get(marker, (b"", 2**16))
    return body.startswith(start) and len(body) >= least


def unusual_coding(data: bytes) -> str | None:
    """How the pixels are coded, in words, if few decoders know it; None for what is usual."""
    for found in re.finditer(rb"\xff([\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf])..(.)", data[:HEADERS], re.DOTALL):
        marker, bits = found[1][0], found[2][0]
        if marker in OTHER_FRAMES:
            return OTHER_FRAMES[marker]
        if bits != 8:
            return f"{bits}-bit"
    return None


def _is_frame(body: bytes) -> bool:
    """Eight bits, one, three or four components, each of a plausible sampling."""
    if len(body) < 6 or body[0] != 8 or body[5] not in (1, 3, 4) or len(body) != 6 + 3 * body[5]:
        return False
    factors = body[7::3]
    return all(1 <= each >> 4 <= 4 and 1 <= each & 15 <= 4 for each in factors)


def _add_tables(body: bytes, tables: set[int]) -> bool:
    """Whether Huffman tables, whose numbers are added, have no more codes of a length than there are bits for.

    Those of direct currents (class 0) are for numbers of bits, of which there are at most 15.
    """
    at = 0
    while at + 17 <= len(body):
        counts = body[at + 1 : at + 17]
        room = 1
        for count in counts:
            room = 2 * room - count
            if room < 0:
                return False
        end = at + 17 + sum(counts)
        if sum(counts) > 256 or (body[at] < 16 and max(body[at + 17 : end], default=0) > 15):
            return False
        tables.add(body[at])
        at = end
    return at == len(body)


def _add_factors(body: bytes, factors: set[int]) -> None:
    at = 0
    while at < len(body):
        factors.add(body[at] & 15)
        at += 1 + 64 * (1 + (body[at] >> 4))


def _is_scan(body: bytes, kind: int, frame: bytes, tables: set[int], factors: set[int]) -> bool:
    """Whether a scan is of components of the frame, and all tables are there that it needs."""
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        return False
    known = dict(zip(frame[6::3], frame[8::3], strict=True))  # number of its quantization, by component
    first, last, before, shift = body[-3], body[-2], body[-1] >> 4, body[-1] & 15
    if kind == PROGRESSIVE:
        band = last == 0 if first == 0 else first <= last <= 63 and count == 1
        if not band or shift > 13 or (before and before != shift + 1):
            return False
    for component, numbers in zip(body[1:-3:2], body[2:-3:2], strict=True):
        direct, alternating = numbers >> 4, 16 + (numbers & 15)
        needed = {direct, alternating}
        if kind == PROGRESSIVE:
            needed = {alternating} if first else set() if before else {direct}
        if known.get(component) not in factors or not needed <= tables:
            return False
    return True
