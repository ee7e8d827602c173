"""The simulated radiologist: sees the truth and a mask, and draws strokes where they differ. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .regions import Bool, Box, bounding_box, components, depth_mm, distance_mm, extent_mm

HANDS = ("line", "dots", "outline", "careless")
SMALLEST_MM3 = 10.0  # a wrong region below this (8 voxels of 0.5 x 0.5 x 5 mm) is not worth a stroke to a radiologist
LONGEST_MM = 60.0  # a hand does not draw further in one go
BESIDE_MM = (5.0, 15.0)  # how far from the lesion the first background stroke lies
SLIP_MM = (1.0, 3.0)  # how far a careless hand runs over the border
TURNS = np.deg2rad(np.array([0.0, -15.0, 15.0, -30.0, 30.0, -50.0, 50.0]))  # from one step to the next
STRAIGHTNESS = np.abs(TURNS) * 0.3  # what a turn costs, in units of the region's greatest depth
CURL = np.deg2rad(120.0)  # a hand that has turned so far from where it set off stops
LOCAL_MM = 10.0  # the hand sees this much of a region when it sets off

Spacing = tuple[float, float, float]
Points = NDArray[np.float64]  # (n, 2) row, column in mm


@dataclass(frozen=True)
class Style:
    """How one stroke is drawn: the hand, and the diameter of its brush in mm."""

    hand: str
    brush_mm: float


def strokes(
    truth: Bool,
    mask: Bool,
    spacing_mm: Spacing,
    rng: np.random.Generator,
    *,
    hand: str = "line",
    brush_mm: float = 2.0,
    axis: int = 0,
    greedy: bool = False,
    beside: float = 0.0,
    brain: Bool | None = None,
) -> tuple[Bool, Bool]:
    """At most one foreground stroke in what the mask misses and one background stroke in what it has too much.

    Each lies on one slice, inside the connected region it corrects (a careless hand slips 1-3 mm over its border),
    and is never longer than that region. Nothing wrong above SMALLEST_MM3: no stroke of that kind.

    Args:
        truth, mask: (D, H, W) bool.
        spacing_mm: (z, y, x).
        rng: everything random comes from it: the same state gives the same strokes.
        hand: one of HANDS, or "any" for a random one per stroke.
        brush_mm: greatest brush diameter; each stroke takes 0.5-1 of it.
        axis: strokes lie on slices across this axis: 0 the acquisition's own, 1 and 2 reformatted planes.
        greedy: always the largest wrong region, on its largest slice; else both are drawn by size.
        beside: while the mask is empty, the probability of a background stroke 5-15 mm beside the lesion.
        brain: (D, H, W) bool, where such a stroke may lie; None: anywhere.

    Returns:
        foreground, background: (D, H, W) bool, never overlapping, either may be empty.

    Raises:
        ValueError: shapes that differ, an unknown hand, a brush that is not positive.
    """
    _check(truth, mask, hand, brush_mm)
    turned = tuple(np.moveaxis(array, axis, 0) for array in (truth, mask))
    spacing = _turned(spacing_mm, axis)
    foreground, background = np.zeros_like(turned[0], bool), np.zeros_like(turned[0], bool)
    _correct(foreground, turned[0] & ~turned[1], spacing, rng, _style(hand, brush_mm, rng), greedy)
    if mask.any():
        _correct(background, turned[1] & ~turned[0], spacing, rng, _style(hand, brush_mm, rng), greedy)
    elif foreground.any() and rng.random() < beside:
        allowed = ~turned[0] if brain is None else np.moveaxis(brain, axis, 0) & ~turned[0]
        _draw_beside(foreground, background, turned[0], allowed, spacing, rng, _style(hand, brush_mm, rng))
    background &= ~foreground
    painted = (np.ascontiguousarray(np.moveaxis(stroke, 0, axis)) for stroke in (foreground, background))
    return next(painted), next(painted)


def paper_points(
    truth: Bool, rng: np.random.Generator, per_class: tuple[int, int] = (3, 7), brain: Bool | None = None
) -> tuple[Bool, Bool]:
    """The paper's scribbles: 3-7 random points of each class on every slice with lesion.

    Args:
        truth: (D, H, W) bool.
        per_class: fewest and most points per class and slice.
        brain: (D, H, W) bool, where background points may lie; None: anywhere outside the lesion.

    Returns:
        foreground, background: (D, H, W) bool, single voxels.
    """
    foreground, background = np.zeros_like(truth, bool), np.zeros_like(truth, bool)
    for index in np.flatnonzero(truth.any(axis=(1, 2))):
        outside = ~truth[index] if brain is None else brain[index] & ~truth[index]
        for painted, where in ((foreground, truth[index]), (background, outside)):
            pixels = np.flatnonzero(where)
            count = min(int(rng.integers(per_class[0], per_class[1] + 1)), pixels.size)
            painted[index].reshape(-1)[rng.choice(pixels, count, replace=False)] = True
    return foreground, background


def add_strokes(foreground: Bool, background: Bool, new_foreground: Bool, new_background: Bool) -> tuple[Bool, Bool]:
    """All strokes so far with a round's new ones: the newest wins where they overlap."""
    return (foreground & ~new_background) | new_foreground, (background & ~new_foreground) | new_background


