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
    cases=[(_uniform(20, 0), 0.2), (_uniform(30, 1), 0.5), (_uniform(40, 2), 0.1)],
    misconceptions=[
        Misconception(
            hint="That is exactly the share, because you go by rank, or by a quantile of the scores. Then a photo "
            "that is added can push another one out. Compare each score with `share` itself.",
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
        Misconception(
            hint="These are the photos with high scores. Here the low ones are held out: scores < share.",
            answer=lambda scores, share: scores > 1 - share,
        ),
        Misconception(
            hint="These are the places of the photos that are held out. Return True or False for each photo, [N].",
            answer=lambda scores, share: (scores < share).nonzero()[:, 0],
        ),
        Misconception(
            hint="Half of the photos have a score below the median, whatever `share` says.",
            answer=lambda scores, share: scores < scores.median(),
        ),
        Misconception(
            hint="Dividing by the largest score makes each photo depend on the others. Compare the score itself.",
            answer=lambda scores, share: scores / scores.max() < share,
        ),
        Misconception(
            hint="Scaling by the smallest and the largest score makes each photo depend on the others. Compare the "
            "score itself.",
            answer=lambda scores, share: (scores - scores.min()) / (scores.max() - scores.min()) < share,
        ),
        Misconception(
            hint="The mean score depends on all photos, so a photo that is added can move others. Compare the score "
            "with `share` itself.",
            answer=lambda scores, share: scores < 2 * share * scores.mean(),
        ),
        Misconception(
            hint="These are the scores of the photos that are held out. Return True or False for each photo, [N].",
            answer=lambda scores, share: scores[scores < share],
        ),
        Misconception(
            hint="That is the number of photos that are held out. Return True or False for each photo, [N].",
            answer=lambda scores, share: (scores < share).sum(),
        ),
        Misconception(
            hint="You go by the position. A photo that is added at the beginning moves all others.",
            answer=lambda scores, share: torch.arange(len(scores)) % round(1 / share) == 0,
        ),
        Misconception(
            hint="You rounded the scores before you compared them, so too few or too many are held out.",
            answer=lambda scores, share: scores.round(decimals=1) < share,
        ),
        Misconception(
            hint="These are the places of the lowest scores. They are always exactly the share, so a photo that is "
            "added can push another one out. Compare each score with `share`, and return True or False for each photo.",
            answer=lambda scores, share: scores.argsort()[: int(share * len(scores))],
        ),
        Misconception(
            hint="These are the lowest scores. They are always exactly the share, so a photo that is added can push "
            "another one out. Compare each score with `share`, and return True or False for each photo.",
            answer=lambda scores, share: scores.sort().values[: int(share * len(scores))],
        ),
        Misconception(
            hint="Dividing by the sum of the scores makes each photo depend on the others. Compare the score itself.",
            answer=lambda scores, share: scores / scores.sum() < share,
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
        (torch.tensor([[0.0, 1.0], [3.0, 7.0]]), 0.0, 7.0),  # few levels
    ],
    misconceptions=[
        Misconception(
            hint="You scaled by the image's own range: then a dark photo looks like a bright one, and the difference "
            "between them is gone.",
            answer=lambda image, low, high: _scaled(image, float(image.min()), float(image.max())).round(),
        ),
        Misconception(
            hint="You divided by 65,535, the most that 16 bits hold. A camera with 12 bits uses a sixteenth of that, "
            "and the image is almost black.",
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
        Misconception(
            hint="That is between 0 and 1. Multiply by 255, and round last.",
            answer=lambda image, low, high: _scaled(image, low, high) / 255,
        ),
        Misconception(hint="Round to whole levels.", answer=_scaled),
        Misconception(
            hint="You multiplied by 256 and rounded down. `high` has to become 255 exactly: multiply by 255, and "
            "round.",
            answer=lambda image, low, high: (256 * (image - low) / (high - low)).floor().clamp(0, 255),
        ),
        Misconception(
            hint="You divided by high − low + 1. `high` has to become 255 exactly, so divide by high − low.",
            answer=lambda image, low, high: (255 * (image - low) / (high - low + 1)).clamp(0, 255).round(),
        ),
        Misconception(
            hint="You rounded up, which makes everything half a level brighter: round to the nearest level.",
            answer=lambda image, low, high: _scaled(image, low, high).ceil(),
        ),
        Misconception(
            hint="You mapped 0 … 4,095 to 0 … 255, which takes 12 bits to 8 bits. The set need not use all of the 12 "
            "bits: map `low` to 0 and `high` to 255.",
            answer=lambda image, low, high: (image / 16).clamp(0, 255).round(),
        ),
        Misconception(
            hint="You divided by 16 and rounded down, which takes 12 bits to 8 bits. The set need not use all of the "
            "12 bits: map `low` to 0 and `high` to 255.",
            answer=lambda image, low, high: (image // 16).clamp(0, 255),
        ),
        Misconception(
            hint="Levels above `high` are black in your answer. They become white, 255.",
            answer=lambda image, low, high: torch.where(image > high, 0, _scaled(image, low, high).round()),
        ),
        Misconception(
            hint="You scaled by the mean and the deviation of the image. Then a dark photo looks like a bright one: "
            "use `low` and `high`, which hold for the whole set.",
            answer=lambda image, low, high: (
                (127.5 + 127.5 * (image - image.mean()) / image.std()).clamp(0, 255).round()
            ),
        ),
        Misconception(
            hint="The whole set spans high − low levels: divide by that, not by high.",
            answer=lambda image, low, high: (255 * (image - low) / high).clamp(0, 255).round(),
        ),
        Misconception(
            hint="Black and white are swapped: `low` becomes 0.",
            answer=lambda image, low, high: 255 - _scaled(image, low, high).round(),
        ),
        Misconception(
            hint="Levels outside low … high wrap around in 8 bits: a white pixel becomes dark. Clamp before you "
            "convert.",
            answer=lambda image, low, high: (255 * (image - low) / (high - low)).round().remainder(256),
        ),
        Misconception(
            hint="You cut off what is above 255, but a level below `low` is still negative: clamp both ends.",
            answer=lambda image, low, high: (255 * (image - low) / (high - low)).clamp(max=255).round(),
        ),
        Misconception(
            hint="You cut off what is below 0, but a level above `high` is still beyond 255: clamp both ends.",
            answer=lambda image, low, high: (255 * (image - low) / (high - low)).clamp(min=0).round(),
        ),
        Misconception(
            hint="You rounded before you multiplied by 255: only black and white are left.",
            answer=lambda image, low, high: 255 * ((image - low) / (high - low)).clamp(0, 1).round(),
        ),
        Misconception(
            hint="Levels outside low … high wrap around in 8 bits, and the decimals are cut off. Clamp and round "
            "before you convert.",
            answer=lambda image, low, high: (255 * (image - low) / (high - low)).trunc().remainder(256),
        ),
        Misconception(
            hint="Division comes before subtraction: put high − low in brackets.",
            answer=lambda image, low, high: (255 * (image - low) / high - low).clamp(0, 255).round(),
        ),
        Misconception(
            hint="You cut the levels off at 255 and did not scale them, so that nearly everything is white.",
            answer=lambda image, low, high: image.clamp(0, 255).round(),
        ),
        Misconception(
            hint="Subtraction comes before the division by the range: put both image − low and high − low in brackets.",
            answer=lambda image, low, high: (255 * (image / high - low)).clamp(0, 255).round(),
        ),
    ],
)

# 3. The same picture twice


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return F.cosine_similarity(a.flatten(), b.flatten(), dim=0)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    return _cosine(a - a.mean(), b - b.mean())


correlation = Exercise(
    solution=_pearson,
    cases=[
        (normal(4, 4, seed=0) + 3, normal(4, 4, seed=1) + 5),
        (normal(5, 5, seed=2) + 1, 0.5 * normal(5, 5, seed=2) + 2),
        (normal(4, 4, seed=3), 1 - normal(4, 4, seed=3)),  # a negative
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
        Misconception(
            hint="That is the square of the correlation, which cannot tell a copy from a negative.",
            answer=lambda a, b: _pearson(a, b).square(),
        ),
        Misconception(
            hint="You took the size of the correlation: a negative of the picture would count as a copy.",
            answer=lambda a, b: _pearson(a, b).abs(),
        ),
        Misconception(
            hint="That is 1 minus the correlation: a distance. Return the correlation, 1 for a copy.",
            answer=lambda a, b: 1 - _pearson(a, b),
        ),
        Misconception(
            hint="That sum grows with the contrast. Divide by both lengths.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).sum(),
        ),
        Misconception(
            hint="Your deviations divide by N − 1 and your mean by N, so a copy gets less than 1. Use N in both: "
            "correction=0.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()),
        ),
        Misconception(
            hint="You divided by the variances: divide by the deviations, their roots.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).mean() / (a.var(correction=0) * b.var(correction=0)),
        ),
        Misconception(
            hint="You subtracted a mean from each column: the image has one mean.",
            answer=lambda a, b: _cosine(a - a.mean(dim=0), b - b.mean(dim=0)),
        ),
        Misconception(
            hint="That is the slope of b over a: it grows with the contrast. Divide by the lengths of both.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).sum() / (a - a.mean()).square().sum(),
        ),
        Misconception(
            hint="That is the slope of a over b: it grows with the contrast. Divide by the lengths of both.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).sum() / (b - b.mean()).square().sum(),
        ),
        Misconception(
            hint="You subtracted the mean of `a` only. Each image has its own mean.",
            answer=lambda a, b: _cosine(a - a.mean(), b),
        ),
        Misconception(
            hint="You subtracted the mean of `b` only. Each image has its own mean.",
            answer=lambda a, b: _cosine(a, b - b.mean()),
        ),
        Misconception(
            hint="This is the matrix of all correlations, and its diagonal is 1. Return the entry of `a` with `b`.",
            answer=lambda a, b: torch.corrcoef(torch.stack([a.flatten(), b.flatten()])),
        ),
        Misconception(
            hint="That is the correlation of the ranks (Spearman's). Correlate the pixels themselves.",
            answer=lambda a, b: _pearson(*(x.flatten().argsort().argsort().double() for x in (a, b))),
        ),
        Misconception(
            hint="That is the mean of the columns' correlations. Flatten both images first.",
            answer=lambda a, b: F.cosine_similarity(a - a.mean(), b - b.mean()).mean(),
        ),
        Misconception(
            hint="That is the share of the pixels that are equal. A brighter copy has none.",
            answer=lambda a, b: (a == b).double().mean(),
        ),
        Misconception(
            hint="These are the correlations of the columns. Flatten both images first.",
            answer=lambda a, b: F.cosine_similarity(a - a.mean(), b - b.mean()),
        ),
        Misconception(
            hint="That is the correlation of `a` with itself, which is 1. Return that of `a` with `b`: the entry [0, "
            "1].",
            answer=lambda a, b: 1.0,
        ),
        Misconception(
            hint="You subtracted the means in the product and not in the lengths. Take the lengths of what is left of "
            "the two images, too.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).sum() / (a.norm() * b.norm()),
        ),
        Misconception(
            hint="That is the covariance: it grows with the contrast. Divide by both deviations.",
            answer=lambda a, b: ((a - a.mean()) * (b - b.mean())).sum() / (a.numel() - 1),
        ),
        Misconception(
            hint="A difference of pixels is not small for a copy that is a little brighter.",
            answer=lambda a, b: (a - b).square().mean(),
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


def _mean_f1(predicted: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    sides = [(predicted == c, labels == c) for c in classes]
    return torch.stack([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in sides]).mean()


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
        Misconception(
            hint="A class number without any image gives 0 / 0, nan: go through the classes that occur, "
            "labels.unique().",
            answer=lambda predicted, labels: torch.stack(
                [(predicted[labels == c] == c).double().mean() for c in range(int(labels.max()) + 1)]
            ).mean(),
        ),
        Misconception(
            hint="You go through the classes that were predicted. One that was never predicted counts too, with 0.",
            answer=lambda predicted, labels: torch.stack(
                [(predicted[labels == c] == c).double().mean() for c in predicted.unique()]
            ).mean(),
        ),
        Misconception(
            hint="You divided by the number of all images. Divide by the number of images of the class.",
            answer=lambda predicted, labels: (predicted == labels).double().mean() / len(labels.unique()),
        ),
        Misconception(hint="That is one number for each class. Return their mean.", answer=_recalls),
        Misconception(
            hint="You exchanged the two: you go through the predicted classes and divide by how often each was "
            "predicted (precision). Divide by the number of images of the class (recall).",
            answer=lambda predicted, labels: torch.tensor(_recalls(labels, predicted)).mean(),
        ),
        Misconception(
            hint="That is the mean F1 score, which also counts how often a class is predicted wrongly. Here only the "
            "share of each class's images that is predicted correctly counts.",
            answer=lambda predicted, labels: _mean_f1(predicted, labels, torch.cat([predicted, labels]).unique()),
        ),
        Misconception(
            hint="That is the mean F1 score, which also counts how often a class is predicted wrongly. Here only the "
            "share of each class's images that is predicted correctly counts.",
            answer=lambda predicted, labels: _mean_f1(predicted, labels, labels.unique()),
        ),
        Misconception(
            hint="You divided by all images that are of the class or predicted as it. Divide by the number of images "
            "of the class.",
            answer=lambda predicted, labels: torch.stack(
                [
                    ((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum()
                    for c in labels.unique()
                ]
            ).mean(),
        ),
        Misconception(
            hint="You count as right, too, that an image of another class is not taken for this one. So a rare class "
            "is nearly always right. Look at the images of each class only.",
            answer=lambda predicted, labels: torch.stack(
                [((predicted == c) == (labels == c)).double().mean() for c in labels.unique()]
            ).mean(),
        ),
        Misconception(
            hint="You took the median of the classes. Their mean is asked.",
            answer=lambda predicted, labels: torch.tensor(_recalls(predicted, labels)).median(),
        ),
        Misconception(
            hint="You left out class 0. Classes are numbered from 0.",
            answer=lambda predicted, labels: torch.tensor(_recalls(predicted, labels)[1:]).mean(),
        ),
        Misconception(
            hint="You added up the shares of the classes. Divide by the number of classes.",
            answer=lambda predicted, labels: sum(_recalls(predicted, labels)),
        ),
        Misconception(
            hint="You averaged the numbers of right images. Divide each by the number of images of its class first.",
            answer=lambda predicted, labels: (predicted == labels).sum() / len(labels.unique()),
        ),
        Misconception(
            hint="You divided by the number of times that a class was predicted (precision), and left out classes "
            "that were never predicted. Divide by the number of images of the class (recall).",
            answer=lambda predicted, labels: torch.tensor(_precisions(predicted, labels)).nanmean(),
        ),
    ],
)

EXERCISES = collect(globals())
