"""The contact sheet of a dataset: one picture a case, with the outline of its mask and the name that outputs use."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.checking.findings import Thumbnail
from medgan_qa.cohorts.cohort import Case, CaseImages

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw as Draw

SIDE, GAP, CAPTION, MARGIN, COLUMNS = 176, 12, 34, 24, 6
PAPER, INK, FAINT, OUTLINE, WARN = (250, 250, 248), (32, 32, 32), (110, 110, 110), (255, 122, 0), (178, 34, 34)
_STRETCH = (0.5, 99.5)  # percentiles that are shown as black and white where the range would show an image as black


def thumbnail(case: Case, images: CaseImages) -> Thumbnail:
    """A case as pictures of at most `SIDE` pixels, with square pixels."""
    mask = images.lesion_mask
    return Thumbnail(
        name=case.case_id,
        partition=case.partition,
        image=_grey(images.image, images.spacing_mm),
        target=None if images.target is None else _grey(images.target, images.spacing_mm),
        mask=None if mask is None or not mask.any() else _scaled_mask(mask, images.spacing_mm),
    )


def _shape(shape: tuple[int, ...], spacing: tuple[float, float]) -> tuple[int, int]:
    """Rows and columns on a grid with square pixels whose longer side is `SIDE`."""
    height, width = shape[0] * spacing[0], shape[1] * spacing[1]
    scale = SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _grey(image: NDArray[np.float32], spacing: tuple[float, float]) -> NDArray[np.uint8]:
    from PIL import Image

    shown = np.moveaxis(image[:3], 0, 2) if image.shape[0] >= 3 else image[0]
    low, high = (float(v) for v in np.percentile(shown, _STRETCH))
    # The declared range is what a model sees; an image that takes up little of it is stretched to be recognised at all.
    if high - low > 0.25 or high <= low:
        low, high = 0.0, 1.0
    bytes_ = ((np.clip(shown, low, high) - low) / (high - low) * 255).astype(np.uint8)
    height, width = _shape(shown.shape, spacing)
    return np.asarray(Image.fromarray(bytes_).resize((width, height), Image.Resampling.BILINEAR))


def _scaled_mask(mask: NDArray[np.bool_], spacing: tuple[float, float]) -> NDArray[np.bool_]:
    from PIL import Image

    height, width = _shape(mask.shape, spacing)
    soft = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BILINEAR)
    # A lesion smaller than one pixel of the thumbnail still leaves one.
    return np.asarray(np.asarray(soft) > min(127, 0.6 * np.asarray(soft).max()), np.bool_)


def outlined(picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """A picture in colour with the edge of the mask drawn just outside it, so that nothing of the lesion is hidden."""
    from scipy import ndimage

    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    if mask is None or mask.shape != colour.shape[:2]:
        return colour
    drawn = colour.copy()
    drawn[ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_dilation(mask)] = OUTLINE
    return drawn


def sheet(thumbnails: Sequence[Thumbnail], title: str, lines: Sequence[str]) -> bytes:
    """All thumbnails on one page as PNG, those of one partition together.

    Args:
        thumbnails: what to show.
        title: the heading.
        lines: further lines below it.
    """
    from PIL import Image, ImageDraw

    paired = any(one.target is not None for one in thumbnails)
    per_row = max(1, COLUMNS // 2 if paired else COLUMNS)
    wide = SIDE * 2 + 2 if paired else SIDE
    ordered = {p: [one for one in thumbnails if one.partition == p] for p in ("train", "val", "test")}
    top = MARGIN + 30 + 18 * len(lines)
    heights = [26 + -(-len(some) // per_row) * (SIDE + CAPTION) for some in ordered.values() if some]
    page = Image.new("RGB", (2 * MARGIN + per_row * wide + (per_row - 1) * GAP, top + sum(heights) + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    _write(draw, (MARGIN, MARGIN - 6), title, 18, INK)
    for number, line in enumerate(lines):
        _write(draw, (MARGIN, MARGIN + 22 + 18 * number), line, 12, FAINT)
    y = top
    for partition, some in ordered.items():
        if some:
            _write(draw, (MARGIN, y), partition, 13, INK)
            for index, one in enumerate(some):
                place = MARGIN + index % per_row * (wide + GAP), y + 24 + index // per_row * (SIDE + CAPTION)
                _put(page, draw, one, place, wide)
            y += 26 + -(-len(some) // per_row) * (SIDE + CAPTION)
    out = io.BytesIO()
    page.save(out, "PNG", optimize=True)
    return out.getvalue()


def _put(page: Picture, draw: Draw, one: Thumbnail, place: tuple[int, int], wide: int) -> None:
    from PIL import Image

    x, y = place
    draw.rectangle((x, y, x + wide - 1, y + SIDE - 1), fill=(0, 0, 0))
    pictures = [one.image] if one.target is None else [one.image, one.target]
    for index, picture in enumerate(pictures):
        shown = outlined(picture, one.mask if index == len(pictures) - 1 else _same(one.mask, picture))
        left = x + index * (SIDE + 2) + (SIDE - shown.shape[1]) // 2
        page.paste(Image.fromarray(shown), (left, y + (SIDE - shown.shape[0]) // 2))
    _write(draw, (x, y + SIDE + 4), _fitted(draw, one.name, wide), 12, INK)


def _same(mask: NDArray[np.bool_] | None, picture: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    return mask if mask is not None and mask.shape == picture.shape[:2] else None


def _fitted(draw: Draw, name: str, width: int) -> str:
    """The name, shortened in its middle where it is wider than its picture."""
    font = _font(12)
    shown, kept = name, len(name)
    while kept > 6 and draw.textlength(shown, font=font) > width:
        kept -= 2
        shown = f"{name[: kept // 2]}...{name[-(kept - kept // 2) :]}"
    return shown


def _write(draw: Draw, place: tuple[int, int], text: str, size: int, colour: tuple[int, int, int]) -> None:
    draw.text(place, text, fill=colour, font=_font(size))


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
