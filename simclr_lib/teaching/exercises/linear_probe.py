"""Exercises of notebook 04: standardising, choosing the penalty, the confusion matrix, balanced few labels."""

from __future__ import annotations

import torch
from torch import Tensor

from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect, normal

# 1. Standardising test features


def _with_statistics_of(train: Tensor, test: Tensor) -> Tensor:
    return (test - train.mean(dim=0)) / train.std(dim=0, correction=0)


standardise = Exercise(
    solution=_with_statistics_of,
    cases=[
        (2 * normal(20, 3, seed=0) + 1, normal(5, 3, seed=1)),
        (normal(30, 4, seed=2), 3 * normal(9, 4, seed=3) - 2),
    ],
    misconceptions=[
        Misconception(
            hint="You took the test set's own mean and deviation: then a test image's features depend on the other "
            "test images, and the head sees another scale than it was trained on.",
            answer=lambda train, test: _with_statistics_of(test, test),
        ),
        Misconception(
            hint="The mean is that of the training set, but the deviation is the test set's: take both from the "
            "training set.",
            answer=lambda train, test: (test - train.mean(dim=0)) / test.std(dim=0, correction=0),
        ),
        Misconception(
            hint="You took the statistics of both parts together: the test set leaks into them.",
            answer=lambda train, test: _with_statistics_of(torch.cat([train, test]), test),
        ),
        Misconception(
            hint="One mean and deviation for all features is too coarse: each feature (column) has its own.",
            answer=lambda train, test: (test - train.mean()) / train.std(correction=0),
        ),
        Misconception(
            hint="You only subtracted the mean: divide by the deviation too.",
            answer=lambda train, test: test - train.mean(dim=0),
        ),
        Misconception(
            hint="The deviation divides by N − 1 in your answer: use correction=0.",
            answer=lambda train, test: (test - train.mean(dim=0)) / train.std(dim=0),
        ),
        Misconception(
            hint="You divided by the variance: the deviation is its root.",
            answer=lambda train, test: (test - train.mean(dim=0)) / train.var(dim=0, correction=0),
        ),
    ],
)

# 2. The choice of the penalty

choose_penalty = Exercise(
    solution=lambda validation: max(validation, key=lambda l2: (validation[l2], l2)),
    cases=[
        ({1e-1: 0.70, 1e-2: 0.85, 1e-3: 0.85, 1e-4: 0.80},),
        ({1e-1: 0.90, 1e-2: 0.90, 1e-3: 0.60},),
        ({1e-4: 0.50, 1e-3: 0.55, 1e-2: 0.40},),
        ({1e-4: 0.80, 1e-3: 0.85, 1e-2: 0.85, 1e-1: 0.70},),  # from weak to strong
        ({1e-3: 0.901, 1e-2: 0.900, 1e-1: 0.897},),  # nearly equal is not equally good
    ],
    misconceptions=[
        Misconception(
            hint="You return the accuracy; the question is which penalty reached it.",
            answer=lambda validation: max(validation.values()),
        ),
        Misconception(
            hint="Of two equally good penalties take the stronger one: it is the simpler model.",
            answer=lambda validation: max(validation, key=lambda l2: (validation[l2], -l2)),
        ),
        Misconception(
            hint="That is the worst one: accuracy should be high.",
            answer=lambda validation: min(validation, key=lambda l2: (validation[l2], -l2)),
        ),
        Misconception(hint="That is the strongest penalty, whatever it reached.", answer=max),
        Misconception(
            hint="Of equally good ones you take the first in the list. The strengths may be listed in any order.",
            answer=lambda validation: max(validation, key=lambda l2: validation[l2]),
        ),
        Misconception(
            hint="You count a penalty that is nearly as good as equally good. The best one wins, however close.",
            answer=lambda validation: max(l2 for l2, a in validation.items() if a >= max(validation.values()) - 0.01),
        ),
    ],
    tolerance=1e-9,
)

# 3. The confusion matrix


def _confusion(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


_LABELS, _PREDICTED = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2]), torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 0])

confusion_matrix = Exercise(
    solution=_confusion,
    cases=[(_LABELS, _PREDICTED, 3), (_LABELS, _PREDICTED, 4)],
    misconceptions=[
        Misconception(
            hint="Rows and columns are swapped: a row is a true class, a column a predicted one.",
            answer=lambda labels, predicted, c: _confusion(predicted, labels, c),
        ),
        Misconception(
            hint="These are shares: the question is how many images.",
            answer=lambda labels, predicted, c: _confusion(labels, predicted, c) / len(labels),
        ),
        Misconception(
            hint="A pair that occurs several times counts once in your matrix: `m[labels, predicted] += 1` does not "
            "add up repeated indices.",
            answer=lambda labels, predicted, c: (_confusion(labels, predicted, c) > 0).long(),
        ),
        Misconception(
            hint="You counted the mistakes only: the diagonal holds what was right.",
            answer=lambda labels, predicted, c: _confusion(labels, predicted, c).fill_diagonal_(0),
        ),
    ],
    tolerance=0,
)

# 4. Test-set selection

chance_of_record = Exercise(
    solution=lambda tries, p: 1 - (1 - p) ** tries,
    cases=[(20, 0.05), (100, 0.01), (1, 0.3)],
    misconceptions=[
        Misconception(
            hint="Chances of several tries do not add up: that can exceed 1.",
            answer=lambda tries, p: tries * p,
        ),
        Misconception(
            hint="That is the chance that it never happens: subtract it from 1.",
            answer=lambda tries, p: (1 - p) ** tries,
        ),
        Misconception(
            hint="That is the chance that it happens every time.",
            answer=lambda tries, p: p**tries,
        ),
        Misconception(
            hint="That is the chance that it does not happen every time. At least once means: not never.",
            answer=lambda tries, p: 1 - p**tries,
        ),
        Misconception(
            hint="That is the chance of exactly one record: two or more count, too.",
            answer=lambda tries, p: tries * p * (1 - p) ** (tries - 1),
        ),
    ],
)

EXERCISES = collect(globals())
