"""The corruptions of spair-c/1, written from the words of docs/definition.md and from nothing else.

Each gets a picture's values g, the cell's stream, and a column of its table of parameters. The
filter weights are those that the page tells to copy.
"""

import io
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from page_draws import Stream, poisson_tables

from spairc.corruptions import weights

Reals = NDArray[np.float64]
Image = NDArray[np.uint8]
single = np.float32


def level(value: NDArray[np.floating]) -> Image:
    return (value.clip(0, 1) * 255).astype(np.uint8)


def gaussian_noise(g: Image, stream: Stream, d: float) -> Image:
    return level(g / 255 + d * stream.normal(*g.shape))


def speckle_noise(g: Image, stream: Stream, d: float) -> Image:
    return level(g / 255 + g / 255 * (d * stream.normal(*g.shape)))


def shot_noise(g: Image, stream: Stream, scale: float) -> Image:
    thresholds, aliases = poisson_tables(int(scale))
    share = 2**32 // thresholds.shape[1]
    word = stream.words(g.size).astype(np.int64).reshape(g.shape)
    n, rest = word // share, word % share
    return level(np.where(rest < thresholds[g, n], n, aliases[g, n]) / scale)


def impulse_noise(g: Image, stream: Stream, amount: float) -> Image:
    few, word = math.floor(amount * 2**31 + 0.5), stream.words(g.size).reshape(g.shape)
    return np.where(word < few, np.uint8(0), np.where(word >= 2**32 - few, np.uint8(255), g))


