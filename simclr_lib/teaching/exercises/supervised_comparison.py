"""Exercises of notebook 05: paired seeds, equal compute, labels for a target, the cost of a damage."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from simclr_lib.evaluation import labels_needed
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect


def _reals(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# 1. A difference and its deviation

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
        Misconception(
            hint="The two are in the wrong order: first the mean, then the deviation.",
            answer=lambda ours, theirs: _paired(ours, theirs).flip(0),
        ),
        Misconception(
            hint="That is the variance: the deviation is its root.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), (ours - theirs).var()]),
        ),
        Misconception(
            hint="That is the sum of the differences: divide by their number for the mean.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).sum(), (ours - theirs).std()]),
        ),
        Misconception(
            hint="You divided by the accuracy of the other one. The plain difference is asked.",
            answer=lambda ours, theirs: _paired(ours / theirs, torch.ones_like(theirs)),
        ),
        Misconception(
            hint="The mean is right, but the deviation is that of `ours`. Take the deviation of the differences.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), ours.std()]),
        ),
        Misconception(
            hint="The mean is right, but the deviation is that of `theirs`. Take the deviation of the differences.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), theirs.std()]),
        ),
        Misconception(
            hint="You pooled the variances of both sides. The runs share their seeds: take the differences first, then "
            "their deviation.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), ((ours.var() + theirs.var()) / 2).sqrt()]),
        ),
        Misconception(
            hint="That is the mean distance from the mean. The deviation is the root of the mean square (with N − 1).",
            answer=lambda ours, theirs: torch.stack(
                [(ours - theirs).mean(), ((ours - theirs) - (ours - theirs).mean()).abs().mean()]
            ),
        ),
        Misconception(
            hint="You took the median of the differences. The mean is asked.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).median(), (ours - theirs).std()]),
        ),
        Misconception(
            hint="These are the numbers of one side. Subtract first: ours − theirs.",
            answer=lambda ours, theirs: _paired(ours, torch.zeros_like(theirs)),
        ),
        Misconception(
            hint="You divided the deviation by the number of seeds. The deviation between the seeds is asked as it is.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), (ours - theirs).std() / len(ours)]),
        ),
        Misconception(
            hint="That is the root of the mean square of the differences. The deviation is measured from their mean: "
            "subtract it first.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), (ours - theirs).square().mean().sqrt()]),
        ),
        Misconception(
            hint="You added the two deviations. Take the differences first, then their deviation.",
            answer=lambda ours, theirs: torch.stack([(ours - theirs).mean(), ours.std() + theirs.std()]),
        ),
    ],
    tolerance=1e-6,
)

# 2. As many views as SimCLR

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
            hint="You rounded. The last case has a fraction of an epoch: return it as it is.",
            answer=lambda n, epochs, labelled: math.ceil(2 * n * epochs / labelled),
        ),
        Misconception(
            hint="You halved where you should double: SimCLR's epoch has two views of an image, so the other must run "
            "longer.",
            answer=lambda n, epochs, labelled: n * epochs / labelled / 2,
        ),
        Misconception(
            hint="That is the number of views. In epochs, divide by the views of one epoch: `num_labelled`.",
            answer=lambda n, epochs, labelled: 2 * n * epochs,
        ),
        Misconception(
            hint="You doubled twice. SimCLR takes two views of each image, and an epoch is one pass over the images.",
            answer=lambda n, epochs, labelled: 4 * n * epochs / labelled,
        ),
        Misconception(
            hint="You subtracted the labelled images. SimCLR sees all `num_images`, including the labelled ones.",
            answer=lambda n, epochs, labelled: 2 * (n - labelled) * epochs / labelled,
        ),
        Misconception(
            hint="You divided the number of images by that of the labelled ones without a remainder. Multiply by the "
            "epochs first, and use `/`.",
            answer=lambda n, epochs, labelled: 2 * epochs * (n // labelled),
        ),
        Misconception(
            hint="You left out how long SimCLR was trained: multiply by `epochs`.",
            answer=lambda n, epochs, labelled: 2 * n / labelled,
        ),
    ],
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


def _by_regression(budgets: Tensor, accuracies: Tensor, target: float) -> float:
    """Find where the least-squares line over the logarithm of all budgets reaches the target."""
    x = budgets.log() - budgets.log().mean()
    slope = (x * accuracies).sum() / x.square().sum()
    return float(torch.exp(budgets.log().mean() + (target - accuracies.mean()) / slope))


def _extended(budgets: Tensor, accuracies: Tensor, target: float) -> float:
    """The right answer, but the line between the second and the third budget is extended to the first one."""
    start = 1 if target < accuracies[1] else 0
    x, y = budgets[start:].log(), accuracies[start:]
    if start == 0:
        return math.exp(_linearly(x, y, target))
    return float(torch.exp(x[0] + (target - y[0]) / (y[1] - y[0]) * (x[1] - x[0])))


labels_for = Exercise(
    solution=lambda budgets, accuracies, target: labels_needed(
        dict(zip(budgets.tolist(), accuracies.tolist(), strict=True)), target
    ),
    cases=[
        (_BUDGETS, _reals(0.60, 0.72, 0.84, 0.90), 0.80),
        (_BUDGETS, _reals(0.30, 0.35, 0.45, 0.60), 0.50),
        (_BUDGETS, _reals(0.60, 0.72, 0.84, 0.90), 0.65),  # between the first two
    ],
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
        Misconception(
            hint="You drew one line from the first budget to the last. Take the two budgets on either side of the "
            "target.",
            answer=lambda budgets, accuracies, target: math.exp(
                _linearly(budgets[[0, -1]].log(), accuracies[[0, -1]], target)
            ),
        ),
        Misconception(
            hint="That lies halfway between two budgets. Where between them depends on how near each accuracy is to "
            "the target.",
            answer=lambda budgets, accuracies, target: (
                budgets[_crossing(budgets, accuracies, target)[0] - 1 :][:2].log().mean().exp()
            ),
        ),
        Misconception(
            hint="You took a logarithm to base 10 and undid it with exp. Use the same base for both.",
            answer=lambda budgets, accuracies, target: math.exp(_linearly(budgets.log10(), accuracies, target)),
        ),
        Misconception(
            hint="You took a logarithm to base 2 and undid it with exp. Use the same base for both.",
            answer=lambda budgets, accuracies, target: math.exp(_linearly(budgets.log2(), accuracies, target)),
        ),
        Misconception(
            hint="You exchanged the axes: np.interp(x, xp, fp) takes the target for x, the accuracies for xp and the "
            "logarithms of the labels for fp.",
            answer=lambda budgets, accuracies, target: np.exp(np.interp(target, budgets.log(), accuracies)),
        ),
        Misconception(
            hint="You exchanged the axes: np.interp(x, xp, fp) takes the target for x, the accuracies for xp and the "
            "logarithms of the labels for fp.",
            answer=lambda budgets, accuracies, target: np.interp(target, budgets.log(), accuracies),
        ),
        Misconception(
            hint="You took log(1 + labels) and undid it with exp. Take the logarithm of the labels themselves.",
            answer=lambda budgets, accuracies, target: math.exp(_linearly(budgets.log1p(), accuracies, target)),
        ),
        Misconception(
            hint="Your answer is wrong between the first two budgets. The first budget that is enough may be the "
            "second of the list: interpolate between it and the one before.",
            answer=_extended,
        ),
        Misconception(
            hint="You rounded. Return the number as it is.",
            answer=lambda budgets, accuracies, target: round(math.exp(_linearly(budgets.log(), accuracies, target))),
        ),
        Misconception(
            hint="You rounded. Return the number as it is.",
            answer=lambda budgets, accuracies, target: int(math.exp(_linearly(budgets.log(), accuracies, target))),
        ),
        Misconception(
            hint="You took the logarithm of the accuracies, too. Only the labels are on a logarithmic axis.",
            answer=lambda budgets, accuracies, target: math.exp(
                _linearly(budgets.log(), accuracies.log(), math.log(target))
            ),
        ),
        Misconception(
            hint="You rounded. Return the number as it is.",
            answer=lambda budgets, accuracies, target: math.ceil(
                math.exp(_linearly(budgets.log(), accuracies, target))
            ),
        ),
        Misconception(
            hint="You fitted one line to all budgets. Only the two on either side of the target matter.",
            answer=_by_regression,
        ),
        Misconception(
            hint="You took exp of a number of labels. Interpolate the logarithms of the labels, and take exp then.",
            answer=lambda budgets, accuracies, target: math.exp(_linearly(budgets, accuracies, target)),
        ),
        Misconception(
            hint="You fitted one line to all budgets. Only the two on either side of the target matter.",
            answer=lambda budgets, accuracies, target: np.exp(
                np.polyval(np.polyfit(accuracies, budgets.log(), 1), target)
            ),
        ),
        Misconception(
            hint="You fitted one line to all budgets, and over the number of labels itself. Take the two budgets on "
            "either side of the target, and interpolate the logarithms.",
            answer=lambda budgets, accuracies, target: np.polyval(np.polyfit(accuracies, budgets, 1), target),
        ),
    ],
)

# 4. What a damage costs, relative to a baseline

_ACCURACY, _BASELINE = _reals(0.9, 0.6, 0.8, 0.2), _reals(0.8, 0.7, 0.5, 0.1)
_OTHER = _reals(0.4, 0.85, 0.6, 0.3)
_WITH_A_GAIN = _reals(0.96, 0.7, 0.5)  # the first kind raises a clean accuracy of 0.95

relative_mce = Exercise(
    solution=lambda accuracy, clean, baseline, baseline_clean: (
        (clean - accuracy) / (baseline_clean - baseline)
    ).mean(),
    cases=[
        (_ACCURACY, 0.95, _BASELINE, 0.85),
        (_BASELINE, 0.9, _OTHER, 0.92),
        (_WITH_A_GAIN, 0.95, _reals(0.75, 0.6, 0.4), 0.85),
    ],
    misconceptions=[
        Misconception(
            hint="That is the plain mCE, of the errors themselves. Here only what is lost counts: clean − accuracy.",
            answer=lambda a, clean, b, baseline_clean: ((1 - a) / (1 - b)).mean(),
        ),
        Misconception(
            hint="You took what this network loses, but all errors of the baseline: subtract its own clean accuracy, "
            "too.",
            answer=lambda a, clean, b, baseline_clean: ((clean - a) / (1 - b)).mean(),
        ),
        Misconception(
            hint="You took one clean accuracy for both networks. Each loses against its own.",
            answer=lambda a, clean, b, baseline_clean: ((clean - a) / (clean - b)).mean(),
        ),
        Misconception(
            hint="You averaged before you divided: then the hardest damage decides alone. Divide for each kind, then "
            "average.",
            answer=lambda a, clean, b, baseline_clean: (clean - a).mean() / (baseline_clean - b).mean(),
        ),
        Misconception(
            hint="The ratio is upside down: a network that loses less than the baseline should get less than 1.",
            answer=lambda a, clean, b, baseline_clean: ((baseline_clean - b) / (clean - a)).mean(),
        ),
        Misconception(
            hint="That is what the network loses on average: divide by what the baseline loses on the same damage.",
            answer=lambda a, clean, b, baseline_clean: (clean - a).mean(),
        ),
        Misconception(
            hint="You subtracted what the two lose: divide, so that 1 is as robust as the baseline.",
            answer=lambda a, clean, b, baseline_clean: ((clean - a) - (baseline_clean - b)).mean(),
        ),
        Misconception(
            hint="You added up the ratios: divide by the number of kinds.",
            answer=lambda a, clean, b, baseline_clean: ((clean - a) / (baseline_clean - b)).sum(),
        ),
        Misconception(
            hint="You counted a negative drop as 0. A damage may raise the accuracy a little: keep its sign.",
            answer=lambda a, clean, b, baseline_clean: ((clean - a).clamp(min=0) / (baseline_clean - b)).mean(),
        ),
        Misconception(
            hint="You took the size of the drop without its sign. A damage may raise the accuracy a little, and that "
            "counts against the drops.",
            answer=lambda a, clean, b, baseline_clean: ((clean - a).abs() / (baseline_clean - b).abs()).mean(),
        ),
        Misconception(
            hint="You divided each drop by the clean accuracy of its network. The plain drops are compared.",
            answer=lambda a, clean, b, baseline_clean: (
                ((clean - a) / clean) / ((baseline_clean - b) / baseline_clean)
            ).mean(),
        ),
        Misconception(
            hint="You took the median of the ratios. The mean over the kinds of damage is asked.",
            answer=lambda a, clean, b, baseline_clean: ((clean - a) / (baseline_clean - b)).median(),
        ),
        Misconception(
            hint="You took the ratio of the errors and subtracted that on unchanged images. Subtract first, for each "
            "of the two networks: clean − accuracy. Then divide.",
            answer=lambda a, clean, b, baseline_clean: ((1 - a) / (1 - b)).mean() - (1 - clean) / (1 - baseline_clean),
        ),
        Misconception(
            hint="You divided by the clean accuracy: subtract. What is lost is clean − accuracy.",
            answer=lambda a, clean, b, baseline_clean: ((a / clean) / (b / baseline_clean)).mean(),
        ),
        Misconception(
            hint="You subtracted the result from 1. Below 1 is already better than the baseline: return the ratio "
            "itself.",
            answer=lambda a, clean, b, baseline_clean: 1 - ((clean - a) / (baseline_clean - b)).mean(),
        ),
        Misconception(
            hint="Division comes before subtraction: put both differences in brackets.",
            answer=lambda a, clean, b, baseline_clean: (clean - a / baseline_clean - b).mean(),
        ),
        Misconception(
            hint="That is one number for each kind of damage. Return their mean.",
            answer=lambda a, clean, b, baseline_clean: (clean - a) / (baseline_clean - b),
        ),
        Misconception(
            hint="You divided the accuracies. What is lost is clean − accuracy: subtract first, for each of the two "
            "networks.",
            answer=lambda a, clean, b, baseline_clean: (a / b).mean(),
        ),
    ],
)

EXERCISES = collect(globals())
