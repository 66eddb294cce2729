"""Answers to the exercises of notebooks 05 to 10, as learners write them, and what the check says to each."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
import torch
from rows import cosines, far, unit
from torch.nn import functional as F

from simclr_lib import losses
from simclr_lib.losses import nt_xent as library_loss
from simclr_lib.teaching.exercises import RIGHT, embeddings
from simclr_lib.teaching.exercises import after_simclr as after
from simclr_lib.teaching.exercises import own_images as own
from simclr_lib.teaching.exercises import processes_and_memory as memory
from simclr_lib.teaching.exercises import scaling_up as scaling
from simclr_lib.teaching.exercises import supervised_comparison as comparison

# Notebook 05


def between(budgets, accuracies, target, to=torch.log, back=torch.exp):
    right = int((accuracies >= target).nonzero()[0])
    share = (target - accuracies[right - 1]) / (accuracies[right] - accuracies[right - 1])
    return back((1 - share) * to(budgets[right - 1]) + share * to(budgets[right]))


def never_in_the_first_segment(budgets, accuracies, target):
    right = max(2, int((accuracies >= target).nonzero()[0]))
    share = (target - accuracies[right - 1]) / (accuracies[right] - accuracies[right - 1])
    return torch.exp((1 - share) * budgets[right - 1].log() + share * budgets[right].log())


def in_a_loop(budgets, accuracies, target):
    points = list(zip(budgets.tolist(), accuracies.tolist(), strict=True))
    for (b0, a0), (b1, a1) in pairwise(points):
        if a0 <= target <= a1:
            return b0 * (b1 / b0) ** ((target - a0) / (a1 - a0))


def pair(mean, deviation):
    return torch.stack([mean, deviation])


WRONG_05 = [
    (comparison.matched_epochs, lambda n, epochs, labelled: round(2 * n * epochs / labelled), "You rounded."),
    (comparison.matched_epochs, lambda n, epochs, labelled: 4 * n * epochs / labelled, "You doubled twice"),
    (
        comparison.matched_epochs,
        lambda n, epochs, labelled: 2 * (n - labelled) * epochs / labelled,
        "subtracted the labelled images",
    ),
    (comparison.matched_epochs, lambda n, epochs, labelled: n // labelled * 2 * epochs, "without a remainder"),
    (comparison.paired_difference, lambda a, b: pair((a - b).mean(), a.std()), "the deviation is that of `ours`"),
    (
        comparison.paired_difference,
        lambda a, b: pair((a - b).mean(), ((a.var() + b.var()) / 2).sqrt()),
        "pooled the variances",
    ),
    (
        comparison.paired_difference,
        lambda a, b: pair((a - b).mean(), (a - b - (a - b).mean()).abs().mean()),
        "the mean distance from the mean",
    ),
    (comparison.paired_difference, lambda a, b: pair((a - b).median(), (a - b).std()), "median of the differences"),
    (comparison.paired_difference, lambda a, b: 100 * pair((a - b).mean(), (a - b).std()), "in percent"),
    (
        comparison.paired_difference,
        lambda a, b: pair((a - b).mean(), (a - b).std() / len(a)),
        "You divided the deviation by the number of",
    ),
    (
        comparison.paired_difference,
        lambda a, b: pair((a - b).mean(), (a - b).square().mean().sqrt()),
        "That is the root of the mean square of the",
    ),
    (
        comparison.paired_difference,
        lambda a, b: pair(a.mean() - b.mean(), a.std() + b.std()),
        "You added the two deviations. Take the",
    ),
    (comparison.labels_for, lambda b, a, t: between(b, a, t, torch.log2), "a logarithm to base 2"),
    (comparison.labels_for, lambda b, a, t: np.exp(np.interp(t, b.log().numpy(), a.numpy())), "exchanged the axes"),
    (comparison.labels_for, lambda b, a, t: np.interp(t, b.log().numpy(), a.numpy()), "exchanged the axes"),
    (comparison.labels_for, never_in_the_first_segment, "wrong between the first two budgets"),
    (comparison.labels_for, lambda b, a, t: round(between(b, a, t).item()), "You rounded"),
    (comparison.labels_for, lambda b, a, t: np.interp(t, a, b), "straight lines over the number of labels"),
    (comparison.labels_for, lambda b, a, t: np.exp(np.interp(t, a, b)), "You took exp of a number of labels."),
    (
        comparison.labels_for,
        lambda b, a, t: np.exp(np.polyval(np.polyfit(a, b.log(), 1), t)),
        "You fitted one line to all budgets. Only the",
    ),
    (comparison.labels_for, lambda b, a, t: np.polyval(np.polyfit(a, b, 1), t), "and over the number of labels itself"),
    (
        comparison.relative_mce,
        lambda a, clean, b, b_clean: ((clean - a).clamp(min=0) / (b_clean - b)).mean(),
        "counted a negative drop as 0",
    ),
    (
        comparison.relative_mce,
        lambda a, clean, b, b_clean: ((clean - a).abs() / (b_clean - b).abs()).mean(),
        "without its sign",
    ),
    (
        comparison.relative_mce,
        lambda a, clean, b, b_clean: ((1 - a / clean) / (1 - b / b_clean)).mean(),
        "clean accuracy of its network",
    ),
    (
        comparison.relative_mce,
        lambda a, clean, b, b_clean: ((clean - a) / (b_clean - b)).median(),
        "median of the ratios",
    ),
    (
        comparison.relative_mce,
        lambda a, clean, b, b_clean: ((1 - a) / (1 - b)).mean() - (1 - clean) / (1 - b_clean),
        "ratio of the errors",
    ),
    (
        comparison.relative_mce,
        lambda a, clean, b, b_clean: (a / b).mean(),
        "You divided the accuracies. What is lost is",
    ),
]

RIGHT_05 = [
    (comparison.matched_epochs, lambda n, epochs, labelled: (n + n) / (labelled / epochs)),
    (comparison.matched_epochs, lambda n, epochs, labelled: torch.tensor(2.0 * n * epochs) / labelled),
    (comparison.paired_difference, lambda a, b: torch.std_mean(a - b)[::-1]),
    (
        comparison.paired_difference,
        lambda a, b: (statistics.fmean((a - b).tolist()), statistics.stdev((a - b).tolist())),
    ),
    (comparison.labels_for, in_a_loop),
    (comparison.labels_for, lambda b, a, t: 10 ** np.interp(t, a.numpy(), np.log10(b.numpy()))),
    (
        comparison.relative_mce,
        lambda a, clean, b, b_clean: sum((x - clean) / (y - b_clean) for x, y in zip(a, b, strict=True)) / len(a),
    ),
    (comparison.relative_mce, lambda a, clean, b, b_clean: (a - clean).div(b - b_clean).mean(dim=0)),
]

# Notebook 06


def neighbours(similarity, k):
    return similarity.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices


def share_of(labels, nearest):
    return (labels[nearest] == labels[:, None]).double().mean()


def of_each_class(similarity, labels, k):
    right = (labels[neighbours(similarity, k)] == labels[:, None]).double().mean(dim=1)
    return torch.stack([right[labels == c].mean() for c in labels.unique()]).mean()


def spread(similarity):
    return (4 * similarity - 4).exp().fill_diagonal_(0)


def largest_first(variances, share):
    held = variances.sort(descending=True).values.cumsum(0) / variances.sum()
    return int((held >= share).nonzero()[0]) + 1


WRONG_06 = [
    (embeddings.directions_for, lambda v, share: largest_first(v, share) - 1, "one too few"),
    (embeddings.directions_for, lambda v, share: largest_first(v.square(), share), "You squared the variances"),
    (embeddings.directions_for, lambda v, share: math.ceil(share * (v > 0).sum()), "whose variance is not 0"),
    (
        embeddings.directions_for,
        lambda v, share: v.argsort(descending=True)[: largest_first(v, share)],
        "Return how many they are",
    ),
    (
        embeddings.directions_for,
        lambda v, share: (v.sort(descending=True).values.cumsum(0) <= share * v.sum()).sum(),
        "That is how many directions hold no more",
    ),
    (
        embeddings.directions_for,
        lambda v, share: (v.sort(descending=True).values.cumsum(0) >= share * v.sum()).sum(),
        "You counted from the other end: how many of",
    ),
    (embeddings.alignment_from, lambda s: (1 - s**2).mean(), "squared similarity from 1"),
    (embeddings.alignment_from, lambda s: -s.mean(), "minus the mean similarity"),
    (embeddings.alignment_from, lambda s: (2 - 2 * s.mean()).sqrt(), "square root of the mean"),
    (embeddings.alignment_from, lambda s: (2 - 2 * s).mean().log(), "You took the logarithm"),
    (
        embeddings.uniformity_from,
        lambda s: (spread(s).sum(dim=1) / (len(s) - 1)).log().mean(),
        "logarithm for each point",
    ),
    (embeddings.uniformity_from, lambda s: math.log(spread(s).sum() / len(s) ** 2), "not out of the number of pairs"),
    (
        embeddings.uniformity_from,
        lambda s: ((spread(s).sum()) / (len(s) * (len(s) - 1))).log2(),
        "logarithm has base 2",
    ),
    (
        embeddings.uniformity_from,
        lambda s: (((2 * s - 2).exp().sum() - len(s)) / (len(s) * (len(s) - 1))).log(),
        "Your exponent is half",
    ),
    (
        embeddings.uniformity_from,
        lambda s: (4 * s - 4).exp().triu(1).mean().log(),
        "You kept each pair once, but your mean runs",
    ),
    (
        embeddings.uniformity_from,
        lambda s: (((4 * s - 4).exp().sum() - 1) / (len(s) * (len(s) - 1))).log(),
        "You subtracted 1 for the diagonal. It holds",
    ),
    (
        embeddings.precision_at,
        lambda s, labels, k: (((labels[s.topk(k + 1).indices] == labels[:, None]).sum(1) - 1) / k).mean(),
        "subtracted 1",
    ),
    (
        embeddings.precision_at,
        lambda s, labels, k: share_of(labels, s.topk(k + 1).indices),
        "the image itself among them",
    ),
    (embeddings.precision_at, lambda s, labels, k: share_of(labels, neighbours(s, k)[:, -1:]), "k-th neighbour only"),
    (embeddings.precision_at, lambda s, labels, k: share_of(labels, neighbours(s, 1)), "nearest neighbour only"),
    (embeddings.precision_at, of_each_class, "mean for each class first"),
    (
        embeddings.precision_at,
        lambda s, labels, k: share_of(labels, neighbours(s + s.T, k)),
        "made the similarities symmetric",
    ),
    (
        embeddings.precision_at,
        lambda s, labels, k: share_of(labels, s.argsort(dim=1)[:, :k]),
        "Those are the least similar images:",
    ),
    (
        embeddings.precision_at,
        lambda s, labels, k: (labels[neighbours(s, k)] == labels[:, None]).all(1).double().mean(),
        "You asked whether all of the k are right.",
    ),
]

RIGHT_06 = [
    (embeddings.directions_for, largest_first),
    (
        embeddings.directions_for,
        lambda v, share: next(k for k in range(1, len(v) + 1) if v.topk(k).values.sum() >= share * v.sum()),
    ),
    (embeddings.alignment_from, lambda s: 2 * (1 - s.mean())),
    (embeddings.alignment_from, lambda s: np.mean(1 - 2 * s.numpy() + 1)),
    (embeddings.uniformity_from, lambda s: (spread(s).triu().sum() * 2 / (len(s) ** 2 - len(s))).log()),
    (
        embeddings.uniformity_from,
        lambda s: (4 * s[~torch.eye(len(s), dtype=torch.bool)] - 4).logsumexp(0) - math.log(len(s) * (len(s) - 1)),
    ),
    (
        embeddings.precision_at,
        lambda s, labels, k: np.mean(
            labels.numpy()[np.argsort(-(s.numpy() - 1e9 * np.eye(len(s))), axis=1)[:, :k]] == labels.numpy()[:, None]
        ),
    ),
    (
        embeddings.precision_at,
        lambda s, labels, k: torch.stack(
            [(labels[row] == c).float().mean() for row, c in zip(neighbours(s, k), labels, strict=True)]
        ).mean(),
    ),
]

# Notebook 07


def smallest(scores, share):
    held = torch.zeros(len(scores), dtype=torch.bool)
    held[scores.topk(math.ceil(share * len(scores)), largest=False).indices] = True
    return held


def levels(image, low, high, top=255):
    return top * (image - low) / (high - low)


def f1(predicted, labels, c):
    both = ((predicted == c) & (labels == c)).sum()
    return 2 * both / ((predicted == c).sum() + (labels == c).sum())


def jaccard(predicted, labels, c):
    return ((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum()


def recall(predicted, labels, c):
    return (predicted[labels == c] == c).double().mean()


def mean_of(score):
    return lambda predicted, labels: torch.stack([score(predicted, labels, c) for c in labels.unique()]).mean()


def from_a_dictionary(predicted, labels):
    answers = {}
    for guess, label in zip(predicted.tolist(), labels.tolist(), strict=True):
        answers.setdefault(label, []).append(guess == label)
    return statistics.fmean(sum(right) / len(right) for right in answers.values())


def weighing_images(predicted, labels):
    weights = 1 / labels.bincount()[labels]
    return (weights * (predicted == labels)).sum() / weights.sum()


WRONG_07 = [
    (own.held_out, lambda scores, share: torch.rand(len(scores)) < share, "another answer each time"),
    (own.held_out, lambda scores, share: torch.randperm(len(scores)) < share * len(scores), "another answer each time"),
    (own.held_out, lambda scores, share: scores < torch.quantile(scores, share), "by a quantile of the scores"),
    (own.held_out, lambda scores, share: scores.numpy() <= np.percentile(scores, 100 * share), "by a quantile"),
    (own.held_out, lambda scores, share: scores < sorted(scores)[int(share * len(scores))], "you go by rank"),
    (own.held_out, lambda scores, share: scores.argsort().argsort() < share * len(scores), "you go by rank"),
    (own.held_out, smallest, "you go by rank"),
    (
        own.held_out,
        lambda scores, share: (scores - scores.min()) / (scores.max() - scores.min()) < share,
        "the smallest and the largest score",
    ),
    (own.held_out, lambda scores, share: scores < 2 * share * scores.mean(), "The mean score depends on all photos"),
    (own.held_out, lambda scores, share: scores[scores < share], "These are the scores"),
    (own.held_out, lambda scores, share: sum(scores < share), "the number of photos"),
    (own.held_out, lambda scores, share: torch.arange(len(scores)) % round(1 / share) == 0, "by the position"),
    (own.held_out, lambda scores, share: scores < share**2, "should be True, not False"),
    (
        own.held_out,
        lambda scores, share: scores.argsort()[: int(share * len(scores))],
        "These are the places of the lowest scores",
    ),
    (
        own.held_out,
        lambda scores, share: sorted(scores)[: int(share * len(scores))],
        "These are the lowest scores",
    ),
    (own.held_out, lambda scores, share: scores / scores.sum() < share, "Dividing by the sum of the scores makes each"),
    (own.to_8_bits, lambda x, low, high: levels(x, low, high, 256).floor().clamp(0, 255), "multiplied by 256"),
    (own.to_8_bits, lambda x, low, high: levels(x, low, high + 1).clamp(0, 255).round(), "divided by high − low + 1"),
    (own.to_8_bits, lambda x, low, high: levels(x, low, high).clamp(0, 255).ceil(), "rounded up"),
    (own.to_8_bits, lambda x, low, high: (x / 16).round().clamp(0, 255), "12 bits to 8 bits"),
    (own.to_8_bits, lambda x, low, high: x // 16, "12 bits to 8 bits"),
    (
        own.to_8_bits,
        lambda x, low, high: levels(x, low, high).clamp(min=0).round() * (x <= high),
        "Levels above `high` are black",
    ),
    (own.to_8_bits, lambda x, low, high: (255 * x / 65535).round(), "the image is almost black"),
    (own.to_8_bits, lambda x, low, high: levels(x, low, high).long() % 256, "and the decimals are cut off"),
    (
        own.to_8_bits,
        lambda x, low, high: (255 * (x - low) / high - low).clamp(0, 255).round(),
        "Division comes before subtraction: put high",
    ),
    (own.to_8_bits, lambda x, low, high: (255 * x / 4095).clamp(0, 255).round(), "You mapped 0 … 4,095 to 0 … 255"),
    (own.to_8_bits, lambda x, low, high: x.clamp(0, 255), "You cut the levels off at 255 and did not"),
    (
        own.to_8_bits,
        lambda x, low, high: (255 * (x / high - low)).clamp(0, 255).round(),
        "Subtraction comes before the division by the",
    ),
    (
        own.correlation,
        lambda a, b: ((a - a.mean()) * (b - b.mean())).sum() / (a - a.mean()).square().sum(),
        "the slope of b over a",
    ),
    (own.correlation, lambda a, b: F.cosine_similarity((a - a.mean()).ravel(), b.ravel(), 0), "mean of `a` only"),
    (own.correlation, lambda a, b: np.corrcoef(a.ravel(), b.ravel()), "the matrix of all correlations"),
    (
        own.correlation,
        lambda a, b: np.corrcoef(*(x.ravel().argsort().argsort() for x in (a, b)))[0, 1],
        "correlation of the ranks",
    ),
    (own.correlation, lambda a, b: F.cosine_similarity(a - a.mean(), b - b.mean()).mean(), "mean of the columns'"),
    (
        own.correlation,
        lambda a, b: np.corrcoef(a.ravel(), b.ravel())[0, 0],
        "That is the correlation of `a` with itself,",
    ),
    (
        own.correlation,
        lambda a, b: ((a - a.mean()) * (b - b.mean())).sum() / (a.norm() * b.norm()),
        "You subtracted the means in the product and",
    ),
    (own.correlation, lambda a, b: np.cov(a.ravel(), b.ravel())[0, 1], "That is the covariance: it grows with the"),
    (own.correlation, lambda a, b: F.mse_loss(a, b), "A difference of pixels is not small for a"),
    (own.balanced, mean_of(f1), "mean F1 score"),
    (own.balanced, mean_of(jaccard), "all images that are of the class or predicted as it"),
    (own.balanced, lambda predicted, labels: mean_of(recall)(labels, predicted), "You exchanged the two"),
    (
        own.balanced,
        mean_of(lambda predicted, labels, c: ((predicted == c) == (labels == c)).double().mean()),
        "is not taken for this one",
    ),
    (
        own.balanced,
        lambda predicted, labels: torch.stack([recall(predicted, labels, c) for c in labels.unique()]).median(),
        "median of the classes",
    ),
    (
        own.balanced,
        lambda predicted, labels: torch.stack([recall(predicted, labels, c) for c in range(labels.max() + 1)]).mean(),
        "go through the classes that occur",
    ),
    (
        own.balanced,
        lambda predicted, labels: sum(recall(predicted, labels, c) for c in labels.unique()),
        "You added up the shares of the classes.",
    ),
    (
        own.balanced,
        lambda predicted, labels: (predicted == labels).sum() / len(labels.unique()),
        "You averaged the numbers of right images.",
    ),
    (
        own.balanced,
        lambda predicted, labels: torch.stack(
            [(labels[predicted == c] == c).double().mean() for c in labels.unique()]
        ).nanmean(),
        "and left out classes that were never predicted",
    ),
]

RIGHT_07 = [
    (own.held_out, lambda scores, share: np.where(scores.numpy() < share, True, False)),
    (own.held_out, lambda scores, share: ~(scores >= share)),
    (own.to_8_bits, lambda x, low, high: np.rint(np.interp(x, [low, high], [0, 255])).astype(np.uint8)),
    (own.to_8_bits, lambda x, low, high: x.clamp(low, high).sub(low).mul(255 / (high - low)).round().to(torch.uint8)),
    (own.correlation, lambda a, b: statistics.correlation(a.flatten().tolist(), b.flatten().tolist())),
    (own.correlation, lambda a, b: (((a - a.mean()) / a.std()) * ((b - b.mean()) / b.std())).sum() / (a.numel() - 1)),
    (own.balanced, from_a_dictionary),
    (own.balanced, weighing_images),
]

# Notebook 08


def rates(num_images, epochs, batch, lr, rule, steps=None):
    steps = num_images // batch if steps is None else steps
    return epochs * steps * lr * (batch / 64 if rule == "linear" else math.sqrt(batch / 64))


def group_losses(z, tau, group):
    first, second = z.chunk(2)
    return [library_loss(a, b, tau) for a, b in zip(first.split(group), second.split(group), strict=True)]


def own_group(z, tau, group, outside=-math.inf):
    """Logits in which the other groups are masked."""
    groups = torch.arange(len(z)) % (len(z) // 2) // group
    return (cosines(z) / tau).masked_fill(groups[:, None] != groups, outside).fill_diagonal_(-math.inf)


def of_first_views(z, tau, group):
    return F.cross_entropy(own_group(z, tau, group), far(z), reduction="none")[: len(z) // 2].mean()


def of_the_other_half(z, tau, group):
    first, second = unit(z).chunk(2)
    found = []
    for a, b in zip(first.split(group), second.split(group), strict=True):
        logits, right = a @ b.T / tau, torch.arange(group)
        found.append((F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2)
    return sum(found) / len(found)


def all_groups_at_once(z, tau, group):
    parts = unit(z).view(2, -1, group, z.shape[1]).transpose(0, 1).flatten(1, 2)  # [groups, 2 · group, D]
    logits = parts @ parts.mT / tau - torch.diag(torch.full((2 * group,), 1e9))
    return F.cross_entropy(logits.flatten(0, 1), torch.arange(2 * group).roll(group).repeat(len(parts)))


def an_index_at_a_time(z, tau, group):
    n, found = len(z) // 2, []
    for start in range(0, n, group):
        rows = torch.arange(start, start + group)
        found.append(library_loss(z[rows], z[rows + n], tau).item())
    return statistics.fmean(found)


WRONG_08 = [
    (
        scaling.sum_of_rates,
        lambda n, epochs, batch, lr, rule: rates(n, epochs, batch, lr, "square root" if rule == "sqrt" else "linear"),
        'The names of the rules are "linear" and "square root"',
    ),
    (
        scaling.sum_of_rates,
        lambda n, epochs, batch, lr, rule: rates(n, epochs, batch, lr, rule, steps=round(n / batch)),
        "rounded the number of steps",
    ),
    (
        scaling.sum_of_rates,
        lambda n, epochs, batch, lr, rule: (
            epochs * (n // batch) * lr * (batch if rule == "linear" else math.sqrt(batch)) / 64
        ),
        "root of the batch alone",
    ),
    (
        scaling.sum_of_rates,
        lambda n, epochs, batch, lr, rule: epochs * (n // batch) * lr * (batch / 64) ** (1 if rule == "linear" else 2),
        "squared the ratio",
    ),
    (
        scaling.sum_of_rates,
        lambda n, epochs, batch, lr, rule: rates(n, epochs, batch, lr, rule, steps=n),
        "You counted images instead of steps. An",
    ),
    (
        scaling.sum_of_rates,
        lambda n, epochs, batch, lr, rule: rates(n, epochs, batch, lr, rule, steps=n // 64),
        "You counted the steps of batches of 64",
    ),
    (scaling.noise_of_an_image, lambda g, batch: math.sqrt(batch) * g.mean(0).norm(), "length of the mean gradient"),
    (
        scaling.noise_of_an_image,
        lambda g, batch: math.sqrt(batch) * (g - g.mean(0)).norm(dim=1).mean(),
        "averaged the distances",
    ),
    (scaling.noise_of_an_image, lambda g, batch: math.sqrt(batch) * g.std(0).max(), "largest variance only"),
    (scaling.noise_of_an_image, lambda g, batch: math.sqrt((batch - 1) * g.var(0).sum()), "root of batch − 1"),
    (
        scaling.noise_of_an_image,
        lambda g, batch: math.sqrt(batch) * g.norm(dim=1).mean(),
        "That is the mean length of the gradients.",
    ),
    (
        scaling.noise_of_an_image,
        lambda g, batch: math.sqrt(batch) * g.var(0).sum(),
        "The square root of the sum of the variances",
    ),
    (
        scaling.noise_of_an_image,
        lambda g, batch: math.sqrt(batch) * g.std(0).mean(),
        "You averaged the standard deviations of the",
    ),
    (scaling.loss_in_groups, of_first_views, "Only the first views are anchors"),
    (scaling.loss_in_groups, of_the_other_half, "views of the other half only"),
    (scaling.loss_in_groups, group_losses, "the losses of the groups"),
    (
        scaling.loss_in_groups,
        lambda z, tau, group: sum(group_losses(z, tau, group)) / (len(z) // 2),
        "divided by the number of images",
    ),
    (
        scaling.loss_in_groups,
        lambda z, tau, group: F.cross_entropy(own_group(z, tau, group, -1 / tau), far(z)),
        "Cosines with other groups are −1",
    ),
    (
        scaling.loss_in_groups,
        lambda z, tau, group: (
            sum(library_loss(a, b, tau) for a, b in zip(*(half.chunk(group) for half in z.chunk(2)), strict=True))
            / group
        ),
        "use split, not chunk",
    ),
]

RIGHT_08 = [
    (
        scaling.sum_of_rates,
        lambda n, epochs, batch, lr, rule: np.full(
            epochs * (n // batch), lr * (batch / 64) ** (0.5 + (rule == "linear") / 2)
        ).sum(),
    ),
    (scaling.sum_of_rates, lambda n, epochs, batch, lr, rule: rates(n - n % batch, epochs, batch, lr, rule)),
    (scaling.noise_of_an_image, lambda g, batch: np.sqrt(batch * np.var(g.numpy(), axis=0, ddof=1).sum())),
    (scaling.noise_of_an_image, lambda g, batch: (batch * torch.cov(g.T).trace()) ** 0.5),
    (scaling.loss_in_groups, all_groups_at_once),
    (scaling.loss_in_groups, an_index_at_a_time),
]

# Notebook 09


def in_chunks(z, tau, parts):
    """The loss of all anchors, which ``parts`` divides."""
    z, total = unit(z), 0.0
    for rows in parts:
        logits = z[rows] @ z.T / tau
        logits[torch.arange(len(rows)), rows] = -torch.inf
        total += F.cross_entropy(logits, (rows + len(z) // 2) % len(z), reduction="sum")
    return total / len(z)


def both_views_of_a_chunk(z, tau, chunk):
    n = len(z) // 2
    return in_chunks(z, tau, [torch.cat([images, images + n]) for images in torch.arange(n).split(chunk)])


def masked_by_an_identity_matrix(z, tau, chunk):
    z, total, itself = unit(z), 0.0, torch.eye(len(z), dtype=torch.bool)
    for rows in torch.arange(len(z)).split(chunk):
        logits = (z[rows] @ z.T / tau).masked_fill(itself[rows], -torch.inf)
        total += F.cross_entropy(logits, far(z)[rows], reduction="sum")
    return total / len(z)


def collecting_the_chunks(z, tau, chunk):
    z, total = unit(z), 0.0
    parts = [(rows, z[rows] @ z.T / tau) for rows in torch.arange(len(z)).split(chunk)]
    for rows, logits in parts:
        logits[torch.arange(len(rows)), rows] = -torch.inf
        total += F.cross_entropy(logits, (rows + len(z) // 2) % len(z), reduction="sum")
    return total / len(z)


def by_the_library_under_another_name(z, tau, chunk):
    compute = getattr(losses, "nt_" + "xent")
    return compute(*z.chunk(2), tau, chunk_size=chunk)


def chunks_in_numpy(z, tau, chunk):
    z, total = z.numpy() / np.linalg.norm(z, axis=1, keepdims=True), 0.0
    for start in range(0, len(z), chunk):
        rows = np.arange(start, min(len(z), start + chunk))
        logits = z[rows] @ z.T / tau
        logits[rows - start, rows] = -np.inf
        total += np.log(np.exp(logits).sum(1)).sum() - logits[rows - start, (rows + len(z) // 2) % len(z)].sum()
    return total / len(z)


def chunks_by_cosine_similarity(z, tau, chunk):
    found = []
    for rows in torch.arange(len(z)).split(chunk):
        logits = F.cosine_similarity(z[rows][:, None], z[None], dim=2) / tau
        logits = torch.where(rows[:, None] == torch.arange(len(z)), -torch.inf, logits)
        found.append(logits.logsumexp(1) - logits.gather(1, far(z)[rows][:, None])[:, 0])
    return torch.cat(found).mean()


def sent_back(x, w, tau, split, back=None):
    """Gradient caching with the parts that ``split`` makes, and other ones on the way back."""
    z = torch.cat([part @ w for part in split(x)]).requires_grad_()
    (for_z,) = torch.autograd.grad(library_loss(*z.chunk(2), tau), z)
    back = back or split
    return sum(part.T @ sent for part, sent in zip(back(x), back(for_z), strict=True))


def gradient_of_z(x, w, tau, micro):
    z = torch.cat([part @ w for part in x.split(micro)]).requires_grad_()
    return torch.autograd.grad(library_loss(*z.chunk(2), tau), z)[0]


def by_surrogate_losses(x, w, tau, micro):
    sent, w = gradient_of_z(x, w, tau, micro), w.clone().requires_grad_()
    for part, of_part in zip(x.split(micro), sent.split(micro), strict=True):
        ((part @ w) * of_part).sum().backward()  # the gradient of this sum is what comes back
    return w.grad


def with_the_last_rows_first(x, w, tau, micro):
    sent = gradient_of_z(x, w, tau, micro)
    return sum(sent[start : start + micro].T @ x[start : start + micro] for start in range(0, len(x), micro)[::-1]).T


def plain_gradient(x, w, tau):
    return torch.func.grad(lambda w: library_loss(*(x @ w).chunk(2), tau))(w)


WRONG_09 = [
    (memory.num_negatives, lambda b, p, shared: 2 * (b if shared else b // p), "the anchor itself and its partner"),
    (memory.num_negatives, lambda b, p, shared: 2 * (b if shared else b // p) - 1, "You counted the partner"),
    (
        memory.num_negatives,
        lambda b, p, shared: 2 * (b - b // p) if shared else 2 * (b // p) - 2,
        "the anchor's own process still count",
    ),
    (memory.num_negatives, lambda b, p, shared: 4 * (b if shared else b // p) - 2, "counted the views twice"),
    (
        memory.num_negatives,
        lambda b, p, shared: 2 * (b // p) - 2 + (b - b // p) * shared,
        "one view of the images of the other processes",
    ),
    (
        memory.num_negatives,
        lambda b, p, shared: (2 * b - 2) // (1 if shared else p),
        "You divided all negatives among the",
    ),
    (
        memory.num_negatives,
        lambda b, p, shared: b if shared else b // p,
        "That is the number of images that the anchor",
    ),
    (
        memory.chunked_loss,
        lambda z, tau, chunk: in_chunks(z, tau, torch.arange(len(z)).chunk(chunk)),
        "use split instead of torch.chunk",
    ),
    (
        memory.chunked_loss,
        lambda z, tau, chunk: in_chunks(z, tau, torch.arange(len(z)).split(32)),
        "a tensor of 32 × 512 numbers",
    ),
    (memory.chunked_loss, masked_by_an_identity_matrix, "a tensor of 512 × 512 numbers"),
    (memory.chunked_loss, both_views_of_a_chunk, "a tensor of 8 × 512 numbers"),
    (memory.chunked_loss, collecting_the_chunks, "keeps a large part of the matrix"),
    (memory.chunked_loss, by_the_library_under_another_name, "write the chunks yourself"),
    (
        memory.chunked_loss,
        lambda z, tau, chunk: in_chunks(z, tau, torch.arange(len(z)).split(chunk)) * 2,
        "You divided by N",
    ),
    (
        memory.chunked_loss,
        lambda z, tau, chunk: in_chunks(z, 1 / tau, torch.arange(len(z)).split(chunk)),
        "You multiplied by τ",
    ),
    (
        memory.chunked_loss,
        lambda z, tau, chunk: in_chunks(z, tau, torch.arange(len(z)).split(chunk)[:-1]),
        "The last chunk is missing: go on to the last",
    ),
    (
        memory.chunked_loss,
        lambda z, tau, chunk: in_chunks(z, tau, torch.arange(len(z) // 2).split(chunk)),
        "Only the first views are anchors in your",
    ),
    (
        memory.chunked_loss,
        lambda z, tau, chunk: in_chunks(z, 1.0, torch.arange(len(z)).split(chunk)) / tau,
        "You divided the loss by τ. Divide the",
    ),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: sent_back(x, w, tau, lambda rows: rows.split(4)),
        "takes 4 rows through the network at one time, where `micro` is 3",
    ),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: sent_back(x, w, tau, lambda rows: rows.chunk(micro)),
        "takes 6 rows through the network at one time",
    ),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: x.T @ gradient_of_z(x, w, tau, micro),
        "on the way back you multiply 16 rows",
    ),
    (memory.cached_gradient, gradient_of_z, "This is the gradient of z"),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: sent_back(x, w, tau, lambda rows: rows.split(micro)).T,
        "rows and columns exchanged",
    ),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: sent_back(
            x, w, tau, lambda rows: rows.split(micro), lambda rows: rows[: len(rows) // micro * micro].split(micro)
        ),
        "The last rows are missing",
    ),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: sum(plain_gradient(part, w, tau) for part in x.split(micro)),
        "first views without their partners",
    ),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: sum(plain_gradient(part, w, tau) for part in x.split(micro)) / -(-len(x) // micro),
        "first views without their partners",
    ),
    (
        memory.cached_gradient,
        lambda x, w, tau, micro: [
            p.T @ s for p, s in zip(x.split(micro), gradient_of_z(x, w, tau, micro).split(micro), strict=True)
        ],
        "These are the gradients of the parts",
    ),
    (memory.speed_up, lambda c, mb, p, gb: c / (c / p + p * 2 * mb / 1e3 / gb), "takes W times as long"),
    (memory.speed_up, lambda c, mb, p, gb: c / (c / p + 2 * mb / 1e3 / gb / p), "divided the exchange by W"),
    (memory.speed_up, lambda c, mb, p, gb: c / (c / p + 2 * math.ceil(math.log2(p)) * mb / 1e3 / gb), "That is a tree"),
    (memory.speed_up, lambda c, mb, p, gb: c / (c / p + 2 * (p - 1) / p * mb / 8e3 / gb), "no factor 8"),
    (memory.speed_up, lambda c, mb, p, gb: c / p + 2 * (p - 1) / p * mb / 1e3 / gb, "This is the time in seconds."),
    (memory.speed_up, lambda c, mb, p, gb: c / (c / p + mb / 1e3 / gb), "The data go around twice, and each time a"),
    (
        memory.speed_up,
        lambda c, mb, p, gb: c - (c / p + 2 * (p - 1) / p * mb / 1e3 / gb),
        "That is how many seconds a step is shorter.",
    ),
    (
        memory.speed_up,
        lambda c, mb, p, gb: c / (c / p + 2 * p / (p - 1) * mb / 1e3 / gb) if p > 1 else 1,
        "The share is upside down: a process passes",
    ),
]

RIGHT_09 = [
    (memory.num_negatives, lambda b, p, shared: len(range(2 * b // (1 if shared else p))) - 2),
    (memory.num_negatives, lambda b, p, shared: 2 * (np.int64(b) // [p, 1][shared] - 1)),
    (memory.chunked_loss, chunks_in_numpy),
    (memory.chunked_loss, chunks_by_cosine_similarity),
    (memory.cached_gradient, by_surrogate_losses),
    (memory.cached_gradient, with_the_last_rows_first),
    (memory.speed_up, lambda c, mb, p, gb: p / (1 + 2 * (p - 1) * mb / (1000 * gb * c))),
    (memory.speed_up, lambda c, mb, p, gb: 1 / (1 / p + 2e6 * mb * (1 - 1 / p) / (1e9 * gb) / c)),
]

# Notebook 10


def pairs(images, texts, temperature=1.0):
    return unit(images) @ unit(texts).T / temperature


def on_the_diagonal(logits):
    return F.cross_entropy(logits, torch.arange(len(logits)))


def teacher_of(teacher, center):
    return ((teacher.detach() - center) / 0.04).softmax(dim=1)


def image_by_image(student, teacher, center):
    found = [
        -(target * F.log_softmax(output / 0.1, dim=0)).sum()
        for output, target in zip(student, teacher_of(teacher, center), strict=True)
    ]
    return torch.stack(found).mean()


def correlations(a, b):
    """The correlation of every dimension of a with every dimension of b, one after the other."""
    return torch.tensor([[np.corrcoef(x, y)[0, 1] for y in b.T.numpy()] for x in a.T.numpy()])


def barlow(c, weight):
    on = torch.eye(len(c), dtype=torch.bool)
    return ((c[on] - 1) ** 2).sum() + weight * (c[~on] ** 2).sum()


WRONG_10 = [
    (after.barlow_loss, lambda a, b, w: barlow(a.T @ b / len(a), w), "are not standardised"),
    (after.barlow_loss, lambda a, b, w: barlow(unit(a).T @ unit(b), w), "standardises each dimension over the batch"),
    (after.barlow_loss, lambda a, b, w: barlow(correlations(a, b), 1), "lacks its weight"),
    (
        after.barlow_loss,
        lambda a, b, w: (correlations(a, b) - torch.eye(a.shape[1])).square().sum(),
        "lacks its weight",
    ),
    (after.barlow_loss, lambda a, b, w: barlow(correlations(a.T, b.T), w), "compared images with images"),
    (
        after.barlow_loss,
        lambda a, b, w: barlow(((a - a.mean(0)) / a.std(0)).T @ ((b - b.mean(0)) / b.std(0)) / len(a), w),
        "with N − 1",
    ),
    (after.barlow_loss, lambda a, b, w: barlow(correlations(a, b), w).sqrt(), "Not yet"),
    (after.dcl_from, lambda x: torch.log2(torch.expm1(x)), "logarithm has base 2"),
    (after.dcl_from, lambda x: x - torch.exp(-x), "subtracted the probability of the partner"),
    (after.dcl_from, lambda x: torch.log(1 - torch.exp(x)), "which is not a number"),
    (after.dcl_from, lambda x: -x.expm1().log(), "the sign is wrong in every case"),
    (after.dcl_from, lambda x: x - (1 + x.exp()).log(), "You subtracted log(1 + exp ℓ). Solve ℓ ="),
    (after.dcl_from, lambda x: 1 - torch.exp(-x), "That is the probability of the negatives in"),
    (after.clip_loss, lambda a, b, t: on_the_diagonal((pairs(a, b, t) + pairs(b, a, t)) / 2), "averaged the logits"),
    (
        after.clip_loss,
        lambda a, b, t: (on_the_diagonal(pairs(a, b) * math.exp(t)) + on_the_diagonal(pairs(b, a) * math.exp(t))) / 2,
        "multiplied by exp(τ)",
    ),
    (
        after.clip_loss,
        lambda a, b, t: [on_the_diagonal(pairs(a, b, t)), on_the_diagonal(pairs(b, a, t))],
        "These are the two losses",
    ),
    (after.clip_loss, lambda a, b, t: -pairs(a, b, t).diagonal().mean(), "pushes nothing apart"),
    (after.clip_loss, lambda a, b, t: -F.logsigmoid((2 * torch.eye(len(a)) - 1) * pairs(a, b, t)).mean(), "SigLIP"),
    (
        after.clip_loss,
        lambda a, b, t: sum(on_the_diagonal(x.softmax(1)) for x in (pairs(a, b, t), pairs(b, a, t))) / 2,
        "F.cross_entropy applies a softmax itself",
    ),
    (
        after.clip_loss,
        lambda a, b, t: (on_the_diagonal(pairs(a, a, t)) + on_the_diagonal(pairs(b, b, t))) / 2,
        "You compared images with images and texts",
    ),
    (
        after.clip_loss,
        lambda a, b, t: (
            (on_the_diagonal(pairs(a, b, t).log_softmax(1)) + on_the_diagonal(pairs(a, b, t).log_softmax(1).T)) / 2
        ),
        "You transposed the logarithms of",
    ),
    (
        after.clip_loss,
        lambda a, b, t: sum(on_the_diagonal(x - 1e9 * torch.eye(len(a))) for x in (pairs(a, b, t), pairs(b, a, t))) / 2,
        "You masked the diagonal, as NT-Xent does.",
    ),
    (after.half_life, lambda m: math.log(2) / (1 - m), "You are near"),
    (after.half_life, lambda m: math.sqrt(m), "root of m"),
    (after.half_life, lambda m: 0.5**m, "a power of ½"),
    (after.half_life, lambda m: math.log(0.25) / math.log(m), "a quarter of the way is left"),
    (after.half_life, lambda m: math.log(0.5 / m), "subtracted the logarithms"),
    (after.half_life, lambda m: math.log(0.5) * math.log(m), "You multiplied the logarithms"),
    (after.half_life, lambda m: math.log2(m), "That is the logarithm of m to base 2"),
    (after.half_life, lambda m: math.log(0.5) / (1 - m), "Your number of steps is below 0, and 1 − m"),
    (
        after.dino_loss,
        lambda s, t, c: F.cross_entropy((s / 0.1).softmax(1), teacher_of(t, c)),
        "a softmax on the student's output twice",
    ),
    (
        after.dino_loss,
        lambda s, t, c: -(teacher_of(t, c) * (s / 0.1).softmax(1)).sum(1).log().mean(),
        "summed the products of the probabilities first",
    ),
    (after.dino_loss, lambda s, t, c: F.cross_entropy(s / 0.1, (t - c).argmax(1)), "most probable dimension alone"),
    (after.dino_loss, lambda s, t, c: F.cross_entropy(s / 0.1, teacher_of(t, t.mean(0))), "the mean of this batch"),
    (
        after.dino_loss,
        lambda s, t, c: F.cross_entropy(s * 0.1, ((t - c) * 0.04).softmax(1)),
        "multiplied by the temperatures",
    ),
    (
        after.dino_loss,
        lambda s, t, c: F.cross_entropy(s.detach() / 0.1, teacher_of(t, c)),
        "no gradient with respect to the student",
    ),
    (
        after.dino_loss,
        lambda s, t, c: (
            (F.cross_entropy(s / 0.1, teacher_of(t, c)) + F.cross_entropy((t - c) / 0.1, (s / 0.04).softmax(1))) / 2
        ),
        "You added the loss in the other direction.",
    ),
]

RIGHT_10 = [
    (after.barlow_loss, lambda a, b, w: barlow(correlations(a, b), w)),
    (
        after.barlow_loss,
        lambda a, b, w: barlow(
            F.batch_norm(a, None, None, training=True).T @ F.batch_norm(b, None, None, training=True) / len(a), w
        ),
    ),
    (after.barlow_loss, lambda a, b, w: barlow(correlations(a.float(), b.float()).float(), w)),
    (after.dcl_from, lambda x: x + torch.log1p(-torch.exp(-x))),
    (after.dcl_from, lambda x: np.log(np.exp(x.numpy()) - 1)),
    (
        after.clip_loss,
        lambda a, b, t: -(pairs(a, b, t).log_softmax(0).diag() + pairs(a, b, t).log_softmax(1).diag()).mean() / 2,
    ),
    (
        after.clip_loss,
        lambda a, b, t: F.cross_entropy(torch.cat([pairs(a, b, t), pairs(b, a, t)]), torch.arange(len(a)).repeat(2)),
    ),
    (after.half_life, lambda m: math.log(0.5, m)),
    (after.half_life, lambda m: torch.tensor(2.0).log2() / -torch.tensor(m, dtype=torch.float64).log2()),
    (after.dino_loss, image_by_image),
    (after.dino_loss, lambda s, t, c: -torch.einsum("nk,nk->n", teacher_of(t, c), (s / 0.1).log_softmax(-1)).mean()),
]


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"), [*WRONG_05, *WRONG_06, *WRONG_07, *WRONG_08, *WRONG_09, *WRONG_10]
)
def test_a_wrong_answer_is_told_what_went_wrong(exercise, answer, hint):
    verdict = exercise.verdict(answer)
    assert verdict.startswith("✗")
    assert hint in verdict


@pytest.mark.parametrize(("exercise", "answer"), [*RIGHT_05, *RIGHT_06, *RIGHT_07, *RIGHT_08, *RIGHT_09, *RIGHT_10])
def test_a_right_answer_is_right_in_every_style(exercise, answer):
    assert exercise.verdict(answer) == RIGHT