def defocus_blur(g: Image, _: Stream, radius: float) -> Image:
    disk = weights.disk(int(radius)).astype(np.float64)
    reach = len(disk) // 2
    padded = np.pad(g, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    windows = sliding_window_view(padded, disk.shape, axis=(0, 1))
    total = np.zeros(g.shape)
    for y in range(len(disk)):
        part = np.zeros(g.shape)
        for x in range(len(disk)):
            part = part + disk[y, x] * windows[..., y, x]
        total = total + part
    return np.minimum(total, 255).astype(np.uint8)


def smoothed(plane: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    w = weights.smoothing(sigma)
    reach = len(w) // 2
    for axis in (0, 1):
        ends = [(reach, reach) if axis == each else (0, 0) for each in range(plane.ndim)]
        p = np.moveaxis(np.pad(plane.astype(np.float64), ends, mode="edge"), axis, 0)
        n = plane.shape[axis]
        total = w[reach] * p[reach : reach + n]
        for k in range(reach, 0, -1):
            total = total + w[reach + k] * (p[reach - k :][:n] + p[reach + k :][:n])
        plane = np.moveaxis(total, 0, axis).astype(plane.dtype)
    return plane


def gaussian_blur(g: Image, _: Stream, sigma: float) -> Image:
    return level(smoothed(g / 255, sigma))


def zoomed(old: int, zoom: float) -> tuple[NDArray[np.int64], Reals, Reals]:
    new = round(old * zoom)
    p = np.arange(new) * ((old - 1) / (new - 1))
    before = np.floor(p)
    f = 1 - (p - before)
    here, there = np.where(p > old - 1, 0, f), np.where(p > old - 1, 0, 1 - f)
    return before.astype(int), here, there


def snow(g: Image, stream: Stream, *numbers: float) -> Image:
    mean, deviation, zoom, threshold, radius, sigma, own = numbers
    height, width = g.shape[:2]
    h, w = math.ceil(height / zoom), math.ceil(width / zoom)
    flakes = mean + deviation * stream.normal(height, width)
    flakes = flakes[(height - h) // 2 :, (width - w) // 2 :][:h, :w]
    y, u, d = zoomed(h, zoom)
    x, left, right = zoomed(w, zoom)
    y, u, d = y[:, None], u[:, None], d[:, None]
    below, beside = np.minimum(y + 1, h - 1), np.minimum(x + 1, w - 1)
    layer: Reals = flakes[y, x] * u * left + flakes[y, beside] * u * right
    layer = layer + flakes[below, x] * d * left + flakes[below, beside] * d * right
    layer = np.where(layer < threshold, 0, np.minimum(layer, 1))
    angle = math.radians(float(stream.uniform(-135, -45)))
    powers = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(int(2 * radius) + 1)]
    streaks, (rows, columns) = np.zeros((height, width)), np.indices((height, width))
    for i, power in enumerate(powers):
        row = (rows + math.ceil(i * math.sin(angle) - 0.5)).clip(0, len(layer) - 1)
        column = (columns + math.ceil(i * math.cos(angle) - 0.5)).clip(0, len(layer[0]) - 1)
        streaks = streaks + power / math.fsum(powers) * layer[row, column]
    streaks = np.rint(255 * streaks)[..., None] / 255
    v = (g / 255).astype(single)
    grey = np.zeros(v.shape[:2], dtype=single)
    for weight, channel in ((0.587, 1), (0.299, 0), (0.114, 2)):
        grey = (float(single(weight)) * v[..., channel].astype(float) + grey).astype(single)
    pale = np.maximum(v, (single(1.5) * grey + single(0.5))[..., None])
    white = single(own) * v + single(1 - own) * pale
    return level(white.astype(float) + streaks + streaks[::-1, ::-1])


def enlarged(old: int, new: int) -> tuple[NDArray[np.int64], Reals]:
    c = (np.arange(new) + 0.5) * (old / new) - 0.5
    place, a = np.floor(c) + np.arange(-1, 3)[:, None], -0.75
    t = np.abs(c - place)
    near, far = ((a + 2) * t - (a + 3)) * t * t + 1, (((t - 5) * t + 8) * t - 4) * a
    return place.clip(0, old - 1).astype(int), np.where(t <= 1, near, far)


def frost_picture(number: int) -> Image:
    name = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")[number]
    found = find_spec("imagecorruptions")
    assert found is not None
    assert found.origin is not None
    return np.array(PIL.Image.open(Path(found.origin).parent / "frost" / name).convert("RGB"))


def frost(g: Image, stream: Stream, own: float, added: float) -> Image:
    ice = frost_picture(stream.integer(5))
    scale = max(1, g.shape[0] / ice.shape[0], g.shape[1] / ice.shape[1]) * 1.1
    h, w = (math.ceil(length * scale) for length in ice.shape[:2])
    top, left = stream.integer(h - g.shape[0]), stream.integer(w - g.shape[1])
    place, t = enlarged(ice.shape[1], w)
    wide = sum((ice[:, place[i]] * t[i][:, None] for i in range(4)), np.zeros(()))
    place, t = enlarged(ice.shape[0], h)
    tall = sum((wide[place[i]] * t[i][:, None, None] for i in range(4)), np.zeros(()))
    f = np.floor(tall + 0.5).clip(0, 255)[top:, left:][: g.shape[0], : g.shape[1]]
    return (own * g + added * f).clip(0, 255).astype(np.uint8)


def fog(g: Image, stream: Stream, amount: float, decay: float) -> Image:
    side = 1
    while side < max(g.shape):
        side *= 2
    heights, step, wobble = np.zeros((side, side), dtype=single), side, 100.0

    def moved(total: NDArray[np.float32]) -> NDArray[np.float32]:
        drawn = wobble * stream.uniform(-wobble, wobble, *total.shape)
        return (total / single(4) + drawn).astype(single)

    while step >= 2:
        half = step // 2
        a = heights[::step, ::step]
        b, c = np.roll(a, -1, axis=1), np.roll(a, -1, axis=0)
        m = moved((a + c) + (b + np.roll(b, -1, axis=0)))
        heights[half::step, half::step] = m
        heights[::step, half::step] = moved((m + np.roll(m, 1, axis=0)) + (a + b))
        heights[half::step, ::step] = moved((m + np.roll(m, 1, axis=1)) + (a + c))
        step, wobble = half, wobble / decay
    cloud = single(amount) * ((heights - heights.min()) / (heights.max() - heights.min()))
    most = g.max() / 255
    cloud = cloud[: g.shape[0], : g.shape[1], None].astype(float)
    return level((g / 255 + cloud) * most / (most + amount))


def neighbours(plane: NDArray[Any], mode: str) -> NDArray[Any]:
    """The 3 x 3 around each place, in the last two axes."""
    padded = np.pad(plane, 1, mode=mode)  # type: ignore[call-overload]  # its modes are literals
    return sliding_window_view(padded, (3, 3))


def spatter(g: Image, stream: Stream, *numbers: float) -> Image:
    mean, deviation, sigma, threshold, strength = numbers
    liquid = smoothed(mean + deviation * stream.normal(*g.shape[:2]), sigma)
    v = (g / 255).astype(single)
    if math.isnan(strength):
        t = smoothed((liquid > threshold).astype(single), 1.5)[..., None]
        t = np.where(t < single(0.8), single(0), t)
        return level((v * (single(1) - t)).astype(float) + np.array([63, 42, 20]) / 255 * t)
    drops = np.where(liquid < threshold, 0, 255 * liquid).astype(np.uint8)
    depth = np.minimum(distance(edges(drops)), single(20)).astype(float)
    total = neighbours(depth, "reflect").sum(axis=(2, 3)) * (1 / 9)
    lit = light(equalised(total.astype(single).astype(int)))
    product = (drops.astype(int) * lit).astype(single)
    thickness = product / product.max() if product.max() > 0 else product
    colour = (np.array([175, 238, 238]) / 255).astype(single)
    return level(v + (thickness * single(strength))[..., None] * colour)


def edges(drops: Image) -> NDArray[np.bool_]:
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    around = neighbours(drops.astype(np.int64), "edge")
    a, b = ((around * each).sum(axis=(2, 3)) for each in (sobel, sobel.T))
    s = abs(a) + abs(b)
    near = neighbours(np.pad(s, 1), "constant")[1:-1, 1:-1]
    flat, upright = 13573 * abs(a), 32768 * abs(b)
    ridge = np.where((a < 0) != (b < 0), *slanted(s, near))
    is_upright = upright > flat + 65536 * abs(a)
    ridge = np.where(is_upright, (s > near[..., 0, 1]) & (s >= near[..., 2, 1]), ridge)
    ridge = np.where(upright < flat, (s > near[..., 1, 0]) & (s >= near[..., 1, 2]), ridge)
    ridge = ridge & (s > 50)
    found, before = ridge & (s > 150), np.zeros_like(ridge)
    while (found != before).any():
        before, found = found, neighbours(found, "constant").any(axis=(2, 3)) & ridge
    return np.asarray(found)


def slanted(s: NDArray[np.int64], near: NDArray[Any]) -> list[NDArray[np.bool_]]:
    corners = (((0, 2), (2, 0)), ((0, 0), (2, 2)))
    return [np.all([s > near[..., y, x] for y, x in pair], axis=0) for pair in corners]


STEPS = [(0, -1, 1.0), (-1, 0, 1.0), (-1, -1, 1.4), (-1, 1, 1.4)]
STEPS += [(y, x, 2.1969) for y, x in ((-1, -2), (-1, 2), (-2, -1), (-2, 1))]


def distance(edge: NDArray[np.bool_]) -> NDArray[np.float32]:
    (height, width), costs = edge.shape, [single(cost) for _, _, cost in STEPS]
    far = np.full((height + 4, width + 4), single(1e9))
    far[2:-2, 2:-2][edge] = 0
    for sign in (1, -1):
        for y in range(2, height + 2)[::sign]:
            for x in range(2, width + 2)[::sign]:
                ways = [far[y + sign * dy, x + sign * dx] for dy, dx, _ in STEPS]
                far[y, x] = min(far[y, x], *(a + b for a, b in zip(ways, costs, strict=True)))
    return far[2:-2, 2:-2]


def equalised(plane: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.bincount(plane.ravel(), minlength=256)
    lowest = int(np.flatnonzero(counts)[0])
    if counts[lowest] == plane.size:
        return plane
    counts[: lowest + 1], rest = 0, plane.size - counts[lowest]
    scale = single(255) / single(rest)
    return np.asarray(np.rint(counts.cumsum().astype(single) * scale).astype(int)[plane])


def light(plane: NDArray[np.int64]) -> NDArray[np.int64]:
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    lit = (neighbours(plane, "reflect") * emboss).sum(axis=(2, 3)).clip(0, 255)
    return np.asarray((neighbours(lit, "reflect").sum(axis=(2, 3)) + 4) // 9)


def recoloured(g: Image, change: Callable[[float, float], tuple[float, float]]) -> Image:
    colours, places = np.unique(g.reshape(-1, 3), axis=0, return_inverse=True)
    news = [one_colour((each / 255).tolist(), change) for each in colours]
    return level(np.array(news))[places].reshape(g.shape)


def one_colour(
    colour: list[float], change: Callable[[float, float], tuple[float, float]]
) -> tuple[float, ...]:
    r, g, b = colour
    value = max(r, g, b)
    chroma = value - min(r, g, b)
    hue = 0.0
    if chroma and b == value:
        hue = (4 + (r - g) / chroma) / 6
    elif chroma and g == value:
        hue = (2 + (b - r) / chroma) / 6
    elif chroma:
        hue = ((g - b) / chroma) / 6
    hue = hue + 1 if hue < 0 else hue
    saturation, value = change(chroma / value if value else 0.0, value)
    saturation, value = min(max(saturation, 0), 1), min(max(value, 0), 1)
    k = math.floor(hue * 6)
    part, low = hue * 6 - k, value * (1 - saturation)
    falling, rising = value * (1 - part * saturation), value * (1 - (1 - part) * saturation)
    return (
        *((value, rising, low), (falling, value, low), (low, value, rising)),
        *((low, falling, value), (rising, low, value), (value, low, falling)),
    )[k % 6]


def brightness(g: Image, _: Stream, added: float) -> Image:
    return recoloured(g, lambda saturation, value: (saturation, value + added))


def saturate(g: Image, _: Stream, factor: float, added: float) -> Image:
    return recoloured(g, lambda saturation, value: (saturation * factor + added, value))


def contrast(g: Image, _: Stream, factor: float) -> Image:
    v = g / 255
    m = v.reshape(-1, 3).cumsum(axis=0)[-1] / (v.size // 3)
    return level((v - m) * factor + m)


def pixelate(g: Image, _: Stream, scale: float) -> Image:
    small = g.astype(np.int64)
    for axis in (1, 0):
        small = averaged(small, int(g.shape[axis] * scale), axis)
    for axis in (0, 1):
        few, length = small.shape[axis], g.shape[axis]
        q = np.cumsum([few / length / 2, *[few / length] * (length - 1)])
        small = small.take(np.floor(q).astype(int), axis)
    return small.astype(np.uint8)


def averaged(plane: NDArray[np.int64], few: int, axis: int) -> NDArray[np.int64]:
    length, means = plane.shape[axis], []
    size = length / few
    for i in range(few):
        c = (i + 0.5) * size
        near = range(int(c - size / 2 + 0.5), min(int(c + size / 2 + 0.5), length))
        inside = [p for p in near if -0.5 < (p - c + 0.5) / size <= 0.5]
        total = plane.take(inside, axis).sum(axis=axis)
        means.append((total * int(2**22 / len(inside) + 0.5) + 2**21) // 2**22)
    return np.stack(means, axis).clip(max=255)


def jpeg_compression(g: Image, _: Stream, quality: float) -> Image:
    file = io.BytesIO()
    PIL.Image.fromarray(g).save(file, "JPEG", quality=int(quality))
    return np.array(PIL.Image.open(file))


CORRUPTIONS: dict[str, Callable[..., Image]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "speckle_noise": speckle_noise,
    "defocus_blur": defocus_blur,
    "gaussian_blur": gaussian_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "spatter": spatter,
    "brightness": brightness,
    "contrast": contrast,
    "saturate": saturate,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}
