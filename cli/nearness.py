"""What is said of a model in int8."""

from typing import Any


def nearness(card: dict[str, Any]) -> str:
    """How near its vectors are to those in float, in words. card: its own, as JSON has it."""
    made = card["quantization"]
    return (
        f"Cosine to the vectors in float, of {made['judges']:,} pictures that it did not learn from: "
        f"{made['cosine_p50']:.4f} in the median, {made['cosine_p1']:.4f} at the first percentile. "
        f"Layers that stay in float for it: {made['in_float']}."
    )