def _check(truth: Bool, mask: Bool, hand: str, brush_mm: float) -> None:
    if truth.shape != mask.shape:
        raise ValueError(f"truth is {truth.shape}; the mask is {mask.shape}")
    if truth.dtype != bool or mask.dtype != bool:
        raise ValueError(f"truth is {truth.dtype} and mask is {mask.dtype}; both must be bool")
    if hand not in (*HANDS, "any"):
        raise ValueError(f"hand is {hand!r}; it must be one of {', '.join(HANDS)}, any")
    if not brush_mm > 0:
        raise ValueError(f"brush_mm is {brush_mm}; it must be positive")


def _turned(spacing_mm: Spacing, axis: int) -> Spacing:
    rows, columns = (spacing_mm[other] for other in range(3) if other != axis)
    return (spacing_mm[axis], rows, columns)


def _style(hand: str, brush_mm: float, rng: np.random.Generator) -> Style:
    chosen = str(rng.choice(HANDS, p=(0.55, 0.15, 0.15, 0.15))) if hand == "any" else hand
    return Style(chosen, brush_mm * float(rng.uniform(0.5, 1.0)))


def _correct(
    painted: Bool, wrong: Bool, spacing: Spacing, rng: np.random.Generator, style: Style, greedy: bool
) -> None:
    """Paint one stroke into `painted`, inside one connected part of `wrong`."""
    box = bounding_box(wrong)
    if box is None:
        return
    found = _choose(wrong[box], spacing, rng, greedy)
    if found is None:
        return
    index, region = found
    _paint(painted[box[0].start + index], box[1:], region, spacing[1:], rng, style)


def _choose(wrong: Bool, spacing: Spacing, rng: np.random.Generator, greedy: bool) -> tuple[int, Bool] | None:
    """A slice, and the part of a wrong 3D component on it, (H, W) bool."""
    labels, sizes = components(wrong)
    sizes = np.where(sizes * np.prod(spacing) >= SMALLEST_MM3, sizes, 0)
    if not sizes.any():
        return None
    chosen = _pick(sizes, rng, greedy)
    component = labels == chosen + 1
    areas = component.sum(axis=(1, 2))
    index = _pick(np.where(areas * 2 >= areas.max(), areas, 0), rng, greedy)
    parts, part_sizes = components(component[index])
    return index, parts == _pick(part_sizes, rng, greedy) + 1


def _pick(sizes: NDArray[np.int64], rng: np.random.Generator, greedy: bool) -> int:
    return int(np.argmax(sizes)) if greedy else int(rng.choice(sizes.size, p=sizes / sizes.sum()))


def _draw_beside(
    foreground: Bool,
    background: Bool,
    truth: Bool,
    allowed: Bool,
    spacing: Spacing,
    rng: np.random.Generator,
    style: Style,
) -> None:
    """A background stroke 5-15 mm beside the lesion on the slice that has the foreground stroke."""
    index = int(np.flatnonzero(foreground.any(axis=(1, 2)))[0])
    margin = int(np.ceil(BESIDE_MM[1] / min(spacing[1:])))
    box = bounding_box(truth[index], margin)
    if box is None:
        return
    away = distance_mm(truth[index][box], spacing[1:], BESIDE_MM[1])
    ring = allowed[index][box] & (away >= BESIDE_MM[0]) & (away <= BESIDE_MM[1])
    parts, sizes = components(ring)
    if sizes.size and sizes.max() * spacing[1] * spacing[2] >= SMALLEST_MM3:
        length = extent_mm(truth[index][box], spacing[1:])
        region = parts == _pick(sizes, rng, False) + 1
        careful = Style("line" if style.hand == "careless" else style.hand, style.brush_mm)
        _paint(background[index], box, region, spacing[1:], rng, careful, longest_mm=length)


