"""Text of users, such as file names and labels, made safe to show: a terminal obeys some characters."""

import re

# C0 and C1 controls (ESC begins colours, titles and worse), line and paragraph separators, the bidirectional overrides
# that let a name read as another one, and bytes of a file name that are no UTF-8, which no terminal can be sent.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: object) -> str:
    r"""The text with such characters as escapes (`\x1b`, `\n`, `\u202e`), and all others as they are."""
    return _OBEYED.sub(lambda match: _escape(match[0]), str(text))


def _escape(character: str) -> str:
    byte = ord(character) - 0xDC00  # as os.fsdecode keeps a byte that is no UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(character)[1:-1]
