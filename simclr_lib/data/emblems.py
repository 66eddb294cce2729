"""Emblems: ten classes of small drawn images that need no download.

A class pairs one silhouette with one texture (a striped disc, a checked square, …); everything else varies
from image to image: position, scale, rotation, the texture's frequency and phase, and above all the colours.
Colour therefore identifies the *image* far better than the class. Two crops of one image share its colours,
so a network that is asked only to match crops can get by on them and need not look at shapes at all: the
shortcut of section 3.1 of the SimCLR paper, and the reason for colour augmentation.

Image ``i`` of a split is a function of (split, seed, i) alone: images are rendered in chunks of fixed size,
each from a random stream of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from simclr_lib.data.dataset import ImageDataset, empty_images
from simclr_lib.errors import SimCLRError, unknown_name

SIDE = 32  # pixels
SPLIT_SIZES = {"train": 8192, "test": 2048}

_CHUNK = 512  # images rendered at a time; part of what an image is, since a chunk shares one random stream
_SUPERSAMPLING = 2  # every pixel is the mean of 2 × 2 samples
_TURN = 2 * math.pi


def draw_emblems(split: str = "train", limit: int | None = None, seed: int = 0) -> ImageDataset:
    """The emblems of one split.

    Args:
        split: "train" or "test": two streams with no image in common.
        limit: number of images; None draws 8,192 ("train") or 2,048 ("test"). Any number can be drawn, and the
            first n images are the same whatever the limit.
        seed: another seed gives another, equally distributed set.

    Returns:
        The images, uint8 [limit, 3, 32, 32]; image ``i`` has label ``i % 10``, so every prefix is balanced.

    Raises:
        SimCLRError: there is no such split, or the limit is negative or larger than the memory.
    """
    if split not in SPLIT_SIZES:
        raise unknown_name("emblems split", split, SPLIT_SIZES)
    count = SPLIT_SIZES[split] if limit is None else limit
    if count < 0:
        raise SimCLRError(f"limit must be 0 or more, not {count}.")

    images = empty_images(count, SIDE)
    for start in range(0, count, _CHUNK):
        images[start : start + _CHUNK] = _chunk(split, seed, start // _CHUNK)[: count - start]
    return ImageDataset(images, _labels(0, count), list(CLASSES), name="emblems")


def _labels(start: int, stop: int) -> Tensor:
    return torch.arange(start, stop) % len(CLASSES)


@lru_cache(maxsize=32)  # 1.5 MiB each: both splits at their default size, and some more
def _chunk(split: str, seed: int, index: int) -> Tensor:
    """Images index·512 … index·512 + 511 of a split, uint8 [512, 3, 32, 32]. Shared: copy, never write."""
    stream = hashlib.blake2b(f"{split}/{seed}/{index}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(stream, "big"))
    return render_emblems(_labels(index * _CHUNK, (index + 1) * _CHUNK), generator)


# ---- Rendering ---------------------------------------------------------------------------------------------


def render_emblems(labels: Tensor, generator: Generator) -> Tensor:
    """Draw one random emblem for every label.

    Coordinates run from −1 to 1 across the image, y upwards; so 1 is half the image's width.

    Args:
        labels: int64 [n], indices into ``CLASSES``.
        generator: the CPU random stream that every choice is drawn from.

    Returns:
        uint8 [n, 3, 32, 32].
    """
    x, y = _emblem_frame(_pixel_grid(), labels, generator)
    texture = _draw_texture_parameters(len(labels), generator)
    colours = _draw_colours(labels, generator)

    inside, pattern = torch.empty_like(x), torch.empty_like(x)
    for label, (silhouette, draw_texture) in enumerate(CLASSES.values()):
        members = (labels == label).nonzero().flatten()
        x_m, y_m = x[members], y[members]
        depth = -silhouette(x_m, y_m)
        pattern[members] = draw_texture(x_m, y_m, texture.subset(members))
        # A rim in the main tone keeps the outline closed where the accent would meet the background.
        pattern[members] *= _soft_step(depth - _RIM)
        inside[members] = _soft_step(depth)

    foreground = torch.lerp(colours.main, colours.accent, pattern.unsqueeze(1))
    background = torch.lerp(colours.near, colours.far, _gradient(len(labels), generator))
    samples = torch.lerp(background, foreground, inside.unsqueeze(1))
    pixels = F.avg_pool2d(samples, _SUPERSAMPLING) + _soft_noise(len(labels), generator)
    return pixels.mul(255).round().clamp(0, 255).to(torch.uint8)


_RIM = 0.06
_SOFTNESS = 2 / (SIDE * _SUPERSAMPLING)  # an edge is one sample wide


def _soft_step(distance: Tensor) -> Tensor:
    """0 well below zero, 1 well above, and a ramp one sample wide between: an anti-aliased edge."""
    return (distance / _SOFTNESS + 0.5).clamp(0, 1)


def _pixel_grid() -> tuple[Tensor, Tensor]:
    """The samples' centres, x [1, 1, S] and y [1, S, 1]."""
    side = SIDE * _SUPERSAMPLING
    centres = (torch.arange(side) + 0.5) / side * 2 - 1
    return centres.view(1, 1, -1), -centres.view(1, -1, 1)


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """n draws from U(low, high), float32 [n, 1, 1]."""
    return torch.rand(n, 1, 1, generator=generator) * (high - low) + low


