"""Pictures by the ten thousand, for benchmarks that need more than they can draw."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 224
SPECIES, EACH = 12, 2


def draw(folder: Path, count: int, *, by_species: bool = False) -> None:
    """`count` different JPEGs: crops of drawn flowers, with a grain of their own each.

    In folders of a thousand or, by_species, in one for each of the species.
    """
    from garden import draw_garden  # noqa: PLC0415

    flowers = [
        np.asarray(Image.open(path)) for path in draw_garden(folder / "drawn", species=SPECIES, per_species=EACH)
    ]

    def one(number: int) -> None:
        rng = np.random.default_rng(number)
        which = int(rng.integers(len(flowers)))
        flower = flowers[which]
        left, top = rng.integers(0, 1 + np.array(flower.shape[:2]) // 8)
        image = flower[top:, left:].astype(np.int16) + rng.integers(-6, 7, (1, 1, 3), np.int16)
        place = f"species {which // EACH}" if by_species else f"{number // 1000:03}"
        path = folder / place / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        small = Image.fromarray(image.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE))
        small.putpixel((number % SIDE, number // SIDE % SIDE), (255, 0, number % 251))
        small.save(out, "JPEG", quality=85, comment=str(number).encode())
        path.write_bytes(out.getvalue())

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(count)))
