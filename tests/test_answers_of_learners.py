"""Answers as learners write them, and what the exercises say: a hint for each wrong one, ✓ for each right one."""

import copy
import math
import statistics
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from simclr_lib import losses
from simclr_lib.augment import grayscale
from simclr_lib.losses import nt_xent as library_loss
from simclr_lib.teaching.exercises import RIGHT, augmentations, embeddings, nt_xent, pretraining
from simclr_lib.teaching.exercises import after_simclr as after
from simclr_lib.teaching.exercises import linear_probe as probe
from simclr_lib.teaching.exercises import own_images as own
from simclr_lib.teaching.exercises import processes_and_memory as memory
from simclr_lib.teaching.exercises import scaling_up as scaling
from simclr_lib.teaching.exercises import start_here as page
from simclr_lib.teaching.exercises import supervised_comparison as comparison


def unit(z):
    return F.normalize(z, dim=1)


def cosines(z):
    return unit(z) @ unit(z).T


def far(z):
    """The partners' rows, N rows further."""
    return torch.arange(len(z)).roll(len(z) // 2)


def mean_gray(images):
    return grayscale(images).mean(dim=(1, 2))[:, None, None, None]


# Notebook 00


def views_for_a_list(batch, augment):
    views = []
    for image in batch:
        views.append(augment(image))
    for image in batch:
        views.append(image)
    return torch.stack(views)


def shape_first(batch, augment):
    views = torch.empty(2 * len(batch), *augment(batch[0]).shape)
    for i, image in enumerate(batch):
        views[i], views[i + len(batch)] = augment(image), augment(image)
    return views


def second_views_first(batch, augment):
    second = [augment(image) for image in batch]
    return torch.stack([augment(image) for image in batch] + second)


def training(*names, every=1, upto=None):
    """A loop that calls these for every batch, or for some batches only."""

    def loop(net, loss_of, optimizer, batches):
        recorded = []
        for number, views in enumerate(batches):
            loss = loss_of(net(views))
            if number % every == every - 1 and (upto is None or number < upto):
                for name in names:
                    {"zero": optimizer.zero_grad, "back": loss.backward, "step": optimizer.step}[name]()
            recorded.append(loss.item())
        return recorded

    return loop


def every_second(net, loss_of, optimizer, batches):
    recorded = []
    for number, views in enumerate(batches, start=1):
        loss = loss_of(net(views))
        loss.backward()
        if number % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
        recorded.append(loss.item())
    return recorded


def one_step_at_the_end(net, loss_of, optimizer, batches):
    found = [loss_of(net(views)) for views in batches]
    optimizer.zero_grad()
    sum(found).backward()
    optimizer.step()
    return [loss.item() for loss in found]


def without_the_optimizer(net, loss_of, optimizer, batches):
    recorded = []
    for views in batches:
        loss = loss_of(net(views))
        net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weights in net.parameters():
                weights -= 0.5 * weights.grad
        recorded.append(loss.item())
    return recorded


def gradients_set_to_none(net, loss_of, optimizer, batches):
    recorded = []
    for views in batches:
        for weights in net.parameters():
            weights.grad = None
        loss = loss_of(net(views))
        loss.backward()
        optimizer.step()
        recorded.append(loss.detach())
    return recorded


def with_a_closure(net, loss_of, optimizer, batches):
    recorded = []
    for views in batches:

        def loss_and_gradient(views=views):
            optimizer.zero_grad()
            loss = loss_of(net(views))
            loss.backward()
            return loss

        recorded.append(optimizer.step(loss_and_gradient).item())
    return recorded


def with_both_in_eval(encoder, head, images):
    encoder.eval(), head.eval()
    return head(encoder(images))


def in_eval(encoder, images):
    encoder.eval()
    return encoder(images)


WRONG_00 = [
    (page.make_views, views_for_a_list, "second half of your batch is unchanged"),
    (page.make_views, lambda b, augment: augment(torch.cat([b, b])), "all images get the same draw"),
    (
        page.make_views,
        lambda b, augment: torch.stack([augment(x) for x in b] + [augment(x) for x in b][::-1]),
        "in reverse order",
    ),
    (
        page.make_views,
        lambda b, augment: torch.stack([view for x in b for view in [augment(x)] * 2]),
        "alternate, and both views of an image are the same picture",
    ),
    (page.make_views, lambda b, augment: torch.stack([(augment(x) + augment(x)) / 2 for x in b]), "averaged two views"),
    (
        page.make_views,
        lambda b, augment: torch.stack([augment(x) for _ in range(2) for x in b]).flatten(1),
        "the numbers are right, but the answer should be a tensor of shape [6, 3, 4, 4]",
    ),
    (page.make_views, lambda b, augment: [augment(x) for x in b] * 2, "Both views of an image are the same picture"),
    (
        page.make_views,
        lambda b, augment: [augment(x) for x in b] + [augment(augment(x)) for x in b],
        "are views of other views",
    ),
    (page.similarities, lambda z, t: cosines(z) / math.sqrt(t), "square root of τ"),
    (page.similarities, lambda z, t: z @ z.T / z.norm(dim=1) / t, "length of one of its two vectors only"),
    (page.similarities, lambda z, t: z @ z.T / z.norm(dim=1, keepdim=True) / t, "One factor of the product"),
    (page.similarities, lambda z, t: torch.corrcoef(z) / t, "subtract the mean of each row"),
    (page.similarities, lambda z, t: F.normalize(z, p=1, dim=1) @ F.normalize(z, p=1, dim=1).T / t, "absolute values"),
    (page.similarities, lambda z, t: unit(z / t) @ unit(z / t).T, "τ has no effect"),
    (page.similarities, lambda z, t: unit(z @ z.T) / t, "rows of the product by their lengths"),
    (page.similarities, lambda z, t: -torch.cdist(unit(z), unit(z)) / t, "These are distances with a minus sign. The"),
    (page.similarities, lambda z, t: (cosines(z) - torch.eye(len(z))) / t, "Keep the diagonal here"),
    (page.log_denominators, lambda x: x.clone().fill_diagonal_(-math.inf).amax(1), "largest logit of each row"),
    (page.log_denominators, lambda x: (x.exp().sum(1) - math.e).log(), "exp(1 / τ)"),
    (page.log_denominators, lambda x: (x.exp().sum(1) - x.diagonal().exp()).log2(), "logarithm has base 2"),
    (page.log_denominators, lambda x: x.clone().fill_diagonal_(0).sum(1).log(), "logarithm of a number below 0"),
    (page.log_denominators, lambda x: (x.sum(1) - x.diagonal()) / (len(x) - 1), "This is the mean of the logits"),
    (
        page.log_denominators,
        lambda x: x.clone().fill_diagonal_(-math.inf).exp().mean(1).log(),
        "You divided the sum by 2N: this is the mean",
    ),
    (
        page.log_denominators,
        lambda x: x.clone().fill_diagonal_(-math.inf)[: len(x) // 2].logsumexp(1),
        "These are the denominators of the first",
    ),
    (page.positives, lambda x: x.flip(1).diagonal(), "from the upper right to the lower left corner"),
    (page.positives, lambda x: x.softmax(1)[torch.arange(len(x)), far(x)], "softmax over each row"),
    (page.positives, lambda x: x.log_softmax(1)[torch.arange(len(x)), far(x)], "log-softmax over each row"),
    (page.positives, lambda x: x.gather(1, far(x)[:, None]), "the numbers are right, but"),
    (
        page.positives,
        lambda x: x[torch.arange(len(x)), (torch.arange(len(x)) + len(x) // 2 + 1) % len(x)],
        "one row too far",
    ),
    (page.positives, lambda x: x[far(x)], "These are whole rows of the matrix. Pick one"),
    (page.updates, every_second, "after every second batch only"),
    (page.updates, training("zero", "back", "step", every=2), "learn from every second batch only"),
    (page.updates, training("zero", "back", "step", upto=3), "the weights after the loop are not"),
    (page.updates, one_step_at_the_end, "do not change within the loop"),
    (page.updates, training("back", "zero", "step"), "zero_grad() must not come between"),
    (page.updates, without_the_optimizer, "this optimiser has momentum"),
    (page.features, with_both_in_eval, "This is z"),
    (page.features, lambda e, h, x: unit(with_both_in_eval(e, h, x)), "This is z, divided by its length"),
    (page.features, lambda e, h, x: F.relu(in_eval(e, x)), "cut off what is below 0"),
    (page.features, lambda e, h, x: torch.cat([in_eval(e, x), h(in_eval(e, x))], 1), "side by side"),
    (page.features, lambda e, h, x: (h.eval(), e(x))[1], "The encoder is in training mode"),
]

RIGHT_00 = [
    (page.make_views, shape_first),
    (page.make_views, second_views_first),
    (page.make_views, lambda b, augment: np.stack([augment(x).numpy() for _ in range(2) for x in b])),
    (page.make_views, lambda b, augment: torch.stack([augment(x) for x in b.repeat(2, 1, 1, 1)])),
    (page.similarities, lambda z, t: torch.einsum("id,jd->ij", unit(z), unit(z)).div(t)),
    (page.similarities, lambda z, t: (z / t**0.5 / z.norm(dim=1)[:, None]) @ (z / t**0.5 / z.norm(dim=1)[:, None]).T),
    (page.log_denominators, lambda x: [row[torch.arange(len(x)) != i].logsumexp(0) for i, row in enumerate(x)]),
    (page.log_denominators, lambda x: (x.exp() * (1 - torch.eye(len(x)))).sum(dim=0).log()),
    (page.positives, lambda x: [x[i, i - len(x) // 2] for i in range(len(x))]),
    (page.positives, lambda x: (x * torch.eye(len(x)).roll(len(x) // 2, 0)).sum(dim=1)),
    (page.updates, gradients_set_to_none),
    (page.updates, with_a_closure),
    (page.features, lambda e, h, x: copy.deepcopy(e).eval()(x)),
    (page.features, lambda e, h, x: nn.Sequential(e, nn.Identity()).eval()(x).tolist()),
]

# Notebook 01

WRONG_01 = [
    (augmentations.largest_crop, lambda ratio: min(1, ratio), "wider than high cannot cover the whole image"),
    (augmentations.largest_crop, lambda ratio: min(1, 1 / ratio), "higher than wide cannot cover the whole image"),
    (augmentations.largest_crop, lambda ratio: 1 / ratio if ratio < 1 else ratio, "Your share is above 1"),
    (augmentations.largest_crop, lambda ratio: 1 - abs(1 - ratio), "how far the ratio is from 1"),
    (augmentations.largest_crop, lambda ratio: ratio / (ratio + 1), "sum of both sides"),
    (augmentations.untouched_colors, lambda color, gray: 1 - gray, "left out the jitter"),
    (augmentations.untouched_colors, lambda color, gray: 2 - color - gray, "added the two probabilities"),
    (augmentations.untouched_colors, lambda color, gray: 1 - (color + gray) / 2, "mean of the two probabilities"),
    (augmentations.untouched_colors, lambda color, gray: color * (1 - gray), "the jitter happens and the grayscale"),
    (augmentations.untouched_colors, lambda color, gray: (1 - color) * gray, "the grayscale happens and the jitter"),
    (augmentations.untouched_colors, lambda color, gray: ((1 - color) * (1 - gray)) ** 2, "both views of a pair"),
    (augmentations.untouched_colors, lambda color, gray: 1 - max(color, gray), "the more probable change only"),
    (
        augmentations.adjust_contrast,
        lambda images, f: (f * mean_gray(images) + (1 - f) * images).clamp(0, 1),
        "are exchanged",
    ),
    (
        augmentations.adjust_contrast,
        lambda images, f: (f * images + (1 - f) * mean_gray(images)).clamp(min=0),
        "clamp at both ends",
    ),
    (augmentations.adjust_contrast, lambda images, f: (f * images + (1 - f) / 2).clamp(0, 1), "the grey level 0.5"),
    (
        augmentations.adjust_contrast,
        lambda images, f: (f * images + mean_gray(images)).clamp(0, 1),
        "You added the whole mean",
    ),
    (
        augmentations.adjust_contrast,
        lambda images, f: ((images - mean_gray(images)) * f).clamp(0, 1),
        "did not add it again",
    ),
    (
        augmentations.adjust_contrast,
        lambda images, f: (f * images + (1 - f) * grayscale(images).mean((1, 2))[:, None, None]).clamp(0, 1),
        "stopped in line 1 with RuntimeError",
    ),
    (
        augmentations.adjust_contrast,
        lambda images, f: (images + f * (images - mean_gray(images))).clamp(0, 1),
        "You added the change to the image itself.",
    ),
    (augmentations.blur_kernel_size, lambda side: max(3, int(0.1 * side) + 1), "You always add 1"),
    (augmentations.blur_kernel_size, lambda side: max(3, math.ceil(0.1 * side) | 1), "rounded 10 % of the side up"),
    (augmentations.blur_kernel_size, lambda side: side // 20 * 2 + 3, "added 3"),
    (augmentations.blur_kernel_size, lambda side: max(3, side // 10), "its width must be odd"),
    (
        augmentations.blur_kernel_size,
        lambda side: max(3, side // 10 + side // 10 % 2),
        "You add 1 to an odd number, which makes it",
    ),
    (augmentations.blur_kernel_size, lambda side: max(3, 0.1 * side), "A number of pixels is a whole number. Round"),
    (
        augmentations.blur_kernel_size,
        lambda side: max(3, round(0.1 * side)),
        "You rounded to the nearest number, and even",
    ),
]

RIGHT_01 = [
    (augmentations.largest_crop, lambda ratio: math.exp(-abs(math.log(ratio)))),
    (augmentations.largest_crop, lambda ratio: ratio if ratio < 1 else torch.tensor(ratio).reciprocal()),
    (augmentations.untouched_colors, lambda color, gray: 1 - color - gray + color * gray),
    (augmentations.untouched_colors, lambda color, gray: np.prod([1 - color, 1 - gray])),
    (augmentations.adjust_contrast, lambda x, f: torch.lerp(mean_gray(x), x, f).clip(0, 1)),
    (augmentations.adjust_contrast, lambda x, f: np.clip((mean_gray(x) + f * (x - mean_gray(x))).numpy(), 0, 1)),
    (augmentations.blur_kernel_size, lambda side: max(3, 2 * (side // 20) + 1)),
    (augmentations.blur_kernel_size, lambda side: next(k for k in range(3, side, 2) if k >= side // 10)),
]

# Notebook 02


def by_another_name(z, temperature):
    compute = getattr(losses, "nt_" + "xent")
    return compute(z[::2], z[1::2], temperature)


def in_an_inner_function(z, temperature):
    def compute(a, b):
        return library_loss(a, b, temperature)

    return compute(z[::2], z[1::2])


def neighbour(z):
    return torch.arange(len(z)) ^ 1


def masked(z, temperature, value=-math.inf):
    return (cosines(z) / temperature).fill_diagonal_(value)


def probability(z, temperature):
    return masked(z, temperature).softmax(dim=1)[torch.arange(len(z)), neighbour(z)]


def hits(similarity):
    return similarity.fill_diagonal_(-math.inf).argmax(1) == far(similarity)


def by_sorting(z):
    order = cosines(z).argsort(dim=1, descending=True).tolist()
    found = [next(k for k in row if k != i) for i, row in enumerate(order)]
    return sum(k == (i + len(z) // 2) % len(z) for i, k in enumerate(found)) / len(z)


WRONG_02 = [
    (nt_xent.contrastive_accuracy, lambda z: int(hits(cosines(z)).double().mean()), "If you round or use //"),
    (nt_xent.contrastive_accuracy, lambda z: hits(cosines(z)).sum() // len(z), "If you round or use //"),
    (
        nt_xent.contrastive_accuracy,
        lambda z: (cosines(z).argmax(1) == far(z)).double().mean(),
        "leave out the diagonal",
    ),
    (nt_xent.contrastive_accuracy, lambda z: hits(-torch.cdist(z, z)).double().mean(), "by its distance"),
    (nt_xent.contrastive_accuracy, lambda z: hits(cosines(z).abs()).double().mean(), "cosine without its sign"),
    (
        nt_xent.contrastive_accuracy,
        lambda z: (masked(z, 1).argmax(1) == torch.arange(len(z)) % (len(z) // 2)).double().mean(),
        "row number modulo N",
    ),
    (
        nt_xent.contrastive_accuracy,
        lambda z: masked(z, 1).softmax(1)[torch.arange(len(z)), far(z)].mean(),
        "mean probability of the partner",
    ),
    (
        nt_xent.contrastive_accuracy,
        lambda z: (masked(z, 1).topk(2).indices == far(z)[:, None]).any(1).double().mean(),
        "among the two most similar",
    ),
    (
        nt_xent.contrastive_accuracy,
        lambda z: (cosines(z).triu(1).argmax(1) == far(z)).double().mean(),
        "You look at the entries above the diagonal",
    ),
    (nt_xent.contrastive_accuracy, lambda z: masked(z, 1).amax(1).mean(), "This is the mean of the largest"),
    (nt_xent.partners, lambda n: torch.arange(2 * n).flip(0), "in reverse order"),
    (
        nt_xent.partners,
        lambda n: [i - 1 if i % 2 == 0 else i + 1 for i in range(2 * n)],
        "Even and odd rows are exchanged",
    ),
    (nt_xent.partners, lambda n: [(i ^ 1) + 1 for i in range(2 * n)], "1 too much"),
    (nt_xent.partners, lambda n: torch.arange(2 * n) - 1, "do not subtract it"),
    (nt_xent.partners, lambda n: torch.arange(0, 2 * n, 2), "partners of the second views only"),
    (nt_xent.partners, lambda n: torch.arange(2 * n).view(n, 2).flip(1), "the numbers are right, but"),
    (nt_xent.partners, lambda n: [*range(1, 2 * n, 2), *range(0, 2 * n, 2)], "Here the rows alternate"),
    (nt_xent.partners, lambda n: torch.arange(n) ^ 1, "You have n entries"),
    (nt_xent.partners, lambda n: torch.arange(2 * n) // 2 * 2, "That is the first view of each image. It is"),
    (nt_xent.partners, lambda n: torch.arange(2 * n) // 2 * 2 + 1, "That is the second view of each image. It is"),
    (nt_xent.loss, by_another_name, "calls the library"),
    (nt_xent.loss, in_an_inner_function, "calls the library"),
    (
        nt_xent.loss,
        lambda z, t: F.cross_entropy(masked(z, t), torch.arange(len(z)).roll(1)),
        "the same step for every row",
    ),
    (
        nt_xent.loss,
        lambda z, t: F.cross_entropy(masked(z, t), torch.arange(len(z)).roll(-1)),
        "the same step for every row",
    ),
    (nt_xent.loss, lambda z, t: F.cross_entropy(masked(z, t, -1), neighbour(z)), "exp(−1) still counts"),
    (nt_xent.loss, lambda z, t: F.cross_entropy(masked(z, t, -1 / t), neighbour(z)), "exp(−1 / τ) still counts"),
    (nt_xent.loss, lambda z, t: -probability(z, t).log(), "one loss for each anchor"),
    (nt_xent.loss, lambda z, t: -probability(z, t).mean(), "logarithm is missing"),
    (nt_xent.loss, lambda z, t: -probability(z, t).mean().log(), "logarithm of the mean probability"),
    (
        nt_xent.loss,
        lambda z, t: F.cross_entropy((-torch.cdist(unit(z), unit(z)) / t).fill_diagonal_(-math.inf), neighbour(z)),
        "distances with a minus sign",
    ),
    (nt_xent.loss, lambda z, t: F.cross_entropy(masked(z, t).softmax(1), neighbour(z)), "applies a softmax itself"),
    (nt_xent.loss, lambda z, t: -probability(z, t).log10().mean(), "logarithm has base 10"),
    (nt_xent.loss, lambda z, t: masked(z, t).exp().sum(1).log().mean(), "This is the logarithm of the denominator."),
    (nt_xent.loss, lambda z, t: F.nll_loss(masked(z, t), neighbour(z)), "This is minus the mean similarity of the"),
    (nt_xent.loss, lambda z, t: F.cross_entropy(masked(z, t) / t, neighbour(z)), "You divided by τ twice"),
    (
        nt_xent.loss,
        lambda z, t: F.cross_entropy(masked(z, t**0.5), neighbour(z)),
        "You divided by the square root of τ. Divide",
    ),
    (
        nt_xent.loss,
        lambda z, t: F.cross_entropy(masked(z, t).exp(), neighbour(z)),
        "F.cross_entropy takes the exponentials",
    ),
    (nt_xent.loss_without_information, lambda n: 0, "stands out from all negatives"),
    (nt_xent.loss_without_information, lambda n: math.log(n - 1), "log(N − 1)"),
    (nt_xent.loss_without_information, lambda n: math.log(2 * n + 1), "log(2N + 1)"),
    (nt_xent.loss_without_information, lambda n: math.log10(2 * n - 1), "logarithm has base 10"),
    (nt_xent.loss_without_information, lambda n: 1 - 1 / (2 * n - 1), "probability of the negatives"),
    (nt_xent.loss_without_information, lambda n: 2 * n * math.log(2 * n - 1), "You added up the losses"),
    (nt_xent.loss_without_information, lambda n: math.log(2 * n - 1) / (2 * n), "You divided by 2N"),
    (nt_xent.temperature_for, lambda first, second, ratio: (first - second) * math.log(ratio), "You multiplied"),
    (nt_xent.temperature_for, lambda first, second, ratio: ratio / (first - second), "a larger difference"),
    (nt_xent.temperature_for, lambda first, second, ratio: (first - second) * ratio, "multiplied by the ratio"),
    (
        nt_xent.temperature_for,
        lambda first, second, ratio: (first + second) / math.log(ratio),
        "added the similarities",
    ),
    (nt_xent.temperature_for, lambda first, second, ratio: math.log(ratio) / (first - second), "That is 1 / τ"),
    (nt_xent.temperature_for, lambda first, second, ratio: first - second, "`ratio` has no effect in your answer. The"),
]

RIGHT_02 = [
    (nt_xent.contrastive_accuracy, by_sorting),
    (nt_xent.contrastive_accuracy, lambda z: np.mean((masked(z, 0.1).argmax(1) == far(z)).tolist())),
    (nt_xent.partners, lambda n: torch.arange(2 * n).view(n, 2).flip(1).flatten()),
    (nt_xent.partners, lambda n: np.array([(2 * i + 1, 2 * i) for i in range(n)]).ravel()),
    (nt_xent.loss, lambda z, t: -probability(z, t).log().mean()),
    (nt_xent.loss, lambda z, t: statistics.fmean((-probability(z.float(), t).log()).tolist())),
    (nt_xent.loss_without_information, lambda n: library_loss(torch.ones(n, 2), torch.ones(n, 2), 0.5)),
    (nt_xent.loss_without_information, lambda n: torch.zeros(2 * n - 1).logsumexp(0)),
    (nt_xent.temperature_for, lambda first, second, ratio: 1 / (np.log(ratio) / (first - second))),
    (nt_xent.temperature_for, lambda first, second, ratio: (second - first) / torch.tensor(1 / ratio).log()),
]

# Notebook 03


def cosine(share, last=0.0):
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * share))


def a_step_early(step, total, warmup, last):
    if step + 1 < warmup:
        return (step + 1) / warmup
    return cosine((step - warmup) / (total - warmup), last)


def after_a_rise(fall):
    """A schedule with the right warm-up, and then that share of the peak."""

    def learning_rate(step, total, warmup, last):
        return (step + 1) / warmup if step < warmup else fall((step - warmup) / (total - warmup), last)

    return learning_rate


def rise_times_cosine(step, total, warmup, last):
    rise = min(1, (step + 1) / warmup) if warmup else 1
    return rise * cosine(step / total, last)


def with_numpy_where(step, total, warmup, last):
    fall = (1 + last) / 2 + (1 - last) / 2 * np.cos(np.pi * (step - warmup) / (total - warmup))
    return np.where(step < warmup, (step + 1) / max(1, warmup), fall)


def step_of(w, g, lr, weight_decay, trust, norm=torch.linalg.vector_norm):
    """The step of LARS without momentum."""
    g = g + weight_decay * w
    return lr * trust * norm(w) / norm(g) * g


def downhill(w, g, v, lr, momentum, weight_decay, trust):
    v = momentum * v - step_of(w, g, lr, weight_decay, trust)
    return w + v


def both_of_them(w, g, v, lr, momentum, weight_decay, trust):
    v = momentum * v + step_of(w, g, lr, weight_decay, trust)
    return w - v, v


def number_by_number_lars(w, g, v, lr, momentum, weight_decay, trust):
    flat = [x.flatten().tolist() for x in (w, g, v)]
    decayed = [b + weight_decay * a for a, b in zip(*flat[:2], strict=True)]
    rate = lr * trust * math.hypot(*flat[0]) / math.hypot(*decayed)
    new = [a - momentum * c - rate * b for a, b, c in zip(flat[0], decayed, flat[2], strict=True)]
    return torch.tensor(new).view(w.shape)


def rounded_down_at_the_stem(side, stem):
    side = side // {"cifar": 1, "fast": 2, "imagenet": 4}[stem]
    for _ in range(3):
        side = (side + 1) // 2
    return side


STRIDES = {"cifar": 8, "fast": 16, "imagenet": 32}

WRONG_03 = [
    (pretraining.learning_rate, a_step_early, "one step too short"),
    (
        pretraining.learning_rate,
        lambda step, total, warmup, last: (
            (step + 1) / (warmup + 1) if step < warmup else cosine((step - warmup) / (total - warmup), last)
        ),
        "does not reach 1",
    ),
    (
        pretraining.learning_rate,
        after_a_rise(lambda share, last: last + (1 - last) * math.cos(math.pi / 2 * share)),
        "a quarter of a turn",
    ),
    (pretraining.learning_rate, after_a_rise(lambda share, last: last**share), "an exponential decay"),
    (pretraining.learning_rate, rise_times_cosine, "multiplied a warm-up by a cosine"),
    (
        pretraining.learning_rate,
        lambda step, total, warmup, last: (step + 1) / warmup if step < warmup else cosine(step / total, last),
        "Your cosine counts from step 0.",
    ),
    (
        pretraining.learning_rate,
        lambda step, total, warmup, last: (
            (step + 1) / warmup if step < warmup else cosine((step - warmup) / total, last)
        ),
        "stretched over all steps",
    ),
    (pretraining.learning_rate, after_a_rise(lambda share, last: 1 - (1 - last) * share), "a straight line"),
    (
        pretraining.learning_rate,
        after_a_rise(lambda share, last: last * cosine(share)),
        "You multiplied by `last`, so your cosine",
    ),
    (
        pretraining.learning_rate,
        after_a_rise(lambda share, last: (1 - last) * cosine(share)),
        "You multiplied the share by 1 − last and did",
    ),
    (pretraining.lars_step, downhill, "points downhill and is added"),
    (pretraining.lars_step, both_of_them, "Return the weights alone"),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: w - (v + momentum * step_of(w, g, lr, wd, trust)),
        "μ is at the wrong place",
    ),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: w - momentum * (v + step_of(w, g, lr, wd, trust)),
        "μ multiplies the sum",
    ),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: (
            w - momentum * v - step_of(w, g, lr, wd, trust, lambda x: x.abs().sum())
        ),
        "added up absolute values",
    ),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: w - momentum * v - (1 - momentum) * step_of(w, g, lr, wd, trust),
        "damped the new step",
    ),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: w - momentum * v - lr * g,
        "The trust ratio and weight decay are",
    ),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: w - v,
        "Nothing of this gradient is in your step.",
    ),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: w - step_of(w, momentum * v + g, lr, wd, trust),
        "You took the ratio from the norm of the",
    ),
    (pretraining.last_feature_map, rounded_down_at_the_stem, "your stem rounds down"),
    (
        pretraining.last_feature_map,
        lambda side, stem: side // 32 if stem == "imagenet" else math.ceil(side / STRIDES[stem]),
        "With the imagenet stem you round down",
    ),
    (
        pretraining.last_feature_map,
        lambda side, stem: 7 if stem == "imagenet" else math.ceil(side / STRIDES[stem]),
        "A side of 7 belongs to an image of 224 pixels",
    ),
    (pretraining.last_feature_map, lambda side, stem: (side + 1) // STRIDES[stem], "added 1 to the side"),
    (pretraining.last_feature_map, lambda side, stem: side // STRIDES[stem], "rounds up: 3 pixels become 2"),
    (
        pretraining.last_feature_map,
        lambda side, stem: math.ceil(side / {"cifar": 8, "fast": 16, "imagenet": 64}[stem]),
        "halved once too often",
    ),
    (
        pretraining.last_feature_map,
        lambda side, stem: {"cifar": 4, "fast": 2, "imagenet": 7}[stem],
        "`side` has no effect in your answer. The",
    ),
    (pretraining.last_feature_map, lambda side, stem: math.ceil(side / 32), "`stem` has no effect in your answer. The"),
    (
        pretraining.scaled_learning_rate,
        lambda lr, batch, new, rule: lr * (new / batch) ** (0.5 if rule == "square root" else 1),
        'The names of the rules are "linear" and "sqrt"',
    ),
    (
        pretraining.scaled_learning_rate,
        lambda lr, batch, new, rule: lr * (new if rule == "linear" else math.sqrt(new)) / batch,
        "root is taken of the new batch size alone",
    ),
    (
        pretraining.scaled_learning_rate,
        lambda lr, batch, new, rule: lr * (new / batch) ** (1 if rule == "linear" else 2),
        "You squared the ratio",
    ),
    (
        pretraining.scaled_learning_rate,
        lambda lr, batch, new, rule: lr * (new / batch if rule == "linear" else new / batch / 2),
        "The root of the ratio is not its half",
    ),
    (pretraining.scaled_learning_rate, lambda lr, batch, new, rule: lr, "You return the rate as it was"),
]

RIGHT_03 = [
    (pretraining.learning_rate, with_numpy_where),
    (pretraining.learning_rate, after_a_rise(lambda share, last: 1 - (1 - last) * math.sin(math.pi / 2 * share) ** 2)),
    (pretraining.lars_step, number_by_number_lars),
    (
        pretraining.lars_step,
        lambda w, g, v, lr, momentum, wd, trust: w.float() - momentum * v - step_of(w, g, lr, wd, trust),
    ),
    (pretraining.last_feature_map, lambda side, stem: (side - 1) // STRIDES[stem] + 1),
    (pretraining.last_feature_map, lambda side, stem: len(range(0, side, STRIDES[stem]))),
    (
        pretraining.scaled_learning_rate,
        lambda lr, batch, new, rule: torch.tensor(new / batch).pow({"linear": 1, "sqrt": 0.5}[rule]) * lr,
    ),
    (
        pretraining.scaled_learning_rate,
        lambda lr, batch, new, rule: lr / batch * new if rule == "linear" else lr * math.exp(math.log(new / batch) / 2),
    ),
]

# Notebook 04


def table(labels, predicted, num_classes):
    counts = torch.zeros(num_classes, num_classes)
    for pair in zip(labels, predicted, strict=True):
        counts[pair] += 1
    return counts.fill_diagonal_(0)


def first_mistake(labels, predicted, num_classes):
    i = int((labels != predicted).nonzero()[0])
    return labels[i], predicted[i]


def of_the_worst_class(labels, predicted, num_classes):
    counts = table(labels, predicted, num_classes)
    worst = int(counts.sum(dim=1).argmax())
    return worst, int(counts[worst].argmax())


def of_the_most_wrongly_predicted(labels, predicted, num_classes):
    counts = table(labels, predicted, num_classes)
    guess = int(counts.sum(dim=0).argmax())
    return int(counts[:, guess].argmax()), guess


def each_most_frequent(labels, predicted, num_classes):
    wrong = labels != predicted
    return labels[wrong].mode().values, predicted[wrong].mode().values


def of_predicted_shares(labels, predicted, num_classes):
    shares = table(labels, predicted, num_classes) / predicted.bincount(minlength=num_classes).clamp(min=1)
    return divmod(int(shares.argmax()), num_classes)


def rarest(labels, predicted, num_classes):
    pairs = Counter((a, b) for a, b in zip(labels.tolist(), predicted.tolist(), strict=True) if a != b)
    return min(sorted(pairs), key=pairs.get)


def with_unique(labels, predicted, num_classes):
    pairs, times = torch.stack([labels, predicted])[:, labels != predicted].unique(dim=1, return_counts=True)
    return pairs[:, times.argmax()]


def by_recursion(tries, p):
    return p + (1 - p) * by_recursion(tries - 1, p) if tries else 0


def all_equally_good(validation):
    return [strength for strength, accuracy in validation.items() if accuracy == max(validation.values())]


WRONG_04 = [
    (
        probe.standardise,
        lambda train, test: (test - train.min(0).values) / (train.max(0).values - train.min(0).values),
        "smallest and the largest value",
    ),
    (
        probe.standardise,
        lambda train, test: (test - test.mean()) / test.std(correction=0),
        "of all test features at once",
    ),
    (probe.standardise, lambda train, test: unit(test - train.mean(0)), "length of its row"),
    (
        probe.standardise,
        lambda train, test: (test - train.mean(0)) / train.square().mean(0).sqrt(),
        "root of the mean square",
    ),
    (probe.standardise, lambda train, test: (test - train.mean(0)) / train.std(0), "use correction=0"),
    (probe.standardise, lambda train, test: (test - test.mean(0)) / test.std(0), "own mean and deviation"),
    (
        probe.standardise,
        lambda train, test: (test - torch.cat([train, test]).mean(0)) / torch.cat([train, test]).std(0),
        "You took the statistics of both parts",
    ),
    (probe.standardise, lambda train, test: unit(test), "You divided each image by its length."),
    (
        probe.standardise,
        lambda train, test: (train - train.mean(0)) / train.std(0),
        "These are the training features. Return the",
    ),
    (
        probe.choose_penalty,
        lambda v: max(v.items(), key=lambda pair: (pair[1], pair[0])),
        "a strength and its accuracy",
    ),
    (probe.choose_penalty, lambda v: max((v[s], s) for s in v), "an accuracy and its strength"),
    (probe.choose_penalty, all_equally_good, "all strengths that are equally good"),
    (probe.choose_penalty, lambda v: statistics.fmean(all_equally_good(v)), "averaged the strengths"),
    (probe.choose_penalty, lambda v: max(v, key=lambda s: (round(v[s], 2), s)), "nearly as good as equally good"),
    (probe.choose_penalty, lambda v: np.argmax(list(v.values())), "That is a place in the list"),
    (
        probe.choose_penalty,
        lambda v: max(v.items(), key=lambda item: item[1]),
        "This is a strength and its accuracy. Return",
    ),
    (
        probe.choose_penalty,
        lambda v: sorted(v.items(), key=lambda item: item[1])[-1],
        "This is a strength and its accuracy. Return",
    ),
    (probe.most_frequent_mistake, first_mistake, "That is the first mistake of the list"),
    (probe.most_frequent_mistake, of_the_worst_class, "the class with the most mistakes first, and then"),
    (probe.most_frequent_mistake, of_the_most_wrongly_predicted, "predicted wrongly most often first"),
    (probe.most_frequent_mistake, each_most_frequent, "They need not belong together"),
    (probe.most_frequent_mistake, of_predicted_shares, "shares of each predicted class"),
    (probe.most_frequent_mistake, rarest, "the rarest of the mistakes"),
    (probe.chance_of_record, lambda tries, p: 1 - (1 - p) ** (tries - 1), "left out one try"),
    (probe.chance_of_record, lambda tries, p: 1 - math.exp(-tries * p), "You are near"),
    (probe.chance_of_record, lambda tries, p: p * (1 - p) ** tries, "after `tries` tries without one"),
    (probe.chance_of_record, lambda tries, p: 1 - (1 - p) ** (1 / tries), "You took a root"),
    (probe.chance_of_record, lambda tries, p: p, "that is the chance of a single try"),
    (probe.chance_of_record, lambda tries, p: 1 - p, "That is the chance that a single try does"),
]

RIGHT_04 = [
    (
        probe.standardise,
        lambda train, test: [
            [(x - column.mean()) / column.std(correction=0) for x, column in zip(row, train.T, strict=True)]
            for row in test
        ],
    ),
    (probe.standardise, lambda train, test: (test - train.mean(0)).div_(train.var(0, correction=0).sqrt_())),
    (probe.choose_penalty, lambda v: max((accuracy, strength) for strength, accuracy in v.items())[1]),
    (probe.choose_penalty, lambda v: torch.tensor(all_equally_good(v)).max()),
    (probe.most_frequent_mistake, with_unique),
    (probe.most_frequent_mistake, lambda t, p, c: np.unravel_index(table(t, p, c).argmax().item(), (c, c))),
    (probe.chance_of_record, by_recursion),
    (
        probe.chance_of_record,
        lambda tries, p: sum(math.comb(tries, k) * p**k * (1 - p) ** (tries - k) for k in range(1, tries + 1)),
    ),
]

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
    (comparison.labels_for, never_in_the_first_segment, "Between the first two budgets you go wrong"),
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
        "These are the places of the lowest scores,",
    ),
    (
        own.held_out,
        lambda scores, share: sorted(scores)[: int(share * len(scores))],
        "These are the lowest scores, and always",
    ),
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


WRONG_10 = [
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
    (after.half_life, lambda m: math.log(2) / (1 - m), "You are near"),
    (after.half_life, lambda m: math.sqrt(m), "root of m"),
    (after.half_life, lambda m: 0.5**m, "a power of ½"),
    (after.half_life, lambda m: math.log(0.25) / math.log(m), "a quarter of the way is left"),
    (after.half_life, lambda m: math.log(0.5 / m), "subtracted the logarithms"),
    (after.half_life, lambda m: math.log(0.5) * math.log(m), "You multiplied the logarithms. From k · log"),
    (after.half_life, lambda m: math.log2(m), "That is the logarithm of m. From k · log m ="),
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
    ("exercise", "answer", "hint"),
    [
        *(*WRONG_00, *WRONG_01, *WRONG_02, *WRONG_03, *WRONG_04, *WRONG_05),
        *(*WRONG_06, *WRONG_07, *WRONG_08, *WRONG_09, *WRONG_10),
    ],
)
def test_a_wrong_answer_is_told_what_went_wrong(exercise, answer, hint):
    verdict = exercise.verdict(answer)
    assert verdict.startswith("✗")
    assert hint in verdict


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        *(*RIGHT_00, *RIGHT_01, *RIGHT_02, *RIGHT_03, *RIGHT_04, *RIGHT_05),
        *(*RIGHT_06, *RIGHT_07, *RIGHT_08, *RIGHT_09, *RIGHT_10),
    ],
)
def test_a_right_answer_is_right_in_every_style(exercise, answer):
    assert exercise.verdict(answer) == RIGHT