def _emblem_frame(grid: tuple[Tensor, Tensor], labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """The samples in each emblem's own frame: shifted, turned, scaled and perhaps mirrored.

    Returns:
        x and y, float32 [n, S, S].
    """
    n = len(labels)
    x = grid[0] - _uniform(n, -0.25, 0.25, generator)
    y = grid[1] - _uniform(n, -0.25, 0.25, generator)
    x, y = _rotate(x, y, _uniform(n, 0, _TURN, generator))
    scale = _uniform(n, 0.95, 1.2, generator)
    mirror = torch.where(_uniform(n, 0, 1, generator) < 0.5, -1.0, 1.0)
    return mirror * x / scale, y / scale


def _rotate(x: Tensor, y: Tensor, angle: Tensor | float) -> tuple[Tensor, Tensor]:
    """The coordinates of the same points in a frame turned by ``angle`` radians."""
    angle = torch.as_tensor(angle)
    cos, sin = angle.cos(), angle.sin()
    return cos * x + sin * y, cos * y - sin * x


def _gradient(n: int, generator: Generator) -> Tensor:
    """A ramp from 0 to 1 across the image in a random direction, float32 [n, 1, S, S]."""
    x, y = _pixel_grid()
    along, _ = _rotate(x, y, _uniform(n, 0, _TURN, generator))
    return (1.2 * along + 0.5).clamp(0, 1).unsqueeze(1)


def _soft_noise(n: int, generator: Generator) -> Tensor:
    """Cloudy noise in each channel, float32 [n, 3, 32, 32], about 0.025 strong."""
    coarse = torch.randn(n, 3, SIDE // 4, SIDE // 4, generator=generator)
    return 0.04 * F.interpolate(coarse, size=SIDE, mode="bilinear", align_corners=False)


# ---- Colours -----------------------------------------------------------------------------------------------


class _Colours(NamedTuple):
    """Colours of n emblems, each float32 [n, 3, 1, 1], sRGB in [0, 1]."""

    main: Tensor
    accent: Tensor
    near: Tensor
    far: Tensor


def _draw_colours(labels: Tensor, generator: Generator) -> _Colours:
    """Hues lean weakly on the class in front and not at all behind.

    The two tones of an emblem are a light and a dark one, either of them the main tone; the background lies
    between. So an emblem stands out whatever its hues, and is on average neither lighter nor darker than what
    is around it.
    """
    n = len(labels)
    class_hue = labels.view(n, 1, 1) / len(CLASSES)
    hue = class_hue + 0.2 * torch.randn(n, 1, 1, generator=generator)
    accent_hue = hue + _uniform(n, -0.25, 0.25, generator)
    behind = _uniform(n, 0, 1, generator)
    beyond = behind + _uniform(n, -0.3, 0.3, generator)

    light, dark = _uniform(n, 0.85, 0.95, generator), _uniform(n, 0.18, 0.30, generator)
    main_is_light = _uniform(n, 0, 1, generator) < 0.5
    return _Colours(
        main=_oklch(torch.where(main_is_light, light, dark), 0.10, hue),
        accent=_oklch(torch.where(main_is_light, dark, light), 0.12, accent_hue),
        near=_oklch(_uniform(n, 0.38, 0.55, generator), 0.13, behind),
        far=_oklch(_uniform(n, 0.55, 0.72, generator), 0.14, beyond),
    )


def _oklch(lightness: Tensor, chroma: float, hue: Tensor) -> Tensor:
    """OKLCH, the perceptual colour space of CSS, to sRGB.

    Equal lightness there looks equally light at every hue, which HSV's value does not.

    Args:
        lightness: float32 [n, 1, 1] in [0, 1].
        chroma: distance from grey; sRGB reaches about 0.1 at every hue.
        hue: float32 [n, 1, 1] in turns.

    Returns:
        float32 [n, 3, 1, 1] in [0, 1]; a colour outside sRGB is clipped.
    """
    a, b = chroma * torch.cos(_TURN * hue), chroma * torch.sin(_TURN * hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    linear = torch.stack([red, green, blue], dim=1).clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# ---- Silhouettes: signed distances, negative inside --------------------------------------------------------
#
# Each takes x and y, float32 [m, S, S], in the emblem's own frame and returns the distance to the outline.
# The emblems reach out to about 0.7, so that most fit into the image wherever they are placed.


def _box(x: Tensor, y: Tensor, half_width: float, half_height: float) -> Tensor:
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


def _fold(x: Tensor, y: Tensor, sectors: int) -> tuple[Tensor, Tensor]:
    """Fold the plane onto half a sector beside the positive y axis: one petal stands for all of them."""
    sector = _TURN / sectors
    angle = (torch.remainder(torch.atan2(x, y) + sector / 2, sector) - sector / 2).abs()
    radius = torch.hypot(x, y)
    return radius * angle.sin(), radius * angle.cos()


def _disc(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 0.70


def _square(x: Tensor, y: Tensor) -> Tensor:
    return _box(x, y, 0.60, 0.60)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    # A square standing on its corner, with a half-disc on each of its two upper sides.
    x, y = x.abs(), y + 0.07
    u, v = _rotate(x, y, math.pi / 4)
    square = _box(u, v, 0.42, 0.42)
    lobe = torch.hypot(u - 0.42, v) - 0.42
    return torch.minimum(square, lobe)


def _hexagon(x: Tensor, y: Tensor) -> Tensor:
    _, outward = _fold(x, y, 6)
    return outward - 0.64


def _drop(x: Tensor, y: Tensor) -> Tensor:
    # A ball, and the cone of its tangents up to the tip.
    radius, tip = 0.53, 1.02
    x, y = x.abs(), y + 0.22
    sin = radius / tip
    cos = math.sqrt(1 - sin**2)
    ball = torch.hypot(x, y) - radius
    cone = cos * x + sin * y - radius
    return torch.where(cos * y > sin * x, cone, ball)


def _flower(x: Tensor, y: Tensor) -> Tensor:
    x, y = _fold(x, y, 5)
    return torch.minimum(torch.hypot(x, y - 0.42) - 0.33, torch.hypot(x, y) - 0.42)


def _star(x: Tensor, y: Tensor) -> Tensor:
    # One edge, from a point of the star to the notch half a sector on.
    tip, notch = 0.86, 0.45
    x, y = _fold(x, y, 5)
    notch_x, notch_y = notch * math.sin(math.pi / 5), notch * math.cos(math.pi / 5)
    normal_x, normal_y = tip - notch_y, notch_x
    return (normal_x * x + normal_y * (y - tip)) / math.hypot(normal_x, normal_y)


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    _, outward = _fold(x, -(y + 0.12), 3)
    return outward - 0.44


def _cross(x: Tensor, y: Tensor) -> Tensor:
    return torch.minimum(_box(x, y, 0.72, 0.28), _box(x, y, 0.28, 0.72))


def _crescent(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(torch.hypot(x + 0.06, y) - 0.74, 0.46 - torch.hypot(x - 0.32, y - 0.12))


# ---- Textures: 0 in the main tone, 1 in the accent ---------------------------------------------------------


class _TextureParameters(NamedTuple):
    """The differences of each emblem's texture from that of its class, float32 [n, …]."""

    angle: Tensor  # [n, 1, 1], radians
    frequency: Tensor  # [n, 1, 1], factor on the class's own
    phase: Tensor  # [n, 2, 1, 1], radians, one along each axis

    def subset(self, indices: Tensor) -> _TextureParameters:
        """The parameters of the emblems at ``indices``, int64 [m]."""
        return _TextureParameters(*(values[indices] for values in self))


def _draw_texture_parameters(n: int, generator: Generator) -> _TextureParameters:
    return _TextureParameters(
        angle=_uniform(n, -0.15, 0.15, generator),
        frequency=_uniform(n, 0.75, 1.25, generator),
        phase=_TURN * torch.rand(n, 2, 1, 1, generator=generator),
    )


def _waves_along(
    x: Tensor, y: Tensor, texture: _TextureParameters, per_unit: float, angle: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The phase of a wave along each of two axes, radians, [m, S, S] each; ``angle`` turns the pair."""
    u, v = _rotate(x, y, texture.angle + angle)
    pace = _TURN * per_unit * texture.frequency
    return pace * u + texture.phase[:, 0], pace * v + texture.phase[:, 1]


def _ink(level: Tensor, contrast: float = 3.0) -> Tensor:
    """1 where ``level`` is positive, 0 where negative, with a ramp about a pixel wide."""
    return (level * contrast + 0.5).clamp(0, 1)


def _stripes(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    u, _ = _waves_along(x, y, texture, 2.4, angle=math.pi / 4)
    return _ink(u.sin())


def _checks(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    u, v = _waves_along(x, y, texture, 1.5)
    return _ink(u.sin() * v.sin(), contrast=5.0)


def _dots(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    u, v = _waves_along(x, y, texture, 2.1, angle=math.pi / 4)
    return _ink(u.cos() + v.cos() - 0.45, contrast=2.5)


def _rings(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    return _ink(torch.sin(_TURN * 2.4 * texture.frequency * torch.hypot(x, y) + texture.phase[:, 0]))


def _waves(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    u, v = _waves_along(x, y, texture, 2.2)
    return _ink(torch.sin(v + 1.5 * torch.sin(0.8 * u)), contrast=2.5)


def _swirl(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    turns = 2.0 * texture.frequency * torch.hypot(x, y)
    return _ink(torch.sin(3 * torch.atan2(y, x) + _TURN * turns + texture.phase[:, 0]))


def _spokes(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    return _ink(torch.sin(10 * torch.atan2(y, x) + texture.phase[:, 0]))


def _nested(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    _, outward = _fold(x, -(y + 0.12), 3)  # triangles in the triangle
    return _ink(torch.sin(_TURN * 2.6 * texture.frequency * outward + texture.phase[:, 0]))


def _bars(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    _, v = _waves_along(x, y, texture, 2.0)
    return _ink(v.sin(), contrast=4.0)


def _diamonds(x: Tensor, y: Tensor, texture: _TextureParameters) -> Tensor:
    u, v = _waves_along(1.5 * x, 0.9 * y, texture, 1.2)
    return _ink((u + v).sin() * (u - v).sin(), contrast=4.0)


Silhouette = Callable[[Tensor, Tensor], Tensor]
Texture = Callable[[Tensor, Tensor, _TextureParameters], Tensor]

CLASSES: dict[str, tuple[Silhouette, Texture]] = {
    "striped disc": (_disc, _stripes),
    "checked square": (_square, _checks),
    "dotted heart": (_heart, _dots),
    "ringed hexagon": (_hexagon, _rings),
    "wavy drop": (_drop, _waves),
    "swirled flower": (_flower, _swirl),
    "spoked star": (_star, _spokes),
    "nested triangle": (_triangle, _nested),
    "barred cross": (_cross, _bars),
    "diamonded crescent": (_crescent, _diamonds),
}
