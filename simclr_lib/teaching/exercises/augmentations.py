"""Exercises of notebook 01: crops, probabilities, colour operations and the blur's kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simclr_lib.augment import SimCLRAugment, grayscale
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect


def _images(n: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# 1. From (share of the area, aspect ratio) to a box

crop_size = Exercise(
    solution=lambda area, ratio, side: (side * math.sqrt(area * ratio), side * math.sqrt(area / ratio)),
    cases=[(0.25, 1.0, 32), (0.5, 4 / 3, 32), (0.08, 3 / 4, 96), (1.0, 4 / 3, 32)],
    misconceptions=[
        Misconception(
            hint="Your box is cut off where it sticks out of the image. Then its area is no longer the one that was "
            "asked for. Such a box is drawn again, but that is not the task of this function.",
            answer=lambda area, ratio, side: (
                min(side, side * math.sqrt(area * ratio)),
                min(side, side * math.sqrt(area / ratio)),
            ),
        ),
        Misconception(
            hint="That is the wrong area: width times height should be area · side². Take the root.",
            answer=lambda area, ratio, side: (side * area * ratio, side * area / ratio),
        ),
        Misconception(
            hint="A share of the area is not a share of the side: half the side is a quarter of the area. Take the "
            "root.",
            answer=lambda area, ratio, side: (side * area * math.sqrt(ratio), side * area / math.sqrt(ratio)),
        ),
        Misconception(
            hint="Width and height are swapped: the ratio is width / height, and the answer is (width, height).",
            answer=lambda area, ratio, side: (side * math.sqrt(area / ratio), side * math.sqrt(area * ratio)),
        ),
        Misconception(
            hint="Your crop's width / height is the ratio squared: both sides change, each by its root.",
            answer=lambda area, ratio, side: (side * math.sqrt(area) * ratio, side * math.sqrt(area) / ratio),
        ),
        Misconception(
            hint="Only the width changes with the ratio in your answer, so the area is no longer the one that was "
            "asked for.",
            answer=lambda area, ratio, side: (side * math.sqrt(area) * ratio, side * math.sqrt(area)),
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
