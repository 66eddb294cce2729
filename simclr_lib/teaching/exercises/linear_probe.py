"""Exercises of notebook 04: standardising, choosing the penalty, the most frequent mistake, records by chance."""

from __future__ import annotations

import math

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
        Misconception(
            hint="You took the statistics of each image over its features. Each feature (column) has its own over the "
            "images: dim=0.",
            answer=lambda train, test: (test - test.mean(1, keepdim=True)) / test.std(1, keepdim=True, correction=0),
        ),
        Misconception(
            hint="The deviation is that of the training set, but the mean is the test set's: take both from the "
            "training set.",
            answer=lambda train, test: (test - test.mean(dim=0)) / train.std(dim=0, correction=0),
        ),
        Misconception(
            hint="Division comes before subtraction: put test − mean in brackets.",
            answer=lambda train, test: test - train.mean(dim=0) / train.std(dim=0, correction=0),
        ),
        Misconception(
            hint="You scaled by the smallest and the largest value. Standardising subtracts the mean and divides by "
            "the standard deviation.",
            answer=lambda train, test: (test - train.amin(dim=0)) / (train.amax(dim=0) - train.amin(dim=0)),
        ),
        Misconception(
            hint="You took the mean and the deviation of all test features at once. Each feature (column) has its own, "
            "and they come from the training set.",
            answer=lambda train, test: (test - test.mean()) / test.std(correction=0),
        ),
        Misconception(
            hint="You divided by the root of the mean square. The deviation is that of the distances from the mean.",
            answer=lambda train, test: (test - train.mean(dim=0)) / train.square().mean(dim=0).sqrt(),
        ),
        Misconception(
            hint="You divided each image by the length of its row. Divide each feature (column) by its deviation.",
            answer=lambda train, test: torch.nn.functional.normalize(test - train.mean(dim=0), dim=1),
        ),
        Misconception(
            hint="You took the median. Standardising subtracts the mean.",
            answer=lambda train, test: (test - train.median(dim=0).values) / train.std(dim=0, correction=0),
        ),
        Misconception(
            hint="You only divided by the deviation: subtract the mean first.",
            answer=lambda train, test: test / train.std(dim=0, correction=0),
        ),
        Misconception(
            hint="You multiplied by the deviation: divide by it.",
            answer=lambda train, test: (test - train.mean(dim=0)) * train.std(dim=0, correction=0),
        ),
        Misconception(
            hint="These are the training features. Return the test features, standardised with the statistics of the "
            "training set.",
            answer=lambda train, test: _with_statistics_of(train, train),
        ),
        Misconception(
            hint="You took the test set's own mean and deviation: then a test image's features depend on the other "
            "test images, and the head sees another scale than it was trained on.",
            answer=lambda train, test: (test - test.mean(dim=0)) / test.std(dim=0),
        ),
        Misconception(
            hint="You took the statistics of both parts together: the test set leaks into them.",
            answer=lambda train, test: (
                (test - torch.cat([train, test]).mean(dim=0)) / torch.cat([train, test]).std(dim=0)
            ),
        ),
        Misconception(
            hint="You divided each image by its length. Subtract from each feature (column) its mean, and divide by "
            "its deviation.",
            answer=lambda train, test: torch.nn.functional.normalize(test, dim=1),
        ),
        Misconception(
            hint="These are the training features. Return the test features, standardised with the statistics of the "
            "training set.",
            answer=lambda train, test: (train - train.mean(dim=0)) / train.std(dim=0),
        ),
    ],
)

