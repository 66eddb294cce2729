"""Exercises of notebook 01: crops, probabilities, colour operations and the blur's kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simclr_lib.augment import SimCLRAugment, grayscale
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect


def _images(n: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# 1. The largest crop of an aspect ratio

largest_crop = Exercise(
    solution=lambda ratio: min(ratio, 1 / ratio),
    cases=[(1.0,), (4 / 3,), (3 / 4,), (2.0,), (0.25,)],
    misconceptions=[
        Misconception(
            hint="Only a square crop can cover a square image. The longer side of any other crop is as long as the "
            "image, and its shorter side is not.",
            answer=lambda ratio: 1.0,
        ),
        Misconception(
            hint="A crop that is wider than high would cover more than the whole image. There the width is the longer "
            "side: the height is the width divided by `ratio`.",
            answer=lambda ratio: ratio,
        ),
        Misconception(
            hint="A crop that is higher than wide would cover more than the whole image. There the height is the "
            "longer side: the width is the height times `ratio`.",
            answer=lambda ratio: 1 / ratio,
        ),
        Misconception(
            hint="Your crop is larger than the image in one direction, as the ratio is above or below 1.",
            answer=lambda ratio: max(ratio, 1 / ratio),
        ),
        Misconception(
            hint="The longer side is that of the image, 1. Then the shorter side is the area already: no root.",
            answer=lambda ratio: math.sqrt(min(ratio, 1 / ratio)),
        ),
        Misconception(
            hint="You shortened both sides. The longer one may be as long as the image.",
            answer=lambda ratio: min(ratio, 1 / ratio) ** 2,
        ),
    ],
)

# 2. The probability that colours survive

untouched_colors = Exercise(
    solution=lambda color_prob, gray_prob: (1 - color_prob) * (1 - gray_prob),
    cases=[(0.8, 0.2), (0.5, 0.5), (0.0, 0.3)],
    misconceptions=[
        Misconception(
            hint="Jitter and grayscale are drawn independently: multiply the two probabilities of not happening.",
            answer=lambda color_prob, gray_prob: 1 - color_prob - gray_prob,
        ),
        Misconception(
            hint="That is how often they do not both happen: one of the two may still happen.",
            answer=lambda color_prob, gray_prob: 1 - color_prob * gray_prob,
        ),
        Misconception(
            hint="That is how often both happen.",
            answer=lambda color_prob, gray_prob: color_prob * gray_prob,
        ),
        Misconception(
            hint="That is how often at least one happens: subtract it from 1.",
            answer=lambda color_prob, gray_prob: 1 - (1 - color_prob) * (1 - gray_prob),
        ),
        Misconception(
            hint="A grey image has lost its colours too: grayscale counts.",
            answer=lambda color_prob, gray_prob: 1 - color_prob,
        ),
    ],
)

# 3. Contrast


def _contrast(images: Tensor, factor: float, mean: Tensor, clamp: bool = True) -> Tensor:
    blended = factor * images + (1 - factor) * mean
    return blended.clamp(0, 1) if clamp else blended


def _mean_gray(images: Tensor) -> Tensor:
    return grayscale(images).mean(dim=(1, 2))[:, None, None, None]


adjust_contrast = Exercise(
    solution=lambda images, factor: _contrast(images, factor, _mean_gray(images)),
    cases=[(_images(3, 8), 1.5), (_images(2, 6, seed=1), 0.4)],
    misconceptions=[
        Misconception(
            hint="You took each channel's own mean. Contrast blends with one grey level per image: the mean of its "
            "grayscale.",
            answer=lambda images, factor: _contrast(images, factor, images.mean(dim=(2, 3), keepdim=True)),
        ),
        Misconception(
            hint="You took the plain mean of the three channels. Grayscale weighs them: 0.299 R + 0.587 G + 0.114 B.",
            answer=lambda images, factor: _contrast(images, factor, images.mean(dim=(1, 2, 3), keepdim=True)),
        ),
        Misconception(
            hint="You took one mean for the whole batch. Each image has its own.",
            answer=lambda images, factor: _contrast(images, factor, _mean_gray(images).mean()),
        ),
        Misconception(
            hint="Values outside [0, 1] remain: clamp them.",
            answer=lambda images, factor: _contrast(images, factor, _mean_gray(images), clamp=False),
        ),
        Misconception(
            hint="That is brightness: it blends with black. Contrast blends with the mean grey.",
            answer=lambda images, factor: (factor * images).clamp(0, 1),
        ),
        Misconception(
            hint="That is saturation: it blends each pixel with its own grey. Contrast blends with the mean grey.",
            answer=lambda images, factor: _contrast(images, factor, grayscale(images)[:, None]),
        ),
    ],
)

# 4. The blur's kernel

blur_kernel_size = Exercise(
    solution=lambda side: SimCLRAugment(size=side).kernel_size,
    cases=[(16,), (32,), (48,), (96,), (112,), (128,), (224,)],
    misconceptions=[
        Misconception(
            hint="You rounded to the nearest number. 10 % of the side is rounded down.",
            answer=lambda side: max(3, round(0.1 * side) // 2 * 2 + 1),
        ),
        Misconception(
            hint="You took the next lower odd number where the number is even. The next one is higher.",
            answer=lambda side: max(3, int(0.1 * side) - (int(0.1 * side) % 2 == 0)),
        ),
        Misconception(
            hint="A kernel needs a middle pixel: its width must be odd.",
            answer=lambda side: max(3, int(0.1 * side)),
        ),
        Misconception(
            hint="One pixel is no blur: the smallest kernel is 3 wide.",
            answer=lambda side: int(0.1 * side) // 2 * 2 + 1,
        ),
        Misconception(
            hint="Take 10 % of the side, not of the area.",
            answer=lambda side: int(0.1 * side * side) // 2 * 2 + 1,
        ),
    ],
    tolerance=0,
)

EXERCISES = collect(globals())