def _paint(
    plane: Bool,
    box: Box,
    region: Bool,
    pixel_mm: tuple[float, float],
    rng: np.random.Generator,
    style: Style,
    longest_mm: float = np.inf,
) -> None:
    """Paint one stroke of the given style for `region`, which fills `box` of the slice `plane`."""
    margin = int(np.ceil((SLIP_MM[1] + style.brush_mm) / min(pixel_mm)))
    region = np.pad(region, margin)
    path = _path(region, pixel_mm, rng, style, longest_mm)
    pixels = np.round(path / pixel_mm).astype(int)
    trace = np.zeros_like(region)
    trace[pixels[:, 0], pixels[:, 1]] = True
    stroke = distance_mm(trace, pixel_mm, style.brush_mm) <= style.brush_mm / 2
    if style.hand != "careless":
        stroke &= region
    rows, columns = np.nonzero(stroke)
    rows, columns = rows + box[0].start - margin, columns + box[1].start - margin
    inside = (rows >= 0) & (columns >= 0) & (rows < plane.shape[0]) & (columns < plane.shape[1])
    plane[rows[inside], columns[inside]] = True


def _path(
    region: Bool, pixel_mm: tuple[float, float], rng: np.random.Generator, style: Style, longest_mm: float
) -> Points:
    """The way of the brush's centre, in mm from the centre of pixel (0, 0)."""
    depth = depth_mm(region, pixel_mm)
    length = min(float(rng.uniform(0.3, 0.9)) * extent_mm(region, pixel_mm), LONGEST_MM, longest_mm) - style.brush_mm
    if style.hand == "dots":
        length = min(length, style.brush_mm)
    score, near = depth / depth.max(), region
    if style.hand == "outline":
        rim = min(style.brush_mm / 2 + min(pixel_mm), float(depth.max()))
        score = 1 - np.abs(depth - rim) / depth.max()
        near = region & (np.abs(depth - rim) <= min(pixel_mm) / 2)
        near = near if near.any() else region
    rows, columns = np.nonzero(near)
    weight = score[rows, columns].astype(np.float64) ** 3 + 1e-6
    start = rng.choice(rows.size, p=weight / weight.sum())
    begin = np.array([rows[start], columns[start]], np.float64) * pixel_mm
    slip = min(float(rng.uniform(*SLIP_MM)), length / 2) if style.hand == "careless" else 0.0
    path = _walk(np.where(region, score, -np.inf), begin, _heading(near, begin, pixel_mm), length - slip, pixel_mm, rng)
    return _slipped(path, region, pixel_mm, slip, length) if slip > 0 else path


def _heading(near: Bool, begin: Points, pixel_mm: tuple[float, float]) -> float:
    """The direction, in radians, in which the pixels about `begin` stretch the furthest."""
    away = np.argwhere(near) * pixel_mm - begin
    local = away[(away**2).sum(axis=1) <= LOCAL_MM**2]
    spread = local.T @ local
    return float(0.5 * np.arctan2(2 * spread[0, 1], spread[1, 1] - spread[0, 0]))


def _walk(
    score: NDArray[np.float32],
    begin: Points,
    heading: float,
    length_mm: float,
    pixel_mm: tuple[float, float],
    rng: np.random.Generator,
) -> Points:
    """Follow high scores both ways from `begin`, wobbling, for `length_mm` in all or until the region ends."""
    step, ways, left = min(pixel_mm), [], length_mm
    for direction, share in ((heading, float(rng.uniform(0.3, 0.7))), (heading + np.pi, 1.0)):
        here, angle, way = begin, direction, []
        for _ in range(int(left * share / step)):
            angles = angle + TURNS
            ahead = here + step * np.stack([np.sin(angles), np.cos(angles)], axis=1)
            rows, columns = np.round(ahead / pixel_mm).astype(int).T
            value = score[rows, columns] - STRAIGHTNESS + rng.normal(0, 0.06, TURNS.size)
            best = int(np.argmax(value))
            if value[best] == -np.inf or abs(angles[best] - direction) > CURL:
                break
            here, angle = ahead[best], float(angles[best])
            way.append(here)
        left -= len(way) * step
        ways.append(way)
    return np.array([*reversed(ways[1]), begin, *ways[0]])


def _slipped(path: Points, region: Bool, pixel_mm: tuple[float, float], slip_mm: float, length_mm: float) -> Points:
    """The path with a straight last piece that runs `slip_mm` over the border, no longer than `length_mm` in all."""
    step = min(pixel_mm)
    border = ~region & (distance_mm(region, pixel_mm, 2 * max(pixel_mm)) <= 2 * max(pixel_mm))
    outside = np.argwhere(border) * pixel_mm
    distance = np.sqrt(((outside[None] - path[:, None]) ** 2).sum(axis=2))
    nearest = distance.min(axis=1)
    reach = np.arange(len(path)) * step + nearest + slip_mm <= length_mm
    last = int(np.flatnonzero(reach)[-1]) if reach.any() else 0
    target = outside[int(distance[last].argmin())]
    way = (target - path[last]) / max(float(nearest[last]), 1e-6)
    tail = path[last] + np.outer(np.arange(1, int((nearest[last] + slip_mm) / step) + 1) * step, way)
    return np.concatenate([path[: last + 1], tail])