# 2. The choice of the penalty


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


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
        Misconception(hint="That is the weakest penalty, whatever it reached.", answer=min),
        Misconception(
            hint="Of equally good ones you take the last in the list. The strengths may be listed in any order.",
            answer=lambda validation: sorted(validation, key=lambda l2: validation[l2])[-1],
        ),
        Misconception(
            hint="This is a strength and its accuracy. Return the strength alone.",
            answer=lambda validation: max(validation.items(), key=lambda item: item[::-1]),
        ),
        Misconception(
            hint="This is an accuracy and its strength. Return the strength alone.",
            answer=lambda validation: max((accuracy, l2) for l2, accuracy in validation.items()),
        ),
        Misconception(
            hint="These are all strengths that are equally good. Return the strongest of them.",
            answer=lambda validation: [l2 for l2 in validation if validation[l2] == max(validation.values())],
        ),
        Misconception(
            hint="You averaged the strengths that are equally good. Return the strongest of them.",
            answer=lambda validation: _mean([l2 for l2 in validation if validation[l2] == max(validation.values())]),
        ),
        Misconception(
            hint="That is a place in the list. Return the strength itself.",
            answer=lambda validation: list(validation.values()).index(max(validation.values())),
        ),
        Misconception(
            hint="This is a strength and its accuracy. Return the strength alone.",
            answer=lambda validation: max(validation.items(), key=lambda item: item[1]),
        ),
        Misconception(
            hint="This is a strength and its accuracy. Return the strength alone.",
            answer=lambda validation: sorted(validation.items(), key=lambda item: item[1])[-1],
        ),
    ],
    tolerance=1e-9,
)

# 3. The most frequent mistake


