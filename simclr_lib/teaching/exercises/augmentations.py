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
            hint="Your share is above 1, so the crop would be larger than the image. The longer side of a crop can be "
            "as long as the image, and its shorter side is shorter than that.",
            answer=lambda ratio: max(ratio, 1 / ratio),
        ),
        Misconception(
            hint="The longer side is that of the image, 1. Then the shorter side is the area already: no root.",
            answer=lambda ratio: math.sqrt(min(ratio, 1 / ratio)),
        ),
        Misconception(
            hint="A crop that is wider than high cannot cover the whole image either. Its width is at most that of the "
            "image, and its height is the width divided by `ratio`.",
            answer=lambda ratio: min(1.0, ratio),
        ),
        Misconception(
            hint="A crop that is higher than wide cannot cover the whole image either. Its height is at most that of "
            "the image, and its width is the height times `ratio`.",
            answer=lambda ratio: min(1.0, 1 / ratio),
        ),
        Misconception(
            hint="You subtracted how far the ratio is from 1. Take a crop whose longer side is 1, and compute its "
            "shorter side by a division.",
            answer=lambda ratio: 1 - abs(1 - ratio),
        ),
        Misconception(
            hint="You divided by the sum of both sides. Compare the areas: that of the image is 1, and the longer side "
            "of the crop is 1, too.",
            answer=lambda ratio: ratio / (1 + ratio),
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
        Misconception(
            hint="You left out the jitter, which changes the colours, too.",
            answer=lambda color_prob, gray_prob: 1 - gray_prob,
        ),
        Misconception(
            hint="You added the two probabilities of not happening. Both events are independent, so multiply the "
            "probabilities.",
            answer=lambda color_prob, gray_prob: (1 - color_prob) + (1 - gray_prob),
        ),
        Misconception(
            hint="You took the mean of the two probabilities of not happening. Multiply them.",
            answer=lambda color_prob, gray_prob: ((1 - color_prob) + (1 - gray_prob)) / 2,
        ),
        Misconception(
            hint="You looked at the more probable change only. The other one may happen without it.",
            answer=lambda color_prob, gray_prob: 1 - max(color_prob, gray_prob),
        ),
        Misconception(
            hint="That is how often the jitter happens and the grayscale does not. Neither may happen.",
            answer=lambda color_prob, gray_prob: color_prob * (1 - gray_prob),
        ),
        Misconception(
            hint="That is how often the grayscale happens and the jitter does not. Neither may happen.",
            answer=lambda color_prob, gray_prob: (1 - color_prob) * gray_prob,
        ),
        Misconception(
            hint="That is how often just one of the two happens. Neither may happen.",
            answer=lambda color_prob, gray_prob: color_prob * (1 - gray_prob) + (1 - color_prob) * gray_prob,
        ),
        Misconception(
            hint="That is how often both views of a pair keep their colours. The question is about one view.",
            answer=lambda color_prob, gray_prob: ((1 - color_prob) * (1 - gray_prob)) ** 2,
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
    cases=[(_images(4, 8), 1.5), (_images(2, 6, seed=1), 0.4)],
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
            hint="Values above 1 remain. You cut off only what is below 0: clamp at both ends.",
            answer=lambda images, factor: _contrast(images, factor, _mean_gray(images), clamp=False).clamp(min=0),
        ),
        Misconception(
            hint="Values below 0 remain. You cut off only what is above 1: clamp at both ends.",
            answer=lambda images, factor: _contrast(images, factor, _mean_gray(images), clamp=False).clamp(max=1),
        ),
        Misconception(
            hint="`factor` and 1 − `factor` are exchanged. A factor of 1 has to leave the image as it is.",
            answer=lambda images, factor: _contrast(images, 1 - factor, _mean_gray(images)),
        ),
        Misconception(
            hint="You blended with the grey level 0.5. Contrast blends with the mean of each image's grayscale.",
            answer=lambda images, factor: _contrast(images, factor, torch.full((), 0.5)),
        ),
        Misconception(
            hint="You added the whole mean. It counts 1 − `factor` times, so that a factor of 1 changes nothing.",
            answer=lambda images, factor: (factor * images + _mean_gray(images)).clamp(0, 1),
        ),
        Misconception(
            hint="You subtracted the mean and did not add it again, so the images are too dark.",
            answer=lambda images, factor: (factor * (images - _mean_gray(images))).clamp(0, 1),
        ),
        Misconception(
            hint="You changed the grayscale images. The colours have to stay: blend the images themselves with the "
            "mean grey.",
            answer=lambda images, factor: _contrast(
                grayscale(images)[:, None].expand_as(images), factor, _mean_gray(images)
            ),
        ),
        Misconception(
            hint="That is brightness: it blends with black. Contrast blends with the mean grey.",
            answer=lambda images, factor: (factor * images).clamp(0, 1),
        ),
        Misconception(
            hint="That is saturation: it blends each pixel with its own grey. Contrast blends with the mean grey.",
            answer=lambda images, factor: _contrast(images, factor, grayscale(images)[:, None]),
        ),
        Misconception(
            hint="You added the change to the image itself. Start from the mean grey: with a factor of 1 the image "
            "stays as it is.",
            answer=lambda images, factor: (images + factor * (images - _mean_gray(images))).clamp(0, 1),
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
            hint="You always add 1, also where 10 % of the side is odd already. Only an even number becomes the next "
            "odd one.",
            answer=lambda side: max(3, int(0.1 * side) + 1),
        ),
        Misconception(
            hint="You rounded 10 % of the side up. It is rounded down.",
            answer=lambda side: max(3, math.ceil(side / 10) // 2 * 2 + 1),
        ),
        Misconception(
            hint="You added 3. The width is at least 3: take the larger of 3 and your number.",
            answer=lambda side: int(0.1 * side) // 2 * 2 + 3,
        ),
        Misconception(
            hint="One pixel is no blur: the smallest kernel is 3 wide.",
            answer=lambda side: int(0.1 * side) // 2 * 2 + 1,
        ),
        Misconception(
            hint="Take 10 % of the side, not of the area.",
            answer=lambda side: int(0.1 * side * side) // 2 * 2 + 1,
        ),
        Misconception(
            hint="You add 1 to an odd number, which makes it even. Add 1 to an even number.",
            answer=lambda side: max(3, int(0.1 * side) + int(0.1 * side) % 2),
        ),
        Misconception(
            hint="A number of pixels is a whole number. Round 10 % of the side down. If that is even, take the next "
            "odd number.",
            answer=lambda side: max(3, 0.1 * side),
        ),
        Misconception(
            hint="You rounded to the nearest number, and even widths remain. Round 10 % of the side down. If that is "
            "even, take the next odd number.",
            answer=lambda side: max(3, round(0.1 * side)),
        ),
    ],
    tolerance=0,
)

EXERCISES = collect(globals())
