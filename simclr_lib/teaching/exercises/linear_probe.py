"""Exercises of notebook 04: standardising, choosing the penalty, the confusion matrix, balanced few labels."""

from __future__ import annotations

import torch
from torch import Tensor

from simclr_lib.teaching.exercises.exercise import Exercise


def _normal(*shape: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


# 1. Standardising test features


def _with_statistics_of(train: Tensor, test: Tensor) -> Tensor:
    return (test - train.mean(dim=0)) / train.std(dim=0, correction=0)


standardise = Exercise(
    solution=_with_statistics_of,
    cases=[
        (_normal(20, 3, seed=0, scale=2, shift=1), _normal(5, 3, seed=1)),
        (_normal(30, 4, seed=2), _normal(9, 4, seed=3, scale=3, shift=-2)),
    ],
    misconceptions={
        "You took the test set's own mean and deviation: then a test image's features depend on the other test "
        "images, and the head sees another scale than it was trained on.": lambda train, test: _with_statistics_of(
            test, test
        ),
        "You took the statistics of both parts together: the test set leaks into them.": (
            lambda train, test: _with_statistics_of(torch.cat([train, test]), test)
        ),
        "One mean and deviation for all features is too coarse: each feature (column) has its own.": (
            lambda train, test: (test - train.mean()) / train.std(correction=0)
        ),
        "You only subtracted the mean: divide by the deviation too.": lambda train, test: test - train.mean(dim=0),
        "The deviation divides by N − 1 in your answer: use correction=0.": lambda train, test: (
            (test - train.mean(dim=0)) / train.std(dim=0)
        ),
        "You divided by the variance: the deviation is its root.": (
            lambda train, test: (test - train.mean(dim=0)) / train.var(dim=0, correction=0)
        ),
    },
)

# 2. Which penalty?

choose_penalty = Exercise(
    solution=lambda validation: max(validation, key=lambda l2: (validation[l2], l2)),
    cases=[
        ({1e-1: 0.70, 1e-2: 0.85, 1e-3: 0.85, 1e-4: 0.80},),
        ({1e-1: 0.90, 1e-2: 0.90, 1e-3: 0.60},),
        ({1e-4: 0.50, 1e-3: 0.55, 1e-2: 0.40},),
    ],
    misconceptions={
        "You return the accuracy; the question is which penalty reached it.": lambda validation: max(
            validation.values()
        ),
        "Of two equally good penalties take the stronger one: it is the simpler model.": (
            lambda validation: max(validation, key=lambda l2: (validation[l2], -l2))
        ),
        "That is the worst one: accuracy should be high.": (
            lambda validation: min(validation, key=lambda l2: (validation[l2], -l2))
        ),
        "That is the strongest penalty, whatever it reached.": max,
    },
    tolerance=1e-9,
)

# 3. The confusion matrix


def _confusion(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


_LABELS, _PREDICTED = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2]), torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 0])

confusion_matrix = Exercise(
    solution=_confusion,
    cases=[(_LABELS, _PREDICTED, 3), (_LABELS, _PREDICTED, 4)],
    misconceptions={
        "Rows and columns are swapped: a row is a true class, a column a predicted one.": (
            lambda labels, predicted, c: _confusion(predicted, labels, c)
        ),
        "These are shares: the question is how many images.": (
            lambda labels, predicted, c: _confusion(labels, predicted, c) / len(labels)
        ),
        "A pair that occurs several times counts once in your matrix: `m[labels, predicted] += 1` does not add up "
        "repeated indices.": lambda labels, predicted, c: (_confusion(labels, predicted, c) > 0).long(),
        "You counted the mistakes only: the diagonal holds what was right.": (
            lambda labels, predicted, c: _confusion(labels, predicted, c).fill_diagonal_(0)
        ),
    },
    tolerance=0,
)

# 4. Test-set selection

chance_of_record = Exercise(
    solution=lambda tries, p: 1 - (1 - p) ** tries,
    cases=[(20, 0.05), (100, 0.01), (1, 0.3)],
    misconceptions={
        "Chances of several tries do not add up: that can exceed 1.": lambda tries, p: tries * p,
        "That is the chance that it never happens: subtract it from 1.": lambda tries, p: (1 - p) ** tries,
        "That is the chance that it happens every time.": lambda tries, p: p**tries,
    },
)

EXERCISES = {
    "standardise": standardise,
    "choose_penalty": choose_penalty,
    "confusion_matrix": confusion_matrix,
    "chance_of_record": chance_of_record,
}