def _counts(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Count how often each class (row) was taken for each class (column)."""
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def _largest(counts: Tensor) -> tuple[int, int]:
    return divmod(int(counts.argmax()), counts.shape[1])


def _mistakes(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    return _counts(labels, predicted, num_classes).fill_diagonal_(0)


def _rarest_first(counts: Tensor) -> Tensor:
    return torch.where(counts > 0, -counts, -counts.sum() - 1)


def _pairs_of(*counted: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Labels and predicted classes, each pair (true, predicted) that many times."""
    pairs = torch.tensor([(true, guess) for true, guess, times in counted for _ in range(times)])
    return pairs[:, 0], pairs[:, 1]


most_frequent_mistake = Exercise(
    solution=lambda labels, predicted, num_classes: _largest(_mistakes(labels, predicted, num_classes)),
    cases=[
        (*_pairs_of((0, 0, 9), (0, 2, 3), (1, 1, 1), (1, 0, 2), (2, 2, 4), (2, 0, 2), (2, 1, 2)), 3),
        (*_pairs_of((0, 0, 5), (0, 3, 2), (1, 2, 2), (1, 1, 0), (2, 1, 4), (2, 2, 8), (3, 0, 3), (3, 3, 2)), 5),
        # Class 2 has most mistakes, in equal shares, and class 1 is predicted wrongly most often. The first mistake is
        # neither that of the smallest classes nor the most frequent one.
        (*_pairs_of((2, 1, 3), (2, 0, 3), (2, 3, 3), (0, 3, 5), (0, 0, 9), (1, 0, 1), (3, 1, 4), (3, 3, 1)), 4),
    ],
    misconceptions=[
        Misconception(
            hint="That is the most frequent pair, and it was right. Leave the diagonal out.",
            answer=lambda labels, predicted, c: _largest(_counts(labels, predicted, c)),
        ),
        Misconception(
            hint="The two are swapped: first the true class, then the predicted one.",
            answer=lambda labels, predicted, c: _largest(_mistakes(labels, predicted, c))[::-1],
        ),
        Misconception(
            hint="You compared shares of each true class. The question is which mistake was made most often.",
            answer=lambda labels, predicted, c: _largest(
                _mistakes(labels, predicted, c) / _counts(labels, predicted, c).sum(dim=1, keepdim=True).clamp(min=1)
            ),
        ),
        Misconception(
            hint="That is how often it happened. Return the two classes.",
            answer=lambda labels, predicted, c: _mistakes(labels, predicted, c).max(),
        ),
        Misconception(
            hint="That is the place in the flattened matrix. The row is the true class, the column the predicted one: "
            "divmod.",
            answer=lambda labels, predicted, c: _mistakes(labels, predicted, c).argmax(),
        ),
        Misconception(
            hint="You added up both directions. That a was taken for b and b for a are two mistakes.",
            answer=lambda labels, predicted, c: _largest(
                (_mistakes(labels, predicted, c) + _mistakes(labels, predicted, c).T).triu()
            ),
        ),
        Misconception(
            hint="You looked for the class with the most mistakes, and for the class that was wrongly predicted most. "
            "They need not belong together: count the pairs.",
            answer=lambda labels, predicted, c: [_mistakes(labels, predicted, c).sum(dim).argmax() for dim in (1, 0)],
        ),
        Misconception(
            hint="That is the first mistake of the list. Count how often each pair of classes occurs.",
            answer=lambda labels, predicted, c: (labels[labels != predicted][0], predicted[labels != predicted][0]),
        ),
        Misconception(
            hint="You looked first for the class with the most mistakes, and then for the class that it was taken for "
            "most often. Another class may have one mistake that is more frequent: compare all pairs.",
            answer=lambda labels, predicted, c: (
                true := int(_mistakes(labels, predicted, c).sum(dim=1).argmax()),
                _mistakes(labels, predicted, c)[true].argmax(),
            ),
        ),
        Misconception(
            hint="You looked first for the class that was wrongly predicted most often, and then for the true class "
            "behind most of these mistakes. Another pair may be more frequent: compare all pairs.",
            answer=lambda labels, predicted, c: (
                _mistakes(labels, predicted, c)[:, guess := int(_mistakes(labels, predicted, c).sum(dim=0).argmax())]
                .argmax()
                .item(),
                guess,
            ),
        ),
        Misconception(
            hint="You compared shares of each predicted class. The question is which mistake was made most often.",
            answer=lambda labels, predicted, c: _largest(
                _mistakes(labels, predicted, c) / _counts(labels, predicted, c).sum(dim=0).clamp(min=1)
            ),
        ),
        Misconception(
            hint="That is the rarest of the mistakes that occur. Return the most frequent one.",
            answer=lambda labels, predicted, c: _largest(_rarest_first(_mistakes(labels, predicted, c))),
        ),
        Misconception(
            hint="A pair that occurs several times counts once in your answer: `m[labels, predicted] += 1` does not "
            "add up repeated indices.",
            answer=lambda labels, predicted, c: _largest((_mistakes(labels, predicted, c) > 0).long()),
        ),
    ],
    tolerance=0,
)

# 4. Test-set selection

chance_of_record = Exercise(
    solution=lambda tries, p: 1 - (1 - p) ** tries,
    cases=[(20, 0.05), (100, 0.01), (1, 0.3), (40, 0.05)],
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
        Misconception(
            hint="The chances that nothing happens are multiplied and not added up: (1 − p) to the power of `tries`.",
            answer=lambda tries, p: 1 - (1 - p) * tries,
        ),
        Misconception(
            hint="That is the chance that the first record comes with the last try. An earlier one counts, too.",
            answer=lambda tries, p: p * (1 - p) ** (tries - 1),
        ),
        Misconception(
            hint="You left out one try: the chance of no record in `tries` tries is (1 − p) to the power of `tries`.",
            answer=lambda tries, p: 1 - (1 - p) ** (tries - 1),
        ),
        Misconception(
            hint="You are near: exp(−p · tries) is nearly the chance of no record if p is small. The exact one is (1 "
            "− p) to the power of `tries`.",
            answer=lambda tries, p: 1 - math.exp(-tries * p),
        ),
        Misconception(
            hint="That is the chance of a record after `tries` tries without one. At least one of the tries is asked.",
            answer=lambda tries, p: p * (1 - p) ** tries,
        ),
        Misconception(
            hint="You took a root. The chances that nothing happens are multiplied: (1 − p) to the power of `tries`.",
            answer=lambda tries, p: 1 - (1 - p) ** (1 / tries),
        ),
        Misconception(
            hint="That is the expected number of records, cut at 1. Some of the trials with records have several.",
            answer=lambda tries, p: min(1.0, tries * p),
        ),
        Misconception(
            hint="`tries` has no effect in your answer: that is the chance of a single try.",
            answer=lambda tries, p: p,
        ),
        Misconception(
            hint="That is the chance that a single try does not beat the record.",
            answer=lambda tries, p: 1 - p,
        ),
    ],
)

EXERCISES = collect(globals())
