"""How often text in the pixels is found, and seen where there is none: `python -m benchmarks.burned_in`.

Brain phantoms in three contrasts and sizes, half with one line of text drawn into a corner in sizes and brightnesses
that scanners and viewers use, half as they are. Counts, not estimates: the images are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medgan_qa import rng
from medgan_qa.cohorts.checking.burned_in import text_rows
from medgan_qa.cohorts.phantom import draw_cohort
from medgan_qa.cohorts.phantom_render import render

LINES = ("DOE^JOHN 19481203", "St. Mary Hospital", "ID 0815-4711 M 067Y", "Se: 3 Im: 17/32", "12-Mar-2024 10:22:31")
SIZES, HEIGHTS, BRIGHTNESS = (128, 256, 512), (8, 10, 14), (1.0, 0.8)
CONTRASTS = ("T1", "FLAIR", "CT")


def with_text(image: NDArray[np.float32], line: str, height: int, level: float, corner: int) -> NDArray[np.float32]:
    """An image in unit range with one line of text in one of its four corners."""
    picture = Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(height)
    left, top, right, bottom = draw.textbbox((0, 0), line, font=font)
    rows, columns = image.shape
    x = 3 if corner % 2 == 0 else max(3, columns - 3 - int(right - left))
    y = 3 if corner < 2 else rows - 5 - int(bottom - top)
    draw.text((x, y - top), line, fill=round(255 * level), font=font)
    return np.asarray(picture, np.float32) / np.float32(255)


def phantoms(number: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Slices in turn of every contrast and size, with their size."""
    specs = draw_cohort(20181, "test", -(-number // 2))[:number]
    for index, spec in enumerate(specs):
        size = SIZES[index % len(SIZES)]
        yield size, render(spec, CONTRASTS[index // len(SIZES) % len(CONTRASTS)], size)


def count(number: int = 240, seed: int = 0) -> dict[str, Counter[int]]:
    """Hits and false alarms by size of the image: `text`, `found`, `plain`, `false`."""
    g = rng.child(seed, "burned-in text")
    counts: dict[str, Counter[int]] = {name: Counter() for name in ("text", "found", "plain", "false")}
    for size, image in phantoms(number):
        line, height = LINES[g.integers(len(LINES))], int(g.choice(HEIGHTS))
        written = with_text(image, line, height, float(g.choice(BRIGHTNESS)), int(g.integers(4)))
        counts["text"][size] += 1
        counts["found"][size] += bool(text_rows(written))
        counts["plain"][size] += 1
        counts["false"][size] += bool(text_rows(image))
    return counts


def main() -> None:
    """Print one line a size."""
    counts = count()
    for size in SIZES:
        found, text = counts["found"][size], counts["text"][size]
        false, plain = counts["false"][size], counts["plain"][size]
        print(f"{size} x {size}: {found} of {text} with text found, {false} of {plain} without it flagged")


if __name__ == "__main__":
    main()
