"""Exercises of notebook 05: equal compute, paired seeds, labels for a target, mean corruption error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simclr_lib.evaluation import labels_needed
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect


def _reals(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# 1. As many views as SimCLR

matched_epochs = Exercise(
    solution=lambda num_images, epochs, num_labelled: 2 * num_images * epochs / num_labelled,
    cases=[(50_000, 100, 500), (4_096, 12, 4_096), (10_000, 200, 1_000), (1_000, 7, 300)],
    misconceptions=[
        Misconception(
            hint="SimCLR takes two views of each image; training with labels takes one.",
            answer=lambda n, epochs, labelled: n * epochs / labelled,
        ),
        Misconception(
            hint="Equal epochs are not equal work: an epoch over fewer images is shorter.",
            answer=lambda n, epochs, labelled: epochs,
        ),
        Misconception(
            hint="An epoch over fewer images is shorter, too: the two views are only one of the two differences.",
            answer=lambda n, epochs, labelled: 2 * epochs,
        ),
        Misconception(
            hint="The ratio is upside down: fewer labelled images need more epochs, not fewer.",
            answer=lambda n, epochs, labelled: 2 * epochs * labelled / n,
        ),
        Misconception(
            hint="You rounded. The last case has a fraction of an epoch: return it as it is.",
            answer=lambda n, epochs, labelled: 2 * n * epochs // labelled,
        ),
        Misconception(
            hint="You rounded up. The last case has a fraction of an epoch: return the number as it is.",
            answer=lambda n, epochs, labelled: math.ceil(2 * n * epochs / labelled),
        ),
        Misconception(
            hint="You halved where you should double: SimCLR's epoch has two views of an image, so the other must run "
            "longer.",
            answer=lambda n, epochs, labelled: n * epochs / labelled / 2,
        ),
    ],
)

# 2. A difference and its deviation

_OURS, _THEIRS = _reals(0.86, 0.91, 0.88), _reals(0.69, 0.74, 0.70)
_MORE_OURS, _MORE_THEIRS = _reals(0.5, 0.7, 0.6, 0.9), _reals(0.6, 0.65, 0.75, 0.7)


def _paired(ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.stack([(ours - theirs).mean(), (ours - theirs).std()])


paired_difference = Exercise(
    solution=_paired,
    cases=[(_OURS, _THEIRS), (_MORE_OURS, _MORE_THEIRS)],
    misconceptions=[
        Misconception(
            hint="You added the variances, as for runs that have nothing in common. These share their seed and their "
            "labelled images: take the differences first, then their deviation.",
            answer=lambda ours, theirs: torch.stack([ours.mean() - theirs.mean(), (ours.var() + theirs.var()).sqrt()]),
        ),
        Misconception(
            hint="The deviation of a difference is not the difference of the deviations.",
            answer=lambda ours, theirs: torch.stack([ours.mean() - theirs.mean(), ours.std() - theirs.std()]),
        ),
        Misconception(
            hint="The deviation divides by N in your answer. With a handful of seeds it makes a difference: divide by "
            "N − 1.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), (ours - theirs).std(correction=0)]),
        ),
        Misconception(
            hint="That is the standard error of the mean; the question is the deviation between seeds.",
            answer=lambda ours, theirs: _paired(ours, theirs) * torch.tensor([1, 1 / math.sqrt(len(ours))]),
        ),
        Misconception(
            hint="The sign is the other way round: ours minus theirs.",
            answer=lambda ours, theirs: _paired(theirs, ours),
        ),
        Misconception(
            hint="You took the differences' size without their sign: a loss would count as a win.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).abs().mean(), (ours - theirs).abs().std()]),
        ),
    ],
    tolerance=1e-6,
)

# 3. The labels that a target takes


def _crossing(budgets: Tensor, accuracies: Tensor, target: float) -> tuple[int, float]:
    """The right end of the segment in which the target is reached, and the target's position in it from 0 to 1."""
    right = int((accuracies >= target).nonzero()[0])
    low, high = accuracies[right - 1].item(), accuracies[right].item()
    return right, (target - low) / (high - low)


