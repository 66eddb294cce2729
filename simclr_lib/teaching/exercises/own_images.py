"""Exercises of notebook 07: a stable test part, grey levels of a whole set, copies, accuracy of unequal classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.evaluation import balanced_accuracy
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect, normal

# 1. A test part that stays when photos are added


def _uniform(n: int, seed: int) -> Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _smallest(scores: Tensor, share: float) -> Tensor:
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[scores.argsort()[: round(share * len(scores))]] = True
    return chosen


held_out = Exercise(
    solution=lambda scores, share: scores < share,
    cases=[(_uniform(20, 0), 0.2), (_uniform(31, 1), 0.5), (_uniform(40, 2), 0.1)],
    misconceptions=[
        Misconception(
            hint="That is exactly the share, but it depends on the other photos: one that is added pushes another out.",
            answer=_smallest,
        ),
        Misconception(
            hint="You go by the position. A photo that is added at the beginning moves all others.",
            answer=lambda scores, share: torch.arange(len(scores)) < share * len(scores),
        ),
        Misconception(
            hint="You hold out all but the share: a score is below 0.2 for a fifth of the photos.",
            answer=lambda scores, share: scores >= share,
        ),
        Misconception(
            hint="A new random draw has nothing to do with the photo's name: the next call would choose others.",
            answer=lambda scores, share: torch.rand(len(scores), generator=torch.Generator().manual_seed(0)) < share,
        ),
    ],
)

# 2. Grey levels of 12 or 16 bits


def _scaled(image: Tensor, low: float, high: float) -> Tensor:
    return (255 * (image - low) / (high - low)).clamp(0, 255)


to_8_bits = Exercise(
    solution=lambda image, low, high: _scaled(image, low, high).round(),
    cases=[
        (torch.tensor([[0.0, 1000.0], [2000.0, 4095.0]]), 0.0, 4095.0),
        (torch.tensor([[300.0, 90.0], [1200.0, 2500.0]]), 100.0, 2100.0),
    ],
    misconceptions=[
        Misconception(
            hint="You scaled by the image's own range: then a dark photo looks like a bright one, and the difference "
            "between them is gone.",
            answer=lambda image, low, high: _scaled(image, float(image.min()), float(image.max())).round(),
        ),
        Misconception(
            hint="You divided by 65,535, the most that 16 bits hold. A camera with 12 bits uses a sixteenth of that, "
            "and all is almost black.",
            answer=lambda image, low, high: _scaled(image, 0.0, 65535.0).round(),
        ),
        Misconception(
            hint="The lowest level is not black yet: subtract it first.",
            answer=lambda image, low, high: (255 * image / high).clamp(0, 255).round(),
        ),
        Misconception(
            hint="Levels outside low … high leave 0 … 255. As 8-bit numbers they would wrap around: clamp them.",
            answer=lambda image, low, high: (255 * (image - low) / (high - low)).round(),
        ),
        Misconception(
            hint="You cut the decimals off, which makes everything half a level darker: round.",
            answer=lambda image, low, high: _scaled(image, low, high).floor(),
        ),
    ],
)

# 3. The same picture twice


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return F.cosine_similarity(a.flatten(), b.flatten(), dim=0)


correlation = Exercise(
    solution=lambda a, b: _cosine(a - a.mean(), b - b.mean()),
    cases=[
        (normal(4, 4, seed=0) + 3, normal(4, 4, seed=1) + 5),
        (normal(5, 5, seed=2) + 1, 0.5 * normal(5, 5, seed=2) + 2),
    ],
    misconceptions=[
        Misconception(
            hint="Without the means subtracted, any two bright images are alike: their cosine similarity is near 1.",
            answer=_cosine,
        ),
        Misconception(
            hint="That is the covariance: it grows with the contrast. Divide by both lengths.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).mean(),
        ),
        Misconception(
            hint="A difference of pixels is not small for a copy that is a little brighter.",
            answer=lambda a, b: (a - b).abs().mean(),
        ),
        Misconception(
            hint="You subtracted a mean from each row: the image has one mean.",
            answer=lambda a, b: _cosine(a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)),
        ),
    ],
)

# 4. Accuracy where classes are of unequal size

_LABELS = torch.tensor([0] * 12 + [1] * 3 + [2] * 5)
_PREDICTED = torch.tensor([0] * 11 + [1] + [1, 0, 0] + [2, 2, 2, 0, 1])


def _recalls(predicted: Tensor, labels: Tensor) -> list[float]:
    return [(predicted[labels == c] == c).double().mean().item() for c in labels.unique().tolist()]


def _precisions(predicted: Tensor, labels: Tensor) -> list[float]:
    return [(labels[predicted == c] == c).double().mean().item() for c in labels.unique().tolist()]


balanced = Exercise(
    solution=balanced_accuracy,
    cases=[(_PREDICTED, _LABELS), (torch.zeros(20, dtype=torch.int64), _LABELS), (_PREDICTED, _LABELS + (_LABELS > 0))],
    misconceptions=[
        Misconception(
            hint="That is the plain accuracy: the largest class decides it.",
            answer=lambda predicted, labels: (predicted == labels).double().mean(),
        ),
        Misconception(
            hint="You divided by the number of times that a class was predicted (precision). Divide by the number of "
            "images of the class (recall).",
            answer=lambda predicted, labels: sum(_precisions(predicted, labels)) / len(labels.unique()),
        ),
        Misconception(
            hint="You took the worst class. The mean over the classes is meant.",
            answer=lambda predicted, labels: min(_recalls(predicted, labels)),
        ),
        Misconception(
            hint="A class without any image has no accuracy: leave it out of the mean.",
            answer=lambda predicted, labels: sum(_recalls(predicted, labels)) / (int(labels.max()) + 1),
        ),
    ],
)

EXERCISES = collect(globals())
