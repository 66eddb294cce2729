"""Answers to the exercises of notebooks 00 to 04, as learners write them, and what the check says to each."""

import copy
import math
import statistics
from collections import Counter

import numpy as np
import pytest
import torch
from rows import cosines, far, unit
from torch import nn
from torch.nn import functional as F

from simclr_lib import losses
from simclr_lib.augment import grayscale
from simclr_lib.losses import nt_xent as library_loss
from simclr_lib.teaching.exercises import RIGHT, augmentations, nt_xent, pretraining
from simclr_lib.teaching.exercises import linear_probe as probe
from simclr_lib.teaching.exercises import start_here as page


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
    (
        page.features,
        lambda e, h, x: (in_eval(e, x) - e(x).mean(0)) / e(x).std(0),
        "You standardised the features of this batch.",
    ),
]

RIGHT_00 = [
    (page.make_views, shape_first),
    (page.make_views, second_views_first),
    (page.make_views, lambda b, augment: [augment(x) for _ in range(2) for x in b]),
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
    (
        nt_xent.loss,
        lambda z, t: (1 / masked(z, t).softmax(1)[torch.arange(len(z)), neighbour(z)]).mean(),
        "The logarithm is missing: ",
    ),
    (
        nt_xent.loss,
        lambda z, t: masked(z, t).softmax(1)[torch.arange(len(z)), neighbour(z)].mean(),
        "the mean probability of the partners",
    ),
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
        "`side` has no effect in your answer",
    ),
    (pretraining.last_feature_map, lambda side, stem: math.ceil(side / 32), "`stem` has no effect in your answer. The"),
    (pretraining.last_feature_map, lambda side, stem: side // 8, "Your stem changes nothing, and you round"),
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
    (probe.most_frequent_mistake, of_the_worst_class, "You looked first for the class with the most mistakes"),
    (probe.most_frequent_mistake, of_the_most_wrongly_predicted, "wrongly predicted most often"),
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


@pytest.mark.parametrize(("exercise", "answer", "hint"), [*WRONG_00, *WRONG_01, *WRONG_02, *WRONG_03, *WRONG_04])
def test_a_wrong_answer_is_told_what_went_wrong(exercise, answer, hint):
    verdict = exercise.verdict(answer)
    assert verdict.startswith("✗")
    assert hint in verdict


@pytest.mark.parametrize(("exercise", "answer"), [*RIGHT_00, *RIGHT_01, *RIGHT_02, *RIGHT_03, *RIGHT_04])
def test_a_right_answer_is_right_in_every_style(exercise, answer):
    assert exercise.verdict(answer) == RIGHT