def _linearly(budgets: Tensor, accuracies: Tensor, target: float) -> float:
    right, share = _crossing(budgets, accuracies, target)
    return (1 - share) * budgets[right - 1].item() + share * budgets[right].item()


def _from_the_wrong_end(budgets: Tensor, accuracies: Tensor, target: float) -> float:
    right, share = _crossing(budgets, accuracies, target)
    return math.exp(share * budgets[right - 1].log().item() + (1 - share) * budgets[right].log().item())


_BUDGETS = _reals(10, 20, 50, 100)

labels_for = Exercise(
    solution=lambda budgets, accuracies, target: labels_needed(
        dict(zip(budgets.tolist(), accuracies.tolist(), strict=True)), target
    ),
    cases=[(_BUDGETS, _reals(0.60, 0.72, 0.84, 0.90), 0.80), (_BUDGETS, _reals(0.30, 0.35, 0.45, 0.60), 0.50)],
    misconceptions=[
        Misconception(
            hint="You drew straight lines over the number of labels. Accuracy grows with its logarithm: interpolate "
            "that.",
            answer=_linearly,
        ),
        Misconception(
            hint="That is the first budget that is enough; between two budgets lies the answer.",
            answer=lambda budgets, accuracies, target: budgets[_crossing(budgets, accuracies, target)[0]],
        ),
        Misconception(
            hint="That is the last budget that is not enough; between two budgets lies the answer.",
            answer=lambda budgets, accuracies, target: budgets[_crossing(budgets, accuracies, target)[0] - 1],
        ),
        Misconception(
            hint="That is the budget whose accuracy is nearest; between two budgets lies the answer.",
            answer=lambda budgets, accuracies, target: budgets[(accuracies - target).abs().argmin()],
        ),
        Misconception(
            hint="You return a logarithm: undo it with exp.",
            answer=lambda budgets, accuracies, target: _linearly(budgets.log(), accuracies, target),
        ),
        Misconception(
            hint="You interpolated from the wrong end: near the left accuracy the left budget must count for more.",
            answer=_from_the_wrong_end,
        ),
    ],
)

# 4. Mean corruption error

_ACCURACY, _BASELINE = _reals(0.9, 0.6, 0.8, 0.2), _reals(0.8, 0.7, 0.5, 0.1)

mean_corruption_error = Exercise(
    solution=lambda accuracy, baseline: ((1 - accuracy) / (1 - baseline)).mean(),
    cases=[(_ACCURACY, _BASELINE), (_BASELINE, _reals(0.4, 0.9, 0.6, 0.3))],
    misconceptions=[
        Misconception(
            hint="Those are ratios of accuracies: take the errors, 1 − accuracy.",
            answer=lambda a, b: (a / b).mean(),
        ),
        Misconception(
            hint="You summed before you divided: then the hardest damage decides alone. Divide for each kind, then "
            "average.",
            answer=lambda a, b: (1 - a).mean() / (1 - b).mean(),
        ),
        Misconception(
            hint="That is the error alone: divide by the baseline's error on the same damage.",
            answer=lambda a, b: (1 - a).mean(),
        ),
        Misconception(
            hint="The ratio is upside down: a network that errs less than the baseline should get less than 1.",
            answer=lambda a, b: ((1 - b) / (1 - a)).mean(),
        ),
        Misconception(
            hint="You added up the ratios: divide by the number of kinds.",
            answer=lambda a, b: ((1 - a) / (1 - b)).sum(),
        ),
        Misconception(
            hint="That is in per cent: return the plain ratio, where 1 is as good as the baseline.",
            answer=lambda a, b: 100 * ((1 - a) / (1 - b)).mean(),
        ),
        Misconception(
            hint="You subtracted: divide, so that 1 is as good as the baseline.",
            answer=lambda a, b: (b - a).mean(),
        ),
    ],
)

EXERCISES = collect(globals())
