"""Exercises of notebook 00: the six gaps of SimCLR on one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from simclr_lib.losses import nt_xent
from simclr_lib.seeding import initial_weights
from simclr_lib.teaching.exercises.exercise import RIGHT, Answer, Exercise, Misconception, collect, normal


def open_gaps(answers: Mapping[str, Answer]) -> list[str]:
    """The names of the gaps that are not filled with a right answer yet.

    Args:
        answers: name of the exercise → the learner's function.
    """
    return [name for name, exercise in EXERCISES.items() if exercise.verdict(answers[name]) != RIGHT]


# 1. Two views


class NumberedDraws:
    """An augmentation whose draws can be told apart: the k-th view of an image is the image times k plus its mean.

    Like an augmentation of torchvision, it draws once per call: what is given to it together gets the same draw.
    """

    def __init__(self) -> None:
        self.draws: dict[bytes, int] = {}

    def __call__(self, image: Tensor) -> Tensor:
        image = torch.as_tensor(image)
        content = image.numpy().tobytes()
        self.draws[content] = self.draws.get(content, 0) + 1
        return self.draws[content] * (image + image.mean())


Augmentation = Callable[[Tensor], Tensor]


def _one_view(batch: Tensor, augment: Augmentation) -> Tensor:
    return torch.stack([augment(image) for image in batch])


def _two_views(batch: Tensor, augment: Augmentation) -> Tensor:
    return torch.cat([_one_view(batch, augment), _one_view(batch, augment)])


def _renumbered(batch: Tensor, augment: Augmentation, views: Tensor) -> Tensor:
    """The views with the draws of each image numbered as they appear, since any two of its draws are as good."""
    if not isinstance(views, Tensor):
        views = torch.stack([torch.as_tensor(view) for view in views])
    if views.shape[1:] != batch.shape[1:]:
        return views
    views = views.clone()
    for image in batch:
        first = image + image.mean()
        draws: list[int] = []
        for row, view in enumerate(views):
            draw = round(float(view.mean() / first.mean()))
            if torch.allclose(view, draw * first, rtol=1e-3, atol=1e-4):
                draws += [draw] if draw not in draws else []
                views[row] = (draws.index(draw) + 1) * first
    return views


make_views = Exercise(
    solution=_two_views,
    cases=[
        (normal(3, 3, 4, 4, seed=0).float(), NumberedDraws()),
        (normal(5, 3, 2, 2, seed=1).float(), NumberedDraws()),
    ],
    misconceptions=[
        Misconception(
            hint="Both views of an image are the same picture, so finding the partner needs no understanding. Draw a "
            "second time for the second views.",
            answer=lambda batch, augment: _one_view(batch, augment).repeat(2, 1, 1, 1),
        ),
        Misconception(
            hint="You gave the whole batch to `augment`. It draws once per call, so all images get the same crop and "
            "the same colours. Give it one image at a time.",
            answer=lambda batch, augment: torch.cat([augment(batch), augment(batch)]),
        ),
        Misconception(
            hint="You called `augment` once, for the whole batch: all images get the same draw, and both views of an "
            "image are the same picture. Call it twice for each image.",
            answer=lambda batch, augment: augment(batch).repeat(2, 1, 1, 1),
        ),
        Misconception(
            hint="Your views alternate: a₀, b₀, a₁, b₁ … The loss looks for the partner N rows further: put all first "
            "views before all second views.",
            answer=lambda batch, augment: torch.stack([augment(image) for image in batch for _ in range(2)]),
        ),
        Misconception(
            hint="Your views alternate, and both views of an image are the same picture. Call `augment` twice for each "
            "image, and put all first views before all second views.",
            answer=lambda batch, augment: _one_view(batch, augment).repeat_interleave(2, dim=0),
        ),
        Misconception(
            hint="Your second views are in reverse order. The second view of image i has to stand N rows after its "
            "first view.",
            answer=lambda batch, augment: torch.cat([_one_view(batch, augment), _one_view(batch, augment).flip(0)]),
        ),
        Misconception(
            hint="You averaged two views, so one picture is left of each image. Keep both: 2N views.",
            answer=lambda batch, augment: (_one_view(batch, augment) + _one_view(batch, augment)) / 2,
        ),
        Misconception(
            hint="This is one view of each image. Each needs a partner: 2N views.",
            answer=_one_view,
        ),
        Misconception(
            hint="The first half of your batch is unchanged. In SimCLR both pictures are random views of the image.",
            answer=lambda batch, augment: torch.cat([batch, _one_view(batch, augment)]),
        ),
        Misconception(
            hint="The second half of your batch is unchanged. In SimCLR both pictures are random views of the image.",
            answer=lambda batch, augment: torch.cat([_one_view(batch, augment), batch]),
        ),
        Misconception(
            hint="The images are unchanged: nothing calls `augment`.",
            answer=lambda batch, augment: torch.cat([batch, batch]),
        ),
        Misconception(
            hint="Your second views are views of the first views. Make both from the image itself.",
            answer=lambda batch, augment: torch.cat(
                [views := _one_view(batch, augment), torch.stack([augment(view) for view in views])]
            ),
        ),
        Misconception(
            hint="The views are right, but they are two batches, [2, N, 3, H, W]. The network takes one batch of 2N "
            "views: join them with torch.cat instead of torch.stack.",
            answer=lambda batch, augment: torch.stack([_one_view(batch, augment), _one_view(batch, augment)]),
        ),
        Misconception(
            hint="The views are right, but they are pairs, [N, 2, 3, H, W]. The network takes one batch of 2N views, "
            "first all first views, then all second views.",
            answer=lambda batch, augment: torch.stack([_one_view(batch, augment), _one_view(batch, augment)], dim=1),
        ),
        Misconception(
            hint="torch.cat joined the images along their channels. torch.stack makes a batch of single images.",
            answer=lambda batch, augment: torch.cat([augment(image) for _ in range(2) for image in batch]),
        ),
        Misconception(
            hint="Your second views are views of other views. Make both from the image itself.",
            answer=lambda batch, augment: torch.cat(
                [_one_view(batch, augment), _one_view(_one_view(batch, augment), augment)]
            ),
        ),
    ],
    compared=_renumbered,
)

# 2. Similarities


def _similarities(z: Tensor, temperature: float) -> Tensor:
    z = F.normalize(z, dim=1)
    return z @ z.T / temperature


similarities = Exercise(
    solution=_similarities,
    cases=[(normal(6, 4, seed=0).float(), 0.5), (3 * normal(10, 3, seed=1).float(), 0.2)],
    misconceptions=[
        Misconception(
            hint="These are dot products divided by τ: they grow with the lengths, so the network could lower the loss "
            "by making z longer. Divide each row of z by its length first.",
            answer=lambda z, temperature: z @ z.T / temperature,
        ),
        Misconception(
            hint="Both the normalisation and τ are missing: these are dot products.",
            answer=lambda z, temperature: z @ z.T,
        ),
        Misconception(
            hint="You divided each column of z by its length, which mixes the images. An embedding is a row: dim=1.",
            answer=lambda z, temperature: F.normalize(z, dim=0) @ F.normalize(z, dim=0).T / temperature,
        ),
        Misconception(
            hint="You divided by one length for all of z. Each row has a length of its own: norm(dim=1, keepdim=True).",
            answer=lambda z, temperature: (z / z.norm()) @ (z / z.norm()).T / temperature,
        ),
        Misconception(
            hint="One factor of the product is not normalised: both vectors of a pair need length 1.",
            answer=lambda z, temperature: F.normalize(z, dim=1) @ z.T / temperature,
        ),
        Misconception(
            hint="You divided the product by the length of one of its two vectors only. Divide by the lengths of both.",
            answer=lambda z, temperature: z @ F.normalize(z, dim=1).T / temperature,
        ),
        Misconception(
            hint="You divided by the sum of the absolute values of each row. The length of a row is the square root of "
            "its sum of squares.",
            answer=lambda z, temperature: F.normalize(z, p=1, dim=1) @ F.normalize(z, p=1, dim=1).T / temperature,
        ),
        Misconception(
            hint="These are correlations: they subtract the mean of each row first. The cosine similarity does not.",
            answer=lambda z, temperature: torch.corrcoef(z) / temperature,
        ),
        Misconception(
            hint="You divided by the square root of τ. Divide by τ itself.",
            answer=lambda z, temperature: _similarities(z, temperature**0.5),
        ),
        Misconception(
            hint="τ has no effect: these are the cosine similarities. Divide them by τ (not z, which is normalised).",
            answer=lambda z, temperature: _similarities(z, 1.0),
        ),
        Misconception(
            hint="You multiplied by τ. A small τ should make the differences larger: divide by it.",
            answer=lambda z, temperature: _similarities(z, 1 / temperature),
        ),
        Misconception(
            hint="You divided by τ twice: once in each factor of the product. Divide the product.",
            answer=lambda z, temperature: _similarities(z, temperature**2),
        ),
        Misconception(
            hint="These are the similarities of partners only. The loss needs all pairs, the negatives too: [2N, 2N].",
            answer=lambda z, temperature: F.cosine_similarity(*z.chunk(2)) / temperature,
        ),
        Misconception(
            hint="You compared first views with second views only. The other images' views of the same half are "
            "negatives too: [2N, 2N].",
            answer=lambda z, temperature: (
                F.normalize(z.chunk(2)[0], dim=1) @ F.normalize(z.chunk(2)[1], dim=1).T / temperature
            ),
        ),
        Misconception(
            hint="These are distances: they are small where embeddings are alike. A similarity is large there.",
            answer=lambda z, temperature: torch.cdist(F.normalize(z, dim=1), F.normalize(z, dim=1)) / temperature,
        ),
        Misconception(
            hint="The exponential comes later, in the softmax: return the similarities divided by τ.",
            answer=lambda z, temperature: _similarities(z, temperature).exp(),
        ),
        Misconception(
            hint="The softmax comes later, and only over the other embeddings: return the similarities divided by τ.",
            answer=lambda z, temperature: _similarities(z, temperature).softmax(dim=1),
        ),
        Misconception(
            hint="This is one minus the similarity, a distance: it is small where embeddings are alike.",
            answer=lambda z, temperature: (1 - _similarities(z, 1.0)) / temperature,
        ),
        Misconception(
            hint="You compared the dimensions of z with one another, [D, D]. Compare its rows: z @ z.T.",
            answer=lambda z, temperature: F.normalize(z, dim=1).T @ F.normalize(z, dim=1) / temperature,
        ),
        Misconception(
            hint="You divided by the squared lengths. The length is the square root of the sum of squares.",
            answer=lambda z, temperature: (
                (z / z.square().sum(1, keepdim=True)) @ (z / z.square().sum(1, keepdim=True)).T / temperature
            ),
        ),
        Misconception(
            hint="You compared each embedding with itself. Every pair is needed, [2N, 2N]: use a matrix product.",
            answer=lambda z, temperature: F.cosine_similarity(z, z) / temperature,
        ),
        Misconception(
            hint="Keep the diagonal here: leaving out the embedding itself is the subject of gap 3.",
            answer=lambda z, temperature: _without_diagonal(_similarities(z, temperature)),
        ),
        Misconception(
            hint="You divided the rows of the product by their lengths. Divide the rows of z by theirs, before the "
            "product.",
            answer=lambda z, temperature: F.normalize(z @ z.T, dim=1) / temperature,
        ),
        Misconception(
            hint="These are distances with a minus sign. The cosine similarity is the product of the normalised rows.",
            answer=lambda z, temperature: -torch.cdist(F.normalize(z, dim=1), F.normalize(z, dim=1)) / temperature,
        ),
        Misconception(
            hint="Keep the diagonal here: leaving out the embedding itself is the subject of gap 3.",
            answer=lambda z, temperature: _without_diagonal(_similarities(z, temperature), 0.0),
        ),
    ],
)

# 3. The denominator


def _logits(pairs: int, dims: int, seed: int) -> Tensor:
    """Similarities of 2N random embeddings divided by τ = 0.5, float32 [2N, 2N]."""
    return _similarities(normal(2 * pairs, dims, seed=seed).float(), 0.5)


def _without_diagonal(logits: Tensor, value: float = -torch.inf) -> Tensor:
    return logits.clone().fill_diagonal_(value)


def _partners(logits: Tensor) -> Tensor:
    return torch.arange(len(logits)).roll(len(logits) // 2)


def _without_partners(logits: Tensor) -> Tensor:
    return logits.scatter(1, _partners(logits)[:, None], -torch.inf)


def _other_half(logits: Tensor) -> Tensor:
    """Logits of candidates from the other half of the batch only."""
    first = torch.arange(len(logits)) < len(logits) // 2
    return logits.masked_fill(first[:, None] == first, -torch.inf)


log_denominators = Exercise(
    solution=lambda logits: _without_diagonal(logits).logsumexp(dim=1),
    cases=[(_logits(3, 4, seed=0),), (_logits(5, 3, seed=1),)],
    misconceptions=[
        Misconception(
            hint="The similarity of each embedding with itself is still in the sum. It is the largest there can be, "
            "and no learning changes it: the sum is over k ≠ i.",
            answer=lambda logits: logits.logsumexp(dim=1),
        ),
        Misconception(
            hint="A diagonal of 0 does not leave the sum: exp(0) = 1. Only exp(−∞) is 0.",
            answer=lambda logits: _without_diagonal(logits, 0.0).logsumexp(dim=1),
        ),
        Misconception(
            hint="A diagonal of −1 stays in the sum: exp(−1) is not 0. Only exp(−∞) is 0.",
            answer=lambda logits: _without_diagonal(logits, -1.0).logsumexp(dim=1),
        ),
        Misconception(
            hint="The partner is missing from the sum. It runs over all k ≠ i, and the partner is one of them.",
            answer=lambda logits: _without_partners(_without_diagonal(logits)).logsumexp(dim=1),
        ),
        Misconception(
            hint="You left out the partner and kept the embedding itself. It is the other way round.",
            answer=lambda logits: _without_partners(logits).logsumexp(dim=1),
        ),
        Misconception(
            hint="Your sum takes the other half of the batch only. The other images' views of the same half count too.",
            answer=lambda logits: _other_half(logits).logsumexp(dim=1),
        ),
        Misconception(
            hint="This is the sum itself; the loss needs its logarithm.",
            answer=lambda logits: _without_diagonal(logits).exp().sum(dim=1),
        ),
        Misconception(
            hint="This is the largest logit of each row. All the others are in the sum, too.",
            answer=lambda logits: _without_diagonal(logits).max(dim=1).values,
        ),
        Misconception(
            hint="This is the mean of the logits. Take the exponential of each logit, add these up, and take the "
            "logarithm of the sum.",
            answer=lambda logits: _without_diagonal(logits, 0.0).sum(dim=1) / (len(logits) - 1),
        ),
        Misconception(
            hint="The exponential is missing: this is the sum of the similarities.",
            answer=lambda logits: _without_diagonal(logits, 0.0).sum(dim=1),
        ),
        Misconception(
            hint="This is the mean of the exponentials. The denominator is their sum.",
            answer=lambda logits: (_without_diagonal(logits).exp().sum(dim=1) / (len(logits) - 1)).log(),
        ),
        Misconception(
            hint="This is one sum for the whole matrix. Each anchor, each row, has a denominator of its own: dim=1.",
            answer=lambda logits: _without_diagonal(logits).flatten().logsumexp(dim=0),
        ),
        Misconception(
            hint="These are logarithms of the single probabilities, [2N, 2N]. The denominator is one number per row.",
            answer=lambda logits: _without_diagonal(logits).log_softmax(dim=1),
        ),
        Misconception(
            hint="You subtracted 1 from the sum. What an embedding's similarity with itself adds is exp(1 / τ).",
            answer=lambda logits: (logits.exp().sum(dim=1) - 1).log(),
        ),
        Misconception(
            hint="You subtracted e from the sum. What an embedding's similarity with itself adds is exp(1 / τ), "
            "because the logits are divided by τ already.",
            answer=lambda logits: (logits.exp().sum(dim=1) - math.e).log(),
        ),
        Misconception(
            hint="0 · ∞ is not a number, so a mask times ∞ spoils all entries. Use fill_diagonal_(-torch.inf).",
            answer=lambda logits: (logits - torch.eye(len(logits)) * torch.inf).logsumexp(dim=1),
        ),
        Misconception(
            hint="A diagonal of +∞ makes the sum infinite. exp(−∞) is 0: mind the sign.",
            answer=lambda logits: _without_diagonal(logits, torch.inf).logsumexp(dim=1),
        ),
        Misconception(
            hint="You took each pair once. Here every row is a sum of its own, over the whole row but the diagonal.",
            answer=lambda logits: logits.triu(diagonal=1).exp().sum(dim=1).log(),
        ),
        Misconception(
            hint="You have subtracted the diagonal from the logarithm. Leave it out of the sum, before the logarithm.",
            answer=lambda logits: logits.logsumexp(dim=1) - logits.diagonal(),
        ),
        Misconception(
            hint="This is already the mean. Return one number per anchor, [2N].",
            answer=lambda logits: _without_diagonal(logits).logsumexp(dim=1).mean(),
        ),
        Misconception(
            hint="The sign is wrong: return the logarithm of the sum itself.",
            answer=lambda logits: -_without_diagonal(logits).logsumexp(dim=1),
        ),
        Misconception(
            hint="You divided the sum by 2N: this is the mean of the exponentials. The denominator is their sum.",
            answer=lambda logits: _without_diagonal(logits).exp().mean(dim=1).log(),
        ),
        Misconception(
            hint="These are the denominators of the first views only. Second views are anchors too: 2N numbers.",
            answer=lambda logits: _without_diagonal(logits).logsumexp(dim=1)[: len(logits) // 2],
        ),
    ],
)

# 4. The positives

positives = Exercise(
    solution=lambda logits: logits[torch.arange(len(logits)), _partners(logits)],
    cases=[(_logits(3, 4, seed=2),), (_logits(5, 3, seed=3),)],
    misconceptions=[
        Misconception(
            hint="That is the similarity of each embedding with itself. The positive is the other view of the image.",
            answer=torch.diagonal,
        ),
        Misconception(
            hint="That would be right if the views alternated: a₀, b₀, a₁, b₁ … Here all first views come before all "
            "second views, so the partner is N rows further.",
            answer=lambda logits: logits[torch.arange(len(logits)), torch.arange(len(logits)) ^ 1],
        ),
        Misconception(
            hint="You have the positives of the first views only. Second views are anchors too: 2N numbers.",
            answer=lambda logits: logits.diagonal(len(logits) // 2),
        ),
        Misconception(
            hint="That is the next embedding of the batch: another image, and so a negative.",
            answer=lambda logits: logits[torch.arange(len(logits)), torch.arange(len(logits)).roll(-1)],
        ),
        Misconception(
            hint="That is the previous embedding of the batch: another image, and so a negative.",
            answer=lambda logits: logits[torch.arange(len(logits)), torch.arange(len(logits)).roll(1)],
        ),
        Misconception(
            hint="The most similar one need not be the partner: it is, at best, what training leads to.",
            answer=lambda logits: _without_diagonal(logits).max(dim=1).values,
        ),
        Misconception(
            hint="Two index tensors pick single entries; a slice and an index tensor pick whole columns, [2N, 2N]. "
            "Write logits[torch.arange(2N), partner].",
            answer=lambda logits: logits[:, _partners(logits)],
        ),
        Misconception(
            hint="Those are the partners' numbers. Pick the entries of the matrix at these columns.",
            answer=_partners,
        ),
        Misconception(
            hint="That is the diagonal from the upper right to the lower left corner. It pairs the first embedding "
            "with the last one. The partner is N rows further.",
            answer=lambda logits: logits.flip(1).diagonal(),
        ),
        Misconception(
            hint="There is a softmax over each row in your answer. The denominator is the subject of gap 3: return the "
            "entries of `logits` themselves.",
            answer=lambda logits: logits.softmax(dim=1)[torch.arange(len(logits)), _partners(logits)],
        ),
        Misconception(
            hint="There is a log-softmax over each row in your answer. The denominator is the subject of gap 3: return "
            "the entries of `logits` themselves.",
            answer=lambda logits: logits.log_softmax(dim=1)[torch.arange(len(logits)), _partners(logits)],
        ),
        Misconception(
            hint="You looked one row too far. With 2N rows the partner of row i is row i + N.",
            answer=lambda logits: logits[torch.arange(len(logits)), _partners(logits).roll(-1)],
        ),
        Misconception(
            hint="You looked one row too early. With 2N rows the partner of row i is row i + N.",
            answer=lambda logits: logits[torch.arange(len(logits)), _partners(logits).roll(1)],
        ),
        Misconception(
            hint="The exponential is not needed: log exp(x) = x. Return the entries themselves.",
            answer=lambda logits: logits[torch.arange(len(logits)), _partners(logits)].exp(),
        ),
        Misconception(
            hint="This is already the mean. Return one number per anchor, [2N].",
            answer=lambda logits: logits.diagonal(len(logits) // 2).mean(),
        ),
        Misconception(
            hint="The sign is wrong: the loss subtracts the positives later.",
            answer=lambda logits: -logits[torch.arange(len(logits)), _partners(logits)],
        ),
        Misconception(
            hint="For the second views you took the similarity with themselves. Their partners are in the first half.",
            answer=lambda logits: torch.cat([logits.diagonal(len(logits) // 2), logits.diagonal().chunk(2)[1]]),
        ),
        Misconception(
            hint="For the first views you took the similarity with themselves. Their partners are in the second half.",
            answer=lambda logits: torch.cat([logits.diagonal().chunk(2)[0], logits.diagonal(len(logits) // 2)]),
        ),
        Misconception(
            hint="That is the block of first views against second views, [N, N]. The positives are its diagonal, and "
            "second views are anchors too.",
            answer=lambda logits: logits[: len(logits) // 2, len(logits) // 2 :],
        ),
        Misconception(
            hint="These are the sums over all others. The positive is one entry of each row.",
            answer=lambda logits: logits.sum(dim=1) - logits.diagonal(),
        ),
        Misconception(
            hint="These are whole rows of the matrix. Pick one entry of each row: that of the partner's column.",
            answer=lambda logits: logits[_partners(logits)],
        ),
    ],
)

# 5. The update


def _linear_run(seed: int) -> tuple[nn.Module, Callable[[Tensor], Tensor], Optimizer, list[Tensor]]:
    """A network of one layer, NT-Xent, an optimiser, and four batches of views, float32 [8, 5]."""
    with initial_weights(seed):
        net = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    return net, _loss_of, optimizer, [normal(8, 5, seed=10 * seed + i).float() for i in range(4)]


def _loss_of(z: Tensor) -> Tensor:
    z_a, z_b = z.chunk(2)
    return nt_xent(z_a, z_b, temperature=0.5)


LossOf = Callable[[Tensor], Tensor]


def _updates(order: str) -> Answer:
    """A training loop that does this for every batch: b = backward, f = forget the gradients, s = step, u = uphill."""

    def updates(net: nn.Module, loss_of: LossOf, optimizer: Optimizer, batches: Iterable[Tensor]) -> list[float]:
        losses = []
        for views in batches:
            loss = loss_of(net(views))
            actions: dict[str, Callable[[], object]] = {
                "b": loss.backward,
                "u": (-loss).backward,
                "f": optimizer.zero_grad,
                "s": optimizer.step,
            }
            for letter in order:
                actions[letter]()
            losses.append(loss.item())
        return losses

    return updates


def _losses_after(net: nn.Module, loss_of: LossOf, optimizer: Optimizer, batches: Iterable[Tensor]) -> list[float]:
    losses = []
    for views in batches:
        _updates("fbs")(net, loss_of, optimizer, [views])
        losses.append(loss_of(net(views)).item())
    return losses


def _by_hand(net: nn.Module, loss_of: LossOf, optimizer: Optimizer, batches: Iterable[Tensor]) -> list[float]:
    plain = torch.optim.SGD(net.parameters(), lr=optimizer.param_groups[0]["lr"])
    return _updates("fbs")(net, loss_of, plain, batches)


def _alternating(first: str, second: str) -> Answer:
    """A training loop that treats every second batch in another way."""

    def updates(net: nn.Module, loss_of: LossOf, optimizer: Optimizer, batches: Iterable[Tensor]) -> list[float]:
        losses = []
        for number, views in enumerate(batches):
            losses += _updates(second if number % 2 else first)(net, loss_of, optimizer, [views])
        return losses

    return updates


def _learns_from_all(attempt: Answer) -> str | None:
    """A hint if the weights after the loop are not those of the solution, which the losses cannot tell."""
    (net, *rest), (expected, *others) = _linear_run(seed=2), _linear_run(seed=2)
    attempt(net, *rest)
    updates.solution(expected, *others)
    if all(
        torch.allclose(w, right, atol=1e-5) for w, right in zip(net.parameters(), expected.parameters(), strict=True)
    ):
        return None
    return (
        "The losses are right, but the weights after the loop are not. Every batch has to change them once, the last "
        "one too."
    )


updates = Exercise(
    solution=_updates("fbs"),
    cases=[_linear_run(seed=0), _linear_run(seed=1)],
    misconceptions=[
        Misconception(
            hint="Old gradients are never cleared: backward() adds to them, so each step follows the sum of all "
            "batches so far. Call optimizer.zero_grad() before backward(), for every batch.",
            answer=_updates("bs"),
        ),
        Misconception(
            hint="The weights do not change within the loop. step() is missing there, or it finds no gradient: "
            "zero_grad() must not come between backward() and step(), and backward() must come before step().",
            answer=_updates("b"),
        ),
        Misconception(
            hint="You change the weights after every second batch only. Clear the gradients, call backward() and call "
            "step() for each batch.",
            answer=_alternating("b", "bsf"),
        ),
        Misconception(
            hint="You learn from every second batch only. Clear the gradients, call backward() and call step() for "
            "each batch.",
            answer=_alternating("", "fbs"),
        ),
        Misconception(
            hint="step() comes before backward(), so each step follows the gradient of the batch before. The order is "
            "zero_grad, backward, step.",
            answer=_updates("sfb"),
        ),
        Misconception(
            hint="step() comes before backward(), and old gradients are never cleared. The order is zero_grad, "
            "backward, step.",
            answer=_updates("sb"),
        ),
        Misconception(
            hint="You went uphill. step() subtracts the gradient, so backward() needs the loss, not minus the loss.",
            answer=_updates("fus"),
        ),
        Misconception(
            hint="You take two steps per batch with one gradient: one is enough.",
            answer=_updates("fbss"),
        ),
        Misconception(
            hint="You record the loss after the update. Keep the line that was given: it records the loss "
            "from which the update was computed.",
            answer=_losses_after,
        ),
        Misconception(
            hint="You subtract the gradient by hand. optimizer.step() does more: this optimiser has momentum.",
            answer=_by_hand,
        ),
    ],
    constraint=_learns_from_all,
)

# 6. Features for kNN


def _encoder_and_head(seed: int) -> tuple[nn.Module, nn.Module, Tensor]:
    """An encoder with batch norm in training mode, a head, and six inputs, float32 [6, 5]."""
    with initial_weights(seed):
        encoder, head = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), nn.Linear(4, 3)
        encoder(torch.randn(32, 5) + 1)  # the running statistics are those of other inputs
    return encoder, head, normal(6, 5, seed=seed).float()


def _evaluated(encoder: nn.Module, head: nn.Module, images: Tensor) -> Tensor:
    encoder.eval()
    return encoder(images)


features = Exercise(
    solution=_evaluated,
    cases=[_encoder_and_head(seed=0), _encoder_and_head(seed=1)],
    misconceptions=[
        Misconception(
            hint="The encoder is in training mode: batch norm takes its statistics from this batch, so the features of "
            "an image depend on which other images are beside it. Call encoder.eval() first.",
            answer=lambda encoder, head, images: encoder(images),
        ),
        Misconception(
            hint="This is z. The head is for the loss only; the features are h, which the encoder gives.",
            answer=lambda encoder, head, images: head(_evaluated(encoder, head, images)),
        ),
        Misconception(
            hint="This is z, in training mode. The features are h, which the encoder gives, after encoder.eval().",
            answer=lambda encoder, head, images: head(encoder(images)),
        ),
        Misconception(
            hint="This is z, divided by its length. The head is for the loss only; the features are h, which the "
            "encoder gives.",
            answer=lambda encoder, head, images: F.normalize(head(_evaluated(encoder, head, images)), dim=1),
        ),
        Misconception(
            hint="You cut off what is below 0. Return h as the encoder gives it.",
            answer=lambda encoder, head, images: F.relu(_evaluated(encoder, head, images)),
        ),
        Misconception(
            hint="You put h and z side by side. The head is for the loss only: return h alone.",
            answer=lambda encoder, head, images: torch.cat([h := _evaluated(encoder, head, images), head(h)], dim=1),
        ),
        Misconception(
            hint="Return h as it is: kNN divides the features by their length later.",
            answer=lambda encoder, head, images: F.normalize(_evaluated(encoder, head, images), dim=1),
        ),
        Misconception(
            hint="The encoder is in training mode, so batch norm takes its statistics from this batch. Call "
            "encoder.eval() first. (The lengths are divided out later, by kNN.)",
            answer=lambda encoder, head, images: F.normalize(encoder(images), dim=1),
        ),
        Misconception(
            hint="You standardised the features of this batch. Return h as it is.",
            answer=lambda encoder, head, images: (
                (_evaluated(encoder, head, images) - encoder(images).mean(dim=0)) / encoder(images).std(dim=0)
            ),
        ),
    ],
)

EXERCISES = collect(globals())
