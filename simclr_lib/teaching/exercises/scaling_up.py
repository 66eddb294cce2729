"""Exercises of notebook 08: the noise of one image, the sum of the rates, fewer negatives in the same batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.losses import nt_xent
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect, normal

# 1. The noise of a single image's gradient


def _noise(gradients: Tensor) -> Tensor:
    return gradients.var(dim=0).sum().sqrt()


noise_of_an_image = Exercise(
    solution=lambda gradients, batch: math.sqrt(batch) * _noise(gradients),
    cases=[(normal(12, 5, seed=0) + 3, 16), (0.1 * normal(8, 9, seed=1) - 1, 64)],
    misconceptions=[
        Misconception(
            hint="That is the noise of a batch. A single image is noisier, by the square root of the batch size.",
            answer=lambda gradients, batch: _noise(gradients),
        ),
        Misconception(
            hint="The noise falls with the square root of the batch size, not with the batch size itself.",
            answer=lambda gradients, batch: batch * _noise(gradients),
        ),
        Misconception(
            hint="You divided where you should multiply: a mean over a batch is less noisy than one image.",
            answer=lambda gradients, batch: _noise(gradients) / math.sqrt(batch),
        ),
        Misconception(
            hint="Add up the variances of all directions. You took their mean.",
            answer=lambda gradients, batch: (batch * gradients.var(dim=0).mean()).sqrt(),
        ),
        Misconception(
            hint="Variances add up, standard deviations do not: take the root last.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.std(dim=0).sum(),
        ),
        Misconception(
            hint="That is the variance: take its square root.",
            answer=lambda gradients, batch: batch * gradients.var(dim=0).sum(),
        ),
        Misconception(
            hint="Divide by K − 1: the mean was estimated from the same K gradients.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.var(dim=0, correction=0).sum().sqrt(),
        ),
        Misconception(
            hint="You took the variance over all numbers at once. Each direction has a mean of its own: dim=0.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.std(),
        ),
        Misconception(
            hint="That is the length of the gradients, without subtracting their mean.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.square().mean(dim=0).sum().sqrt(),
        ),
        Misconception(
            hint="K is the number of gradients that you measured. What makes a batch less noisy is its size, `batch`.",
            answer=lambda gradients, batch: math.sqrt(len(gradients)) * _noise(gradients),
        ),
        Misconception(
            hint="You took the variance over the directions. Take it over the K gradients: dim=0.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.var(dim=1).sum().sqrt(),
        ),
        Misconception(
            hint="This is one number for each direction. Add up the variances, then take the root.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.std(dim=0),
        ),
        Misconception(
            hint="That is the length of the mean gradient, so the signal and not the noise. Subtract the mean from "
            "each gradient first.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.mean(dim=0).norm(),
        ),
        Misconception(
            hint="You averaged the distances from the mean. Average their squares (with K − 1), and take the root "
            "last.",
            answer=lambda gradients, batch: math.sqrt(batch) * (gradients - gradients.mean(dim=0)).norm(dim=1).mean(),
        ),
        Misconception(
            hint="You took the direction with the largest variance only. Add up the variances of all directions.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.std(dim=0).max(),
        ),
        Misconception(
            hint="You took the root of batch − 1. That 1 belongs to K, the number of gradients: the noise falls with "
            "the root of the batch size itself.",
            answer=lambda gradients, batch: math.sqrt(batch - 1) * _noise(gradients),
        ),
        Misconception(
            hint="That is how much the lengths of the gradients differ. Gradients of equal length may point anywhere.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.norm(dim=1).std(),
        ),
        Misconception(
            hint="That is the mean length of the gradients. Subtract their mean from each first.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.norm(dim=1).mean(),
        ),
        Misconception(
            hint="The square root of the sum of the variances is missing. You took it of the batch size only.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.var(dim=0).sum(),
        ),
        Misconception(
            hint="You averaged the standard deviations of the directions. Add up the variances, and take the root of "
            "the sum.",
            answer=lambda gradients, batch: math.sqrt(batch) * gradients.std(dim=0).mean(),
        ),
    ],
)

# 2. The sum of the rates over all steps


def _rates(num_images: int, epochs: int, batch: int, lr: float, rule: str) -> float:
    ratio = batch / 64
    return epochs * (num_images // batch) * lr * (ratio if rule == "linear" else math.sqrt(ratio))


sum_of_rates = Exercise(
    solution=_rates,
    cases=[
        (4096, 12, 64, 0.4, "linear"),
        (4096, 24, 512, 0.4, "linear"),
        (4096, 24, 512, 0.4, "square root"),
        (5000, 10, 16, 0.1, "square root"),
        (5000, 10, 300, 0.1, "linear"),
    ],
    misconceptions=[
        Misconception(
            hint="The two rules are swapped: the linear rule multiplies the rate by batch / 64.",
            answer=lambda n, epochs, batch, lr, rule: _rates(
                n, epochs, batch, lr, "square root" if rule == "linear" else "linear"
            ),
        ),
        Misconception(
            hint="The rate has to follow the batch: `lr` is the rate for 64 images.",
            answer=lambda n, epochs, batch, lr, rule: epochs * (n // batch) * lr,
        ),
        Misconception(
            hint="An epoch has num_images // batch steps: count steps, not epochs.",
            answer=lambda n, epochs, batch, lr, rule: _rates(batch, epochs, batch, lr, rule),
        ),
        Misconception(
            hint="You count a fraction of a step, or a last step that is not full: images that do not fill a batch are "
            "left out in every epoch.",
            answer=lambda n, epochs, batch, lr, rule: _rates(n, epochs, batch, lr, rule) / (n // batch) * n / batch,
        ),
        Misconception(
            hint="That is the rate of one step. The question is its sum over all steps.",
            answer=lambda n, epochs, batch, lr, rule: _rates(batch, 1, batch, lr, rule),
        ),
        Misconception(
            hint="The ratio is upside down: a larger batch has a larger rate.",
            answer=lambda n, epochs, batch, lr, rule: (
                (epochs * (n // batch) * lr) ** 2 / _rates(n, epochs, batch, lr, rule)
            ),
        ),
        Misconception(
            hint="You left out the rest once, at the end of training. It is left out in every epoch: epochs · "
            "(num_images // batch).",
            answer=lambda n, epochs, batch, lr, rule: (
                _rates(n, epochs, batch, lr, rule) / (epochs * (n // batch)) * (n * epochs // batch)
            ),
        ),
        Misconception(
            hint="You count a last step that is not full: images that do not fill a batch are left out.",
            answer=lambda n, epochs, batch, lr, rule: (
                _rates(n, epochs, batch, lr, rule) / (n // batch) * math.ceil(n / batch)
            ),
        ),
        Misconception(
            hint='You used the linear rule for both. (The names of the rules are "linear" and "square root".)',
            answer=lambda n, epochs, batch, lr, rule: _rates(n, epochs, batch, lr, "linear"),
        ),
        Misconception(
            hint='You used the square root for both. (The names of the rules are "linear" and "square root".)',
            answer=lambda n, epochs, batch, lr, rule: _rates(n, epochs, batch, lr, "square root"),
        ),
        Misconception(
            hint="You rounded the number of steps of an epoch to the nearest number. Images that do not fill a batch "
            "are left out, so round down.",
            answer=lambda n, epochs, batch, lr, rule: (
                _rates(n, epochs, batch, lr, rule) / (n // batch) * round(n / batch)
            ),
        ),
        Misconception(
            hint="You took the root of the batch alone. Put the ratio in brackets first: sqrt(batch / 64).",
            answer=lambda n, epochs, batch, lr, rule: _rates(
                n, epochs, batch, lr if rule == "linear" else lr / 8, rule
            ),
        ),
        Misconception(
            hint="You squared the ratio. The square-root rule multiplies the rate by the root of batch / 64.",
            answer=lambda n, epochs, batch, lr, rule: (
                epochs * (n // batch) * lr * (batch / 64) ** (1 if rule == "linear" else 2)
            ),
        ),
        Misconception(
            hint="`lr` is the rate for a batch of 64 images, not of 256.",
            answer=lambda n, epochs, batch, lr, rule: _rates(
                n, epochs, batch, lr / (4 if rule == "linear" else 2), rule
            ),
        ),
        Misconception(
            hint="`lr` is the rate for 64 images: the rules take the ratio batch / 64.",
            answer=lambda n, epochs, batch, lr, rule: _rates(
                n, epochs, batch, lr * (64 if rule == "linear" else 8), rule
            ),
        ),
        Misconception(
            hint="You divided without a remainder: batch // 64 is 0 for a batch of 16.",
            answer=lambda n, epochs, batch, lr, rule: (
                _rates(n, epochs, batch, lr, rule) * ((batch // 64) / (batch / 64)) ** (1 if rule == "linear" else 0.5)
            ),
        ),
        Misconception(
            hint="That is the number of steps. Multiply it by the rate.",
            answer=lambda n, epochs, batch, lr, rule: epochs * (n // batch),
        ),
        Misconception(
            hint="That is the sum over one epoch.",
            answer=lambda n, epochs, batch, lr, rule: _rates(n, 1, batch, lr, rule),
        ),
        Misconception(
            hint="You counted images instead of steps. An epoch has num_images // batch steps.",
            answer=lambda n, epochs, batch, lr, rule: _rates(n * batch, epochs, batch, lr, rule),
        ),
        Misconception(
            hint="You counted the steps of batches of 64 images. An epoch has num_images // batch steps.",
            answer=lambda n, epochs, batch, lr, rule: _rates(n // 64 * batch, epochs, batch, lr, rule),
        ),
    ],
    tolerance=1e-6,
)

# 3. Negatives of the anchor's group only


def _in_groups(z: Tensor, tau: float, group: int, add: bool = False) -> Tensor:
    first, second = z.chunk(2)
    losses = [nt_xent(a, b, tau) for a, b in zip(first.split(group), second.split(group), strict=True)]
    return sum(losses, z.new_zeros(())) / (1 if add else len(losses))


def _of_rows(z: Tensor, tau: float, group: int) -> Tensor:
    """Split the rows of z as they stand, so that the partner of an anchor is in another group."""
    pairs = (part.chunk(2) for part in z.split(2 * group))
    return torch.stack([nt_xent(a, b, tau) for a, b in pairs]).mean()


def _interleaved(z: Tensor, tau: float, group: int) -> Tensor:
    first, second = z.chunk(2)
    count = len(first) // group
    return torch.stack([nt_xent(first[i::count], second[i::count], tau) for i in range(count)]).mean()


def _masked(z: Tensor, tau: float, group: int, itself: bool = False, value: float = -torch.inf) -> Tensor:
    """The loss from one matrix of logits, in which the other groups are masked."""
    rows = torch.arange(len(z))
    groups = rows % (len(z) // 2) // group
    logits = (z @ z.T / tau).masked_fill(groups[:, None] != groups, value)
    return F.cross_entropy(logits if itself else logits.fill_diagonal_(-torch.inf), rows.roll(len(z) // 2))


def _group_logits(z: Tensor, tau: float, group: int) -> Tensor:
    """Logits of all pairs, −inf outside the own group and on the diagonal."""
    groups = torch.arange(len(z)) % (len(z) // 2) // group
    z = F.normalize(z, dim=1)
    return (z @ z.T / tau).masked_fill(groups[:, None] != groups, -torch.inf).fill_diagonal_(-torch.inf)


def _same_half(z: Tensor) -> Tensor:
    first = torch.arange(len(z)) < len(z) // 2
    return first[:, None] == first


def _of_other_groups(z: Tensor, tau: float, group: int) -> Tensor:
    rows = torch.arange(len(z))
    partners, groups = rows.roll(len(z) // 2), rows % (len(z) // 2) // group
    negative = groups[:, None] != groups
    negative[rows, partners] = True
    z = F.normalize(z, dim=1)
    return F.cross_entropy((z @ z.T / tau).masked_fill(~negative, -torch.inf), partners)


loss_in_groups = Exercise(
    solution=_in_groups,
    cases=[(normal(16, 4, seed=2), 0.5, 4), (normal(24, 3, seed=3), 0.2, 3), (normal(12, 5, seed=4), 1.0, 6)],
    misconceptions=[
        Misconception(
            hint="That is the loss with all negatives: an anchor meets its own group only.",
            answer=lambda z, tau, group: _in_groups(z, tau, len(z) // 2),
        ),
        Misconception(
            hint="You split the rows of z. Its first half are first views: then partners are not what you take them "
            "for. Split both halves, and pair them.",
            answer=_of_rows,
        ),
        Misconception(
            hint="You added the losses of the groups. The mean over all anchors is the mean of the groups' losses.",
            answer=lambda z, tau, group: _in_groups(z, tau, group, add=True),
        ),
        Misconception(
            hint="You used one group only.",
            answer=lambda z, tau, group: nt_xent(z[:group], z.chunk(2)[1][:group], tau),
        ),
        Misconception(
            hint="`group` is the number of images in a group, not the number of groups: use split, not chunk.",
            answer=lambda z, tau, group: _in_groups(z, tau, math.ceil(len(z) / 2 / group)),
        ),
        Misconception(
            hint="Your groups are interleaved. They follow the order of the images: the first `group` images are the "
            "first group.",
            answer=_interleaved,
        ),
        Misconception(
            hint="You divided by the size of a group. The mean is over the groups: divide by their number.",
            answer=lambda z, tau, group: _in_groups(z, tau, group, add=True) / group,
        ),
        Misconception(
            hint="The embeddings are not normalised: cosine similarities are meant.",
            answer=lambda z, tau, group: _masked(z, tau, group),
        ),
        Misconception(
            hint="Each anchor is still among its own candidates: its similarity to itself must be masked.",
            answer=lambda z, tau, group: _masked(F.normalize(z, dim=1), tau, group, itself=True),
        ),
        Misconception(
            hint="Masked similarities are 0 in your answer, and exp(0) = 1 still counts. Use −inf.",
            answer=lambda z, tau, group: _masked(F.normalize(z, dim=1), tau, group, value=0.0),
        ),
        Misconception(
            hint="Only the first views are anchors in your mean. The second views are anchors, too: 2N losses.",
            answer=lambda z, tau, group: F.cross_entropy(
                _group_logits(z, tau, group)[: len(z) // 2], torch.arange(len(z) // 2) + len(z) // 2
            ),
        ),
        Misconception(
            hint="Your candidates are the views of the other half only. The views of the same half of the anchor's "
            "group are candidates, too.",
            answer=lambda z, tau, group: F.cross_entropy(
                _group_logits(z, tau, group).masked_fill(_same_half(z), -torch.inf),
                torch.arange(len(z)).roll(len(z) // 2),
            ),
        ),
        Misconception(
            hint="Your negatives come from the other groups. Each anchor is compared with the views of its own group.",
            answer=_of_other_groups,
        ),
        Misconception(
            hint="You divided by the number of images. nt_xent is a mean already: divide by the number of groups.",
            answer=lambda z, tau, group: _in_groups(z, tau, group, add=True) / (len(z) // 2),
        ),
        Misconception(
            hint="Cosines with other groups are −1 in your answer, and exp(−1 / τ) still counts. Use −inf.",
            answer=lambda z, tau, group: _masked(F.normalize(z, dim=1), tau, group, value=-1 / tau),
        ),
        Misconception(
            hint="These are the losses of the groups. Return their mean.",
            answer=lambda z, tau, group: [
                nt_xent(a, b, tau) for a, b in zip(*(half.split(group) for half in z.chunk(2)), strict=True)
            ],
        ),
        Misconception(hint="You forgot the temperature.", answer=lambda z, tau, group: _in_groups(z, 0.5, group)),
    ],
)

EXERCISES = collect(globals())
