"""Exercises of notebook 02: contrastive accuracy, partners, the loss, its value at the start, and what τ weighs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib import losses
from simclr_lib.teaching.exercises.exercise import Answer, Exercise, Misconception, collect, normal, runs_code_of

# 1. How often the partner is the most similar candidate


def _cosine(z: Tensor) -> Tensor:
    z = F.normalize(z, dim=1)
    return z @ z.T


def _partners(n: int) -> Tensor:
    return torch.arange(2 * n).roll(n)


def _most_similar(z: Tensor, similarity: Callable[[Tensor], Tensor] = _cosine, diagonal: float = -math.inf) -> Tensor:
    """The most similar candidate of each row, int64 [2N]."""
    return similarity(z).fill_diagonal_(diagonal).argmax(dim=1)


def _hits(z: Tensor, similarity: Callable[[Tensor], Tensor] = _cosine, diagonal: float = -math.inf) -> Tensor:
    """Return whether the partner of each row is its most similar candidate, bool [2N]."""
    return _most_similar(z, similarity, diagonal) == _partners(len(z) // 2)


def _between_views(z: Tensor) -> Tensor:
    """Return whether each first view finds its partner among the second views, bool [N]."""
    return _cosine(z)[: len(z) // 2, len(z) // 2 :].argmax(dim=1) == torch.arange(len(z) // 2)


def _exchanged(z: Tensor) -> Tensor:
    """The second views, then the first views."""
    return z.roll(len(z) // 2, 0)


def _noisy_pairs(images: int, dims: int, seed: int) -> Tensor:
    """Embeddings of several lengths, in which not all partners are alike: float64 [2N, D]."""
    center = normal(images, dims, seed=seed)
    z = torch.cat([center, center]) + 0.4 * normal(2 * images, dims, seed=seed + 1)
    return z * torch.arange(1, dims + 1) * normal(2 * images, 1, seed=seed + 2).exp()


# Two images whose four embeddings all lie more than 90° apart, so that all similarities are below 0.
_APART = torch.tensor([[1.0, 1, 1], [-1, -1, 1.3], [1.2, -1, -1], [-1, 1.1, -1]], dtype=torch.float64)

contrastive_accuracy = Exercise(
    solution=lambda z: _hits(z).double().mean(),
    cases=[(_noisy_pairs(20, 3, seed=0),), (_noisy_pairs(15, 4, seed=5),), (_APART,)],
    misconceptions=[
        Misconception(
            hint="Your share is 0 in every case. If you round or use //, a share below 1 becomes 0. If you do not, "
            "leave out the diagonal, since the most similar row is always the anchor itself. If you did that, look at "
            "the row that you compare with.",
            answer=lambda z: 0.0,
        ),
        Misconception(
            hint="You set the diagonal to 0. Where all candidates have a similarity below 0, the anchor itself then "
            "wins: mask with −∞.",
            answer=lambda z: _hits(z, diagonal=0).double().mean(),
        ),
        Misconception(
            hint="These are dot products, so long vectors win. Cosine similarity divides each vector by its length.",
            answer=lambda z: _hits(z, lambda z: z @ z.T).double().mean(),
        ),
        Misconception(
            hint="You divided each column by its length: that mixes the images. An embedding is a row, so normalise "
            "over dim=1.",
            answer=lambda z: _hits(z, lambda z: F.normalize(z, dim=0) @ F.normalize(z, dim=0).T).double().mean(),
        ),
        Misconception(
            hint="You took the next row for the partner. First all first views come, so the partner is N rows further.",
            answer=lambda z: (_most_similar(z) == torch.arange(len(z)).roll(-1)).double().mean(),
        ),
        Misconception(
            hint="You compared neighbouring rows. First all first views come, so the partner is N rows further.",
            answer=lambda z: (_most_similar(z) == torch.arange(len(z)) ^ 1).double().mean(),
        ),
        Misconception(
            hint="You compare with the row number modulo N, which is the first view of the same image. For a first "
            "view that is the anchor itself. The partner of row i is row i + N, modulo 2N.",
            answer=lambda z: (_most_similar(z) == torch.arange(len(z)) % (len(z) // 2)).double().mean(),
        ),
        Misconception(
            hint="You took the cosine without its sign, so an embedding in the opposite direction counts as similar.",
            answer=lambda z: _hits(z, lambda z: _cosine(z).abs()).double().mean(),
        ),
        Misconception(
            hint="You count a partner that is among the two most similar candidates. Only the most similar one counts.",
            answer=lambda z: (
                ((_cosine(z).fill_diagonal_(-math.inf).topk(2).indices == _partners(len(z) // 2)[:, None]).any(dim=1))
                .double()
                .mean()
            ),
        ),
        Misconception(
            hint="This is the mean probability of the partner in a softmax. Count how often its similarity is the "
            "largest of its row.",
            answer=lambda z: (
                _cosine(z).fill_diagonal_(-math.inf).softmax(dim=1)[torch.arange(len(z)), _partners(len(z) // 2)].mean()
            ),
        ),
        Misconception(
            hint="Your candidates are the second views only. The other first views are candidates, too.",
            answer=lambda z: _between_views(z).double().mean(),
        ),
        Misconception(
            hint="Your candidates are the embeddings of the other view only. Those of the same view are candidates, "
            "too: all rows but the anchor itself.",
            answer=lambda z: (_between_views(z).double().mean() + _between_views(_exchanged(z)).double().mean()) / 2,
        ),
        Misconception(
            hint="You took the nearest candidate by its distance, in which the lengths count. The most similar one has "
            "the largest cosine.",
            answer=lambda z: _hits(z, lambda z: -torch.cdist(z, z)).double().mean(),
        ),
        Misconception(
            hint="Only the first views are anchors in your share. The second views are anchors, too.",
            answer=lambda z: _hits(z)[: len(z) // 2].double().mean(),
        ),
        Misconception(
            hint="This is the number of anchors. Divide it by 2N.",
            answer=lambda z: _hits(z).sum(),
        ),
        Misconception(
            hint="You divided by N. There are 2N anchors.",
            answer=lambda z: 2 * _hits(z).double().mean(),
        ),
        Misconception(
            hint="This is still one value for each anchor. Return their mean.",
            answer=lambda z: _hits(z),
        ),
        Misconception(
            hint="This is the share of the anchors that miss their partner.",
            answer=lambda z: 1 - _hits(z).double().mean(),
        ),
        Misconception(
            hint="This is in percent. Return a number from 0 to 1.",
            answer=lambda z: 100 * _hits(z).double().mean(),
        ),
        Misconception(
            hint="You took the least similar candidate. The most similar one has the largest cosine.",
            answer=lambda z: _hits(z, lambda z: -_cosine(z)).double().mean(),
        ),
        Misconception(
            hint="This is the mean similarity of the partners. Count how often it is the largest of its row.",
            answer=lambda z: _cosine(z).diagonal(len(z) // 2).mean(),
        ),
        Misconception(
            hint="You look at the entries above the diagonal only, so the earlier rows are no candidates. All rows "
            "but the anchor itself are.",
            answer=lambda z: (_cosine(z).triu(1).argmax(dim=1) == _partners(len(z) // 2)).double().mean(),
        ),
        Misconception(
            hint="This is the mean of the largest similarities. Count how often the largest one is that of the "
            "partner.",
            answer=lambda z: _cosine(z).fill_diagonal_(-math.inf).amax(dim=1).mean(),
        ),
    ],
)


# 2. Partners


def _not_integers(attempt: Answer) -> str | None:
    if torch.as_tensor(attempt(2)).dtype.is_floating_point:
        return "The numbers are right, but they should be integers (int64), since they are used as indices."
    return None


partners = Exercise(
    solution=lambda n: torch.arange(2 * n) ^ 1,
    cases=[(2,), (5,)],
    misconceptions=[
        Misconception(
            hint="That is each embedding itself. Its partner is the other view of the same image.",
            answer=lambda n: torch.arange(2 * n),
        ),
        Misconception(
            hint="That would be right if all first views came before all second views, as in 2.2. Here the two views "
            "of an image stand side by side.",
            answer=_partners,
        ),
        Misconception(
            hint="You have the partners of the first views only. Second views are anchors too: 2N entries.",
            answer=lambda n: 2 * torch.arange(n) + 1,
        ),
        Misconception(
            hint="The partner of a second view stands before it: subtract 1 there, do not add it.",
            answer=lambda n: torch.arange(2 * n) + 1,
        ),
        Misconception(
            hint="That is the next row. It is the partner of a first view, and for a second view it is another image.",
            answer=lambda n: torch.arange(2 * n).roll(-1),
        ),
        Misconception(
            hint="That is the row before. It is the partner of a second view, and for a first view it is another "
            "image.",
            answer=lambda n: torch.arange(2 * n).roll(1),
        ),
        Misconception(
            hint="That is the number of each view's image. Return the row in which the other view stands.",
            answer=lambda n: torch.arange(2 * n) // 2,
        ),
        Misconception(
            hint="These are the rows in reverse order, so the first row is paired with the last one. The partner is a "
            "neighbour.",
            answer=lambda n: torch.arange(2 * n).flip(0),
        ),
        Misconception(
            hint="Even and odd rows are exchanged. Rows are counted from 0, so row 0 is a first view: its partner is "
            "row 1.",
            answer=lambda n: torch.arange(2 * n) + torch.tensor([-1, 1]).repeat(n),
        ),
        Misconception(
            hint="The partner of a first view stands after it: add 1 there, do not subtract it.",
            answer=lambda n: torch.arange(2 * n) - 1,
        ),
        Misconception(
            hint="You have the partners of the second views only. First views are anchors too: 2N entries.",
            answer=lambda n: 2 * torch.arange(n),
        ),
        Misconception(
            hint="All partners of first views come before those of second views in your answer. Here the rows "
            "alternate, and entry i belongs to row i.",
            answer=lambda n: torch.cat([2 * torch.arange(n) + 1, 2 * torch.arange(n)]),
        ),
        Misconception(
            hint="You have n entries. `n` images have 2n rows, and each row has a partner.",
            answer=lambda n: torch.arange(n) ^ 1,
        ),
        Misconception(
            hint="That is the first view of each image. It is the partner of the second view only.",
            answer=lambda n: torch.arange(2 * n) // 2 * 2,
        ),
        Misconception(
            hint="That is the second view of each image. It is the partner of the first view only.",
            answer=lambda n: torch.arange(2 * n) // 2 * 2 + 1,
        ),
    ],
    tolerance=0,
    constraint=_not_integers,
)

# 3. The loss of embeddings side by side


def _loss(
    z_a: Tensor,
    z_b: Tensor,
    temperature: float,
    self_similarity: bool = False,
    positive: bool = True,
    times: bool = False,
    normalize: bool = True,
    other_view_only: bool = False,
) -> Tensor:
    """ℓ(i) of every anchor, float [2N]; each option makes one mistake."""
    n = len(z_a)
    z = torch.cat([z_a, z_b])
    z = F.normalize(z, dim=1) if normalize else z
    logits = z @ z.T * (temperature if times else 1 / temperature)
    partner = _partners(n)
    allowed = torch.full_like(logits, True, dtype=torch.bool)
    if not self_similarity:
        allowed.fill_diagonal_(False)
    if not positive:
        allowed[torch.arange(2 * n), partner] = False
    if other_view_only:
        half = torch.arange(2 * n) < n
        allowed &= half[:, None] != half
    denominator = logits.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    return denominator - logits[torch.arange(2 * n), partner]


def _logits(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    return _cosine(torch.cat([z_a, z_b])) / temperature


def _loss_of_targets(z: Tensor, temperature: float, targets: Tensor, reduction: str = "mean") -> Tensor:
    """The loss of rows in any order, of which the row ``targets[i]`` is taken for the partner of row i."""
    logits = (_cosine(z) / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, targets, reduction=reduction)


def _distances(z: Tensor) -> Tensor:
    return torch.cdist(F.normalize(z, dim=1), F.normalize(z, dim=1))


def _calls_the_library(attempt: Answer) -> str | None:
    if runs_code_of(losses, attempt, *loss.cases[0]):
        return "Your function calls the library's nt_xent, which is the whole answer: write it yourself."
    return None


def _views(z: Tensor) -> tuple[Tensor, Tensor]:
    """First and second views of rows that stand side by side."""
    return z[::2], z[1::2]


loss = Exercise(
    solution=lambda z, temperature: _loss(*_views(z), temperature).mean(),
    cases=[(normal(8, 3, seed=0), 0.5), (normal(14, 5, seed=2), 0.1)],
    misconceptions=[
        Misconception(
            hint="You took the row N further for the partner, as in 2.3. Here the two views of an image stand side by "
            "side, as in exercise 2.",
            answer=lambda z, t: _loss(z[: len(z) // 2], z[len(z) // 2 :], t).mean(),
        ),
        Misconception(
            hint="You took the same step for every row: the next row, or the row before. The partner of a first view "
            "is the row after it, and the partner of a second view is the row before it.",
            answer=lambda z, t: _loss_of_targets(z, t, torch.arange(len(z)).roll(1)),
        ),
        Misconception(
            hint="You divided each column by its length: that mixes the images. An embedding is a row, so normalise "
            "over dim=1.",
            answer=lambda z, t: _loss(*_views(F.normalize(z, dim=0)), t, normalize=False).mean(),
        ),
        Misconception(
            hint="This is still one loss for each anchor. Return their mean.",
            answer=lambda z, t: _loss_of_targets(z, t, torch.arange(len(z)) ^ 1, reduction="none"),
        ),
        Misconception(
            hint="The similarity of an embedding with itself is still in the denominator: mask the diagonal with −∞.",
            answer=lambda z, t: _loss(*_views(z), t, self_similarity=True).mean(),
        ),
        Misconception(
            hint="The positive is missing from the denominator: equation 1 sums over all k ≠ i, the partner included.",
            answer=lambda z, t: _loss(*_views(z), t, positive=False).mean(),
        ),
        Misconception(
            hint="You multiplied by τ. Dividing by a small τ makes the softmax sharper.",
            answer=lambda z, t: _loss(*_views(z), t, times=True).mean(),
        ),
        Misconception(
            hint="τ is missing: divide the similarities by it.",
            answer=lambda z, t: _loss(*_views(z), 1.0).mean(),
        ),
        Misconception(
            hint="The embeddings are not normalised: s is the cosine similarity.",
            answer=lambda z, t: _loss(*_views(z), t, normalize=False).mean(),
        ),
        Misconception(
            hint="Only the first views are anchors in your mean. Algorithm 1 takes ℓ of all 2N embeddings.",
            answer=lambda z, t: _loss(*_views(z), t)[: len(z) // 2].mean(),
        ),
        Misconception(
            hint="Your negatives come from the other view only. The other images' embeddings of the same view count "
            "too: 2N − 2 negatives, not N − 1.",
            answer=lambda z, t: _loss(*_views(z), t, other_view_only=True).mean(),
        ),
        Misconception(
            hint="This is one direction only: first views as anchors, second views as candidates. All 2N embeddings "
            "are both.",
            answer=lambda z, t: _loss(*_views(z), t, other_view_only=True)[: len(z) // 2].mean(),
        ),
        Misconception(
            hint="This is the sum over the anchors. Algorithm 1 divides by 2N.",
            answer=lambda z, t: _loss(*_views(z), t).sum(),
        ),
        Misconception(
            hint="This is twice the value of algorithm 1: you added the two halves' means (as the reference code "
            "does).",
            answer=lambda z, t: 2 * _loss(*_views(z), t).mean(),
        ),
        Misconception(
            hint="The sign is wrong: the loss is minus the logarithm.",
            answer=lambda z, t: -_loss(*_views(z), t).mean(),
        ),
        Misconception(
            hint="The logarithm is missing: ℓ is −log of the partner's share of the softmax.",
            answer=lambda z, t: _loss(*_views(z), t).exp().mean(),
        ),
        Misconception(
            hint="You set the diagonal to 0. But exp(0) = 1 still counts in the denominator: mask with −∞.",
            answer=lambda z, t: F.cross_entropy(_logits(*_views(z), t).fill_diagonal_(0), _partners(len(z) // 2)),
        ),
        Misconception(
            hint="F.cross_entropy applies a softmax itself: give it the logits, without a softmax of your own.",
            answer=lambda z, t: F.cross_entropy(
                _logits(*_views(z), t).fill_diagonal_(-torch.inf).softmax(dim=1), _partners(len(z) // 2)
            ),
        ),
        Misconception(
            hint="You set the diagonal to −1. But exp(−1) still counts in the denominator: mask with −∞.",
            answer=lambda z, t: F.cross_entropy(_logits(*_views(z), t).fill_diagonal_(-1), _partners(len(z) // 2)),
        ),
        Misconception(
            hint="You set the cosine of an embedding with itself to −1. But exp(−1 / τ) still counts in the "
            "denominator: mask with −∞.",
            answer=lambda z, t: F.cross_entropy(_logits(*_views(z), t).fill_diagonal_(-1 / t), _partners(len(z) // 2)),
        ),
        Misconception(
            hint="Your logits are distances with a minus sign. Equation 1 takes cosine similarities, divided by τ.",
            answer=lambda z, t: F.cross_entropy(
                (-_distances(z) / t).fill_diagonal_(-torch.inf), torch.arange(len(z)) ^ 1
            ),
        ),
        Misconception(
            hint="Your logits are squared distances with a minus sign. Between unit vectors these are 2 − 2 s, so the "
            "similarity counts twice. Equation 1 takes the cosine similarity itself.",
            answer=lambda z, t: _loss(*_views(z), t / 2).mean(),
        ),
        Misconception(
            hint="The logarithm is missing: this is minus the mean probability of the partners.",
            answer=lambda z, t: -(-_loss(*_views(z), t)).exp().mean(),
        ),
        Misconception(
            hint="This is the mean probability of the partners. The loss is minus the mean of their logarithms.",
            answer=lambda z, t: (-_loss(*_views(z), t)).exp().mean(),
        ),
        Misconception(
            hint="You took the logarithm of the mean probability. Take the logarithm for each anchor, and then the "
            "mean.",
            answer=lambda z, t: -(-_loss(*_views(z), t)).exp().mean().log(),
        ),
        Misconception(
            hint="Your loss is infinite: at least one target is the anchor itself, which is masked. Take its partner.",
            answer=lambda z, t: math.inf,
        ),
        Misconception(
            hint="Your loss is nan: −∞ times 0 is not a number. Pick the partner's entries by their index, or mask "
            "with `torch.where`, and do not multiply by zeros.",
            answer=lambda z, t: math.nan,
        ),
        Misconception(
            hint="This is the logarithm of the denominator. The partner's similarity, divided by τ, has to be "
            "subtracted from it.",
            answer=lambda z, t: _logits(*_views(z), t).fill_diagonal_(-torch.inf).logsumexp(dim=1).mean(),
        ),
        Misconception(
            hint="This is minus the mean similarity of the partners: the denominator is missing. (F.nll_loss takes "
            "logarithms of probabilities, and no logits.)",
            answer=lambda z, t: -F.cosine_similarity(*_views(z)).mean() / t,
        ),
        Misconception(
            hint="You divided by τ twice. Divide by it once.",
            answer=lambda z, t: _loss(*_views(z), t**2).mean(),
        ),
        Misconception(
            hint="You divided by the square root of τ. Divide by τ itself.",
            answer=lambda z, t: _loss(*_views(z), t**0.5).mean(),
        ),
        Misconception(
            hint="F.cross_entropy takes the exponentials itself: give it the similarities divided by τ.",
            answer=lambda z, t: F.cross_entropy(
                _logits(*_views(z), t).fill_diagonal_(-torch.inf).exp(), _partners(len(z) // 2)
            ),
        ),
    ],
    constraint=_calls_the_library,
)

# 4. The loss before anything is learnt

loss_without_information = Exercise(
    solution=lambda n: math.log(2 * n - 1),
    cases=[(2,), (64,), (1000,)],
    misconceptions=[
        Misconception(
            hint="log N would be a choice among N images. An anchor chooses among all other embeddings.",
            answer=math.log,
        ),
        Misconception(
            hint="log 2N counts the anchor itself among its candidates. It is masked.",
            answer=lambda n: math.log(2 * n),
        ),
        Misconception(
            hint="log(N − 1) counts the other images. Each of them has two views, and the partner is a candidate, too.",
            answer=lambda n: math.log(n - 1),
        ),
        Misconception(
            hint="log(2N + 1) counts too many candidates. The anchor itself is none: of 2N embeddings 2N − 1 are left.",
            answer=lambda n: math.log(2 * n + 1),
        ),
        Misconception(
            hint="A loss of 0 would mean that the partner stands out from all negatives. Here all of them are as "
            "similar as the partner.",
            answer=lambda n: 0.0,
        ),
        Misconception(
            hint="That is the probability of the negatives. The loss is minus the logarithm of the partner's "
            "probability.",
            answer=lambda n: 1 - 1 / (2 * n - 1),
        ),
        Misconception(
            hint="log(2N − 2) counts the negatives only. The positive is a candidate too.",
            answer=lambda n: math.log(2 * n - 2),
        ),
        Misconception(
            hint="This is the number of candidates; the loss is its logarithm.",
            answer=lambda n: float(2 * n - 1),
        ),
        Misconception(
            hint="Logarithms are natural here, as in PyTorch.",
            answer=lambda n: math.log2(2 * n - 1),
        ),
        Misconception(
            hint="The sign is wrong: the loss is minus the logarithm of a probability below 1, so it is positive.",
            answer=lambda n: -math.log(2 * n - 1),
        ),
        Misconception(
            hint="That is the probability of the partner; the loss is minus its logarithm.",
            answer=lambda n: 1 / (2 * n - 1),
        ),
        Misconception(
            hint="You added up the losses of all anchors. The loss is their mean.",
            answer=lambda n: 2 * n * math.log(2 * n - 1),
        ),
        Misconception(
            hint="You divided by 2N. Each anchor has this loss, so the mean over the 2N anchors is the same number.",
            answer=lambda n: math.log(2 * n - 1) / (2 * n),
        ),
    ],
)

# 5. The temperature for a given contrast between two negatives

temperature_for = Exercise(
    solution=lambda first, second, ratio: (first - second) / math.log(ratio),
    cases=[(0.9, 0.8, 2.0), (0.6, 0.1, 10.0), (0.3, -0.2, 1.5)],
    misconceptions=[
        Misconception(
            hint="That is 1 / τ: the ratio of the two weights is exp((first − second) / τ).",
            answer=lambda first, second, ratio: math.log(ratio) / (first - second),
        ),
        Misconception(
            hint="You multiplied by the logarithm of the ratio. Solve (first − second) / τ = log ratio for τ: you "
            "have to divide by it.",
            answer=lambda first, second, ratio: (first - second) * math.log(ratio),
        ),
        Misconception(
            hint="The weights are exponentials of the similarities: take the logarithm of the ratio. And τ divides the "
            "difference, so a larger difference needs a larger τ.",
            answer=lambda first, second, ratio: ratio / (first - second),
        ),
        Misconception(
            hint="You took log(1 + ratio). The ratio of the two weights is exp((first − second) / τ), without a 1.",
            answer=lambda first, second, ratio: (first - second) / math.log1p(ratio),
        ),
        Misconception(
            hint="You multiplied by the ratio. The weights are exponentials of the similarities: divide by the "
            "logarithm of the ratio.",
            answer=lambda first, second, ratio: (first - second) * ratio,
        ),
        Misconception(
            hint="You added the similarities. In the ratio of two exponentials their difference is left.",
            answer=lambda first, second, ratio: (first + second) / math.log(ratio),
        ),
        Misconception(
            hint="The weights are exponentials of the similarities: take the logarithm of the ratio.",
            answer=lambda first, second, ratio: (first - second) / ratio,
        ),
        Misconception(
            hint="Weights go with exp(s / τ), so the logarithm has base e.",
            answer=lambda first, second, ratio: (first - second) / math.log2(ratio),
        ),
        Misconception(
            hint="Weights go with exp(s / τ), so the logarithm has base e.",
            answer=lambda first, second, ratio: (first - second) / math.log10(ratio),
        ),
        Misconception(
            hint="That makes the less similar negative push harder: the sign is wrong.",
            answer=lambda first, second, ratio: (second - first) / math.log(ratio),
        ),
        Misconception(
            hint="You divided the similarities. In the ratio of two exponentials their difference is left.",
            answer=lambda first, second, ratio: first / second / math.log(ratio),
        ),
        Misconception(
            hint="You took the logarithm of the similarities, too. They are exponents already.",
            answer=lambda first, second, ratio: (math.exp(first) - math.exp(second)) / math.log(ratio),
        ),
        Misconception(
            hint="`ratio` has no effect in your answer. The ratio of the two weights is exp((first − second) / τ): "
            "solve that for τ.",
            answer=lambda first, second, ratio: first - second,
        ),
    ],
)

EXERCISES = collect(globals())
