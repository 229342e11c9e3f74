"""What a decoder may take of a machine's or a container's memory."""

import pytest

from umbel.base.settings import Settings
from umbel.decoding.limits import DecoderLimits


@pytest.mark.parametrize(
    ("memory", "expected"),
    [(2**40, 2**31), (2 * 2**30, 3 * 2**29), (2**30, 3 * 2**28), (2**28, 2**28), (2**20, 2**28)],
)
def test_a_quarter_is_left_to_others(memory: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.decoding.limits.memory", lambda: memory)
    assert DecoderLimits.of(Settings()).decode_memory == expected
    assert DecoderLimits.of(Settings(decode_memory=2**29)).decode_memory == 2**29


def test_less_than_a_decoder_needs_is_refused() -> None:
    with pytest.raises(ValueError, match="256 MiB or more"):
        Settings(decode_memory=2**27)
