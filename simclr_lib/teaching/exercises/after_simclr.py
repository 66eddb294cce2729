"""Exercises of notebook 10: DCL from NT-Xent, Barlow Twins, and what CLIP, momentum networks and DINO do."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.losses import nt_xent
from simclr_lib.teaching.exercises.exercise import Answer, Exercise, Misconception, collect, normal

# 1. From NT-Xent's losses to DCL's

_LOSSES = torch.tensor([0.05, 0.4, 1.5, 4.0, 7.0], dtype=torch.float64)

dcl_from = Exercise(
    solution=lambda losses: losses.expm1().log(),
    cases=[(_LOSSES,), (_LOSSES.flip(0)[:3] + 0.3,)],
    misconceptions=[
        Misconception(
            hint="The logarithm is missing: exp(ℓ) − 1 is exp(d).",
            answer=lambda losses: losses.expm1(),
        ),
        Misconception(
            hint="That is the way back, from DCL to NT-Xent. NT-Xent is log(1 + exp d): solve it for d.",
            answer=lambda losses: F.softplus(losses),
        ),
        Misconception(
            hint="The 1 is inside the logarithm. From ℓ = log(1 + exp d) take the exponential of both sides first.",
            answer=lambda losses: losses - 1,
        ),
        Misconception(
            hint="You took 1 minus the exponential of −ℓ: that is the share of the negatives in the softmax. Its "
            "logarithm still lacks ℓ.",
            answer=lambda losses: (1 - (-losses).exp()).log(),
        ),
        Misconception(
            hint="You took log(ℓ − 1). Take the exponential of ℓ first.",
            answer=lambda losses: (losses - 1).log(),
        ),
        Misconception(
            hint="That is the plain logarithm of the loss. From ℓ = log(1 + exp d) take the exponential of both sides.",
            answer=lambda losses: losses.log(),
        ),
        Misconception(
            hint="These are NT-Xent's losses still. In DCL the positive is not in the denominator.",
            answer=lambda losses: losses,
        ),
        Misconception(
            hint="You subtracted the probability of the partner, exp(−ℓ). DCL leaves the partner out of the "
            "denominator: subtract 1 from exp(ℓ), and take the logarithm of that.",
            answer=lambda losses: losses - (-losses).exp(),
        ),
        Misconception(
            hint="This is already the mean over the anchors. Return one number for each of them, [2N].",
            answer=lambda losses: losses.expm1().log().mean(),
        ),
        Misconception(
            hint="You subtracted the logarithm of 2. The 1 in log(1 + exp d) is not as large as exp d.",
            answer=lambda losses: losses - math.log(2),
        ),
        Misconception(
            hint="You subtracted log(1 + exp ℓ). Solve ℓ = log(1 + exp d) for d: take the exponential of both sides "
            "first.",
            answer=lambda losses: losses - F.softplus(losses),
        ),
        Misconception(
            hint="That is the probability of the negatives in the softmax. DCL's value is the logarithm of exp(ℓ) − 1.",
            answer=lambda losses: 1 - (-losses).exp(),
        ),
    ],
)

# 2. The loss of Barlow Twins


def _standard(v: Tensor) -> Tensor:
    """Every dimension with mean 0 and standard deviation 1 over the batch."""
    return (v - v.mean(dim=0)) / v.std(dim=0, correction=0)


def _from_correlation(correlation: Tensor, weight: float) -> Tensor:
    diagonal = correlation.diagonal()
    return (1 - diagonal).square().sum() + weight * (correlation.square().sum() - diagonal.square().sum())


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return _standard(a).T @ _standard(b) / len(a)


def _barlow(a: Tensor, b: Tensor, weight: float) -> Tensor:
    return _from_correlation(_correlation(a, b), weight)


def _two_views(n: int, dims: int, seed: int) -> tuple[Tensor, Tensor]:
    """Embeddings [N, D] that partly agree, with dimensions of other means and standard deviations."""
    common, own_a, own_b = (normal(n, dims, seed=seed + i) for i in range(3))
    scale = torch.linspace(1, 3, dims, dtype=torch.float64)
    return scale * (common + own_a) + 1, scale.flip(0) * (common + own_b) - 2


barlow_loss = Exercise(
    solution=_barlow,
    cases=[(*_two_views(8, 3, seed=20), 0.5), (*_two_views(5, 4, seed=30), 0.1)],
    tolerance=1e-3,  # F.batch_norm adds 1e-5 to the variance
    misconceptions=[
        Misconception(
            hint="The dimensions are not standardised. Subtract the mean of each dimension over the batch, and divide "
            "by its standard deviation.",
            answer=lambda a, b, weight: _from_correlation(a.T @ b / len(a), weight),
        ),
        Misconception(
            hint="You subtracted the means, but did not divide by the standard deviations.",
            answer=lambda a, b, weight: _from_correlation((a - a.mean(0)).T @ (b - b.mean(0)) / len(a), weight),
        ),
        Misconception(
            hint="You divided by the standard deviations, but did not subtract the means.",
            answer=lambda a, b, weight: _from_correlation(
                (a / a.std(0, correction=0)).T @ (b / b.std(0, correction=0)) / len(a), weight
            ),
        ),
        Misconception(
            hint="You normalised each embedding, as NT-Xent does. Barlow Twins standardises each dimension over the "
            "batch.",
            answer=lambda a, b, weight: _from_correlation(F.normalize(a, dim=1).T @ F.normalize(b, dim=1), weight),
        ),
        Misconception(
            hint="You normalised each embedding, as NT-Xent does. Barlow Twins standardises each dimension over the "
            "batch.",
            answer=lambda a, b, weight: _from_correlation(
                F.normalize(a, dim=1).T @ F.normalize(b, dim=1) / len(a), weight
            ),
        ),
        Misconception(
            hint="You compared images with images, [N, N]. Barlow Twins compares dimensions with dimensions, [D, D].",
            answer=lambda a, b, weight: _from_correlation(_standard(a) @ _standard(b).T / len(a), weight),
        ),
        Misconception(
            hint="You compared images with images, [N, N]. Barlow Twins compares dimensions with dimensions, [D, D].",
            answer=lambda a, b, weight: _from_correlation(_standard(a) @ _standard(b).T / a.shape[1], weight),
        ),
        Misconception(
            hint="You compared images with images, [N, N]. Barlow Twins compares dimensions with dimensions, [D, D].",
            answer=lambda a, b, weight: _barlow(a.T, b.T, weight),
        ),
        Misconception(
            hint="The sum over the batch is not divided by N, so the entries of C are no correlations.",
            answer=lambda a, b, weight: _from_correlation(_standard(a).T @ _standard(b), weight),
        ),
        Misconception(
            hint="You divided by the standard deviation with N − 1, and the products by N. Take `correction=0`, so "
            "that a dimension has the correlation 1 with itself.",
            answer=lambda a, b, weight: _from_correlation(_correlation(a, b) * (len(a) - 1) / len(a), weight),
        ),
        Misconception(
            hint="The part off the diagonal lacks its weight λ.",
            answer=lambda a, b, weight: _from_correlation(_correlation(a, b), 1.0),
        ),
        Misconception(
            hint="The weight λ belongs to the part off the diagonal, not to the diagonal or to both.",
            answer=lambda a, b, weight: weight * _from_correlation(_correlation(a, b), 1.0),
        ),
        Misconception(
            hint="The weight λ belongs to the part off the diagonal, not to the diagonal or to both.",
            answer=lambda a, b, weight: weight * _from_correlation(_correlation(a, b), 1 / weight),
        ),
        Misconception(
            hint="The diagonal is still in the second sum. It runs over d ≠ e only.",
            answer=lambda a, b, weight: (
                _from_correlation(_correlation(a, b), 0.0) + weight * _correlation(a, b).square().sum()
            ),
        ),
        Misconception(
            hint="This asks that the diagonal is near 0. It should be near 1.",
            answer=lambda a, b, weight: (
                _correlation(a, b).diagonal().square().sum()
                + _from_correlation(_correlation(a, b), weight)
                - _from_correlation(_correlation(a, b), 0.0)
            ),
        ),
        Misconception(
            hint="The second part is missing. Off the diagonal, every entry of C should be near 0.",
            answer=lambda a, b, weight: _from_correlation(_correlation(a, b), 0.0),
        ),
        Misconception(
            hint="The first part is missing. On the diagonal, every entry of C should be near 1.",
            answer=lambda a, b, weight: (
                _from_correlation(_correlation(a, b), weight) - _from_correlation(_correlation(a, b), 0.0)
            ),
        ),
        Misconception(
            hint="The squares are missing on the diagonal: it is the sum of (1 − C_dd)².",
            answer=lambda a, b, weight: (
                (1 - _correlation(a, b).diagonal()).sum()
                + _from_correlation(_correlation(a, b), weight)
                - _from_correlation(_correlation(a, b), 0.0)
            ),
        ),
        Misconception(
            hint="The squares are missing off the diagonal: positive and negative entries of C cancel.",
            answer=lambda a, b, weight: (
                _from_correlation(_correlation(a, b), 0.0)
                + weight * (_correlation(a, b).sum() - _correlation(a, b).diagonal().sum())
            ),
        ),
        Misconception(
            hint="You took the mean where the formula has a sum.",
            answer=lambda a, b, weight: _barlow(a, b, weight) / a.shape[1],
        ),
        Misconception(
            hint="You took the mean where the formula has a sum.",
            answer=lambda a, b, weight: _barlow(a, b, weight) / a.shape[1] ** 2,
        ),
        Misconception(
            hint="You correlated the dimensions of the first views with themselves. C compares the first views with "
            "the second ones.",
            answer=lambda a, b, weight: _barlow(a, a, weight),
        ),
    ],
)

# 3. The loss of CLIP


def _pairs_of_logits(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    return F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature


def _found(logits: Tensor) -> Tensor:
    """The loss of the rows: each one looks for the column of its own number."""
    return F.cross_entropy(logits, torch.arange(len(logits)))


def _both_directions(logits: Tensor) -> Tensor:
    return (_found(logits) + _found(logits.T)) / 2


def _clip(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    return _both_directions(_pairs_of_logits(images, texts, temperature))


clip_loss = Exercise(
    solution=_clip,
    cases=[(normal(5, 3, seed=0), 2 * normal(5, 3, seed=1), 0.5), (normal(4, 6, seed=2), normal(4, 6, seed=3), 0.2)],
    misconceptions=[
        Misconception(
            hint="Your images look for their texts, but the texts do not look for their images. CLIP takes the mean of "
            "both losses.",
            answer=lambda images, texts, t: _found(_pairs_of_logits(images, texts, t)),
        ),
        Misconception(
            hint="Your texts look for their images, but the images do not look for their texts. CLIP takes the mean of "
            "both losses.",
            answer=lambda images, texts, t: _found(_pairs_of_logits(images, texts, t).T),
        ),
        Misconception(
            hint="This is the sum of the two losses. CLIP takes their mean.",
            answer=lambda images, texts, t: 2 * _clip(images, texts, t),
        ),
        Misconception(
            hint="This is NT-Xent: images are compared with images, too, and texts with texts. In CLIP an image has "
            "the N texts as candidates, and no images.",
            answer=lambda images, texts, t: nt_xent(images, texts, t),
        ),
        Misconception(
            hint="The embeddings are not normalised: CLIP compares directions, by the cosine.",
            answer=lambda images, texts, t: _both_directions(images @ texts.T / t),
        ),
        Misconception(
            hint="Only the images' embeddings are normalised. The cosine divides by the lengths of both.",
            answer=lambda images, texts, t: _both_directions(F.normalize(images, dim=1) @ texts.T / t),
        ),
        Misconception(
            hint="Only the texts' embeddings are normalised. The cosine divides by the lengths of both.",
            answer=lambda images, texts, t: _both_directions(images @ F.normalize(texts, dim=1).T / t),
        ),
        Misconception(
            hint="You multiplied by τ. Dividing by a small τ makes the softmax sharper.",
            answer=lambda images, texts, t: _clip(images, texts, 1 / t),
        ),
        Misconception(
            hint="τ is missing: divide the similarities by it.",
            answer=lambda images, texts, t: _clip(images, texts, 1.0),
        ),
        Misconception(
            hint="You masked the diagonal, as NT-Xent does. Here the diagonal holds the right answers: the similarity "
            "of each image to its own text.",
            answer=lambda images, texts, t: math.inf,
        ),
        Misconception(
            hint="You set the diagonal to 0. Here the diagonal holds the right answers: the similarity of each image "
            "to its own text.",
            answer=lambda images, texts, t: _both_directions(_pairs_of_logits(images, texts, t).fill_diagonal_(0)),
        ),
        Misconception(
            hint="Your softmax runs over all N × N pairs. Each image has its own softmax, over the N texts, and each "
            "text has one over the N images.",
            answer=lambda images, texts, t: (
                -_pairs_of_logits(images, texts, t).flatten().log_softmax(0).view(len(images), -1).diagonal().mean()
            ),
        ),
        Misconception(
            hint="F.cross_entropy applies a softmax itself: give it the logits, without a softmax of your own.",
            answer=lambda images, texts, t: (
                sum(
                    _found(x.softmax(dim=1))
                    for x in (_pairs_of_logits(images, texts, t), _pairs_of_logits(texts, images, t))
                )
                / 2
            ),
        ),
        Misconception(
            hint="The sign is wrong: the loss is minus the logarithm of a probability.",
            answer=lambda images, texts, t: -_clip(images, texts, t),
        ),
        Misconception(
            hint="These are the probabilities of the right pairs. The loss is minus the mean of their logarithms.",
            answer=lambda images, texts, t: _pairs_of_logits(images, texts, t).softmax(dim=1).diagonal().mean(),
        ),
        Misconception(
            hint="This is the sum over the images and texts. Take the mean.",
            answer=lambda images, texts, t: len(images) * _clip(images, texts, t),
        ),
        Misconception(
            hint="You multiplied by exp(τ). CLIP's code learns the logarithm of 1 / τ and takes its exponential. Here "
            "the temperature is given: divide by it.",
            answer=lambda images, texts, t: _clip(images, texts, 1 / math.exp(t)),
        ),
        Misconception(
            hint="You averaged the logits of both directions. Compute a loss for each direction, and average the "
            "losses.",
            answer=lambda images, texts, t: _found(
                (_pairs_of_logits(images, texts, t) + _pairs_of_logits(texts, images, t)) / 2
            ),
        ),
        Misconception(
            hint="These are the two losses. Return their mean.",
            answer=lambda images, texts, t: (
                _found(_pairs_of_logits(images, texts, t)),
                _found(_pairs_of_logits(texts, images, t)),
            ),
        ),
        Misconception(
            hint="That draws the right pairs together and pushes nothing apart: the candidates are missing. Each image "
            "has a softmax over all texts.",
            answer=lambda images, texts, t: -_pairs_of_logits(images, texts, t).diagonal().mean(),
        ),
        Misconception(
            hint="You took a sigmoid for each pair, as a later method (SigLIP) does. CLIP takes a softmax over the "
            "texts, and one over the images.",
            answer=lambda images, texts, t: (
                -F.logsigmoid(_pairs_of_logits(images, texts, t) * (2 * torch.eye(len(images)) - 1)).mean()
            ),
        ),
        Misconception(
            hint="You normalised each dimension over the batch. An embedding is a row: dim=1.",
            answer=lambda images, texts, t: _both_directions(
                F.normalize(images, dim=0) @ F.normalize(texts, dim=0).T / t
            ),
        ),
        Misconception(
            hint="You compared images with images and texts with texts. In CLIP each image looks for its text, and "
            "each text for its image.",
            answer=lambda images, texts, t: (
                (_found(_pairs_of_logits(images, images, t)) + _found(_pairs_of_logits(texts, texts, t))) / 2
            ),
        ),
        Misconception(
            hint="You transposed the logarithms of probabilities. For the texts, transpose the logits: each text has "
            "a softmax over the images.",
            answer=lambda images, texts, t: _both_directions(_pairs_of_logits(images, texts, t).log_softmax(dim=1)),
        ),
        Misconception(
            hint="You masked the diagonal, as NT-Xent does. Here the diagonal holds the right answers: the similarity "
            "of each image to its own text.",
            answer=lambda images, texts, t: _both_directions(
                _pairs_of_logits(images, texts, t) - 1e9 * torch.eye(len(images))
            ),
        ),
    ],
)

# 4. How slow is a momentum network?

half_life = Exercise(
    solution=lambda momentum: math.log(0.5) / math.log(momentum),
    cases=[(0.9,), (0.98,), (0.996,)],
    misconceptions=[
        Misconception(
            hint="That would be right if every step took the same part of the whole way. A step takes the part 1 − m "
            "of what is left, so after k steps the part mᵏ is left.",
            answer=lambda momentum: 0.5 / (1 - momentum),
        ),
        Misconception(
            hint="You are near, because log m is about −(1 − m) if m is about 1. Solve mᵏ = ½ for k without that "
            "approximation.",
            answer=lambda momentum: math.log(2) / (1 - momentum),
        ),
        Misconception(
            hint="You divided the numbers. In mᵏ = ½, k is an exponent: take the logarithm of both sides.",
            answer=lambda momentum: 0.5 / momentum,
        ),
        Misconception(
            hint="After 1 / (1 − m) steps more than half of the way is done: m to this power is about 1 / e. Solve "
            "mᵏ = ½ for k.",
            answer=lambda momentum: 1 / (1 - momentum),
        ),
        Misconception(
            hint="You divided the other way round. From mᵏ = ½ follows k · log m = log ½.",
            answer=lambda momentum: math.log(momentum) / math.log(0.5),
        ),
        Misconception(
            hint="Your number of steps is below 0. Both logarithms are below 0, so their ratio is above it.",
            answer=lambda momentum: math.log(2) / math.log(momentum),
        ),
        Misconception(
            hint="That is the half-life with 1 − m in the place of m. The old weights are multiplied by m.",
            answer=lambda momentum: math.log(0.5) / math.log(1 - momentum),
        ),
        Misconception(
            hint="This is the number of steps after which a tenth of the way is left. Half of it: mᵏ = ½.",
            answer=lambda momentum: math.log(0.1) / math.log(momentum),
        ),
        Misconception(
            hint="This is the number of steps until 1 / e of the way is left. Half of it: mᵏ = ½.",
            answer=lambda momentum: -1 / math.log(momentum),
        ),
        Misconception(
            hint="This is the number of steps after which a quarter of the way is left. Half of it: mᵏ = ½.",
            answer=lambda momentum: 2 * math.log(0.5) / math.log(momentum),
        ),
        Misconception(
            hint="You took the root of m. The number of steps is the exponent k in mᵏ = ½: take the logarithm of both "
            "sides.",
            answer=lambda momentum: momentum**0.5,
        ),
        Misconception(
            hint="You took a power of ½. The number of steps is the exponent k in mᵏ = ½: take the logarithm of both "
            "sides.",
            answer=lambda momentum: 0.5**momentum,
        ),
        Misconception(
            hint="You subtracted the logarithms. Solve k · log m = log ½ for k by a division.",
            answer=lambda momentum: math.log(0.5) - math.log(momentum),
        ),
        Misconception(
            hint="You rounded up. Return the solution of mᵏ = ½ itself, which need not be a whole number.",
            answer=lambda momentum: math.ceil(math.log(0.5) / math.log(momentum)),
        ),
        Misconception(
            hint="You rounded down. Return the solution of mᵏ = ½ itself, which need not be a whole number.",
            answer=lambda momentum: math.floor(math.log(0.5) / math.log(momentum)),
        ),
        Misconception(
            hint="You rounded. Return the solution of mᵏ = ½ itself, which need not be a whole number.",
            answer=lambda momentum: round(math.log(0.5) / math.log(momentum)),
        ),
        Misconception(
            hint="You multiplied the logarithms. Solve k · log m = log ½ for k by a division.",
            answer=lambda momentum: math.log(0.5) * math.log(momentum),
        ),
        Misconception(
            hint="That is the logarithm of m to base 2. Solve k · log m = log ½ for k.",
            answer=lambda momentum: math.log2(momentum),
        ),
        Misconception(
            hint="Your number of steps is below 0, and 1 − m is only nearly −log m. Solve mᵏ = ½ for k.",
            answer=lambda momentum: math.log(0.5) / (1 - momentum),
        ),
    ],
)

# 5. The loss of DINO

SHARP, SOFT = 0.04, 0.1  # temperatures of DINO's teacher and student


def _sharp(output: Tensor, temperature: float = SHARP) -> Tensor:
    """The probabilities of every image, float [N, K]."""
    return (output / temperature).softmax(dim=1)


def _dino(
    student: Tensor, teacher: Tensor, center: Tensor, of_student: float = SOFT, of_teacher: float = SHARP
) -> Tensor:
    """The loss of every image, float [N]."""
    target = _sharp(teacher - center, of_teacher)
    return -(target * (student / of_student).log_softmax(dim=1)).sum(dim=1)


def _entropy(teacher: Tensor, center: Tensor) -> Tensor:
    return _dino(teacher - center, teacher, center, of_student=SHARP)


def _outputs(images: int, dims: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of a student and of its teacher, and a centre of the latter that is not 0."""
    student, teacher = 0.2 * normal(images, dims, seed=seed), 0.1 * normal(images, dims, seed=seed + 1)
    return student, teacher, 0.1 * normal(dims, seed=seed + 2)


def _teacher_gets_a_gradient(attempt: Answer) -> str | None:
    student, teacher, center = _outputs(4, 3, seed=9)
    loss = attempt(student.requires_grad_().clone(), teacher.requires_grad_().clone(), center)
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        return "The value is right, but nothing can be learned from it: it has no gradient with respect to the student."
    _, of_teacher = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
    if of_teacher is not None and of_teacher.abs().max() > 0:
        return "The value is right, but your gradient flows into the teacher. Its output is a constant: detach it."
    return None


dino_loss = Exercise(
    solution=lambda student, teacher, center: _dino(student, teacher.detach(), center).mean(),
    cases=[_outputs(5, 3, seed=0), _outputs(4, 6, seed=10)],
    misconceptions=[
        Misconception(
            hint="The centre is missing: subtract it from the teacher's output, or one dimension can win for all "
            "images.",
            answer=lambda student, teacher, center: _dino(student, teacher, 0 * center).mean(),
        ),
        Misconception(
            hint="You added the centre. Subtract it from the teacher's output.",
            answer=lambda student, teacher, center: _dino(student, teacher, -center).mean(),
        ),
        Misconception(
            hint="You subtracted the centre from the student's output. It belongs to the teacher's.",
            answer=lambda student, teacher, center: _dino(student - center, teacher, 0 * center).mean(),
        ),
        Misconception(
            hint="You subtracted the centre from both outputs. It belongs to the teacher's alone.",
            answer=lambda student, teacher, center: _dino(student - center, teacher, center).mean(),
        ),
        Misconception(
            hint="You subtracted the centre after the division by the temperature. Subtract it from the output itself.",
            answer=lambda student, teacher, center: _dino(student, teacher, SHARP * center).mean(),
        ),
        Misconception(
            hint="You subtracted the mean of this batch. DINO's centre is an average over many batches: take the one "
            "that you are given.",
            answer=lambda student, teacher, center: _dino(student, teacher, teacher.mean(dim=0)).mean(),
        ),
        Misconception(
            hint="You subtracted the centre from the teacher's probabilities. Subtract it from the output, before the "
            "softmax.",
            answer=lambda student, teacher, center: (
                -((_sharp(teacher) - center) * (student / SOFT).log_softmax(dim=1)).sum(dim=1).mean()
            ),
        ),
        Misconception(
            hint="The logarithm of the student's probabilities is missing.",
            answer=lambda student, teacher, center: (
                -(_sharp(teacher - center) * (student / SOFT).softmax(dim=1)).sum(dim=1).mean()
            ),
        ),
        Misconception(
            hint="You took the logarithm of the teacher's probabilities, too. They weigh the student's logarithms as "
            "they are.",
            answer=lambda student, teacher, center: (
                -(_sharp(teacher - center).log() * (student / SOFT).log_softmax(dim=1)).sum(dim=1).mean()
            ),
        ),
        Misconception(
            hint="The softmax of the teacher's output is missing: its probabilities are the target.",
            answer=lambda student, teacher, center: F.cross_entropy(student / SOFT, (teacher - center) / SHARP),
        ),
        Misconception(
            hint="Your target is the teacher's most probable dimension alone. All of its probabilities are the target.",
            answer=lambda student, teacher, center: F.cross_entropy(student / SOFT, (teacher - center).argmax(dim=1)),
        ),
        Misconception(
            hint="The temperatures are exchanged: the teacher has the smaller one, 0.04, so that its probabilities are "
            "sharper.",
            answer=lambda student, teacher, center: _dino(student, teacher, center, SHARP, SOFT).mean(),
        ),
        Misconception(
            hint="Both outputs have the student's temperature. The teacher's is smaller, 0.04: that is its sharpening.",
            answer=lambda student, teacher, center: _dino(student, teacher, center, SOFT, SOFT).mean(),
        ),
        Misconception(
            hint="Both outputs have the teacher's temperature. The student's is 0.1.",
            answer=lambda student, teacher, center: _dino(student, teacher, center, SHARP, SHARP).mean(),
        ),
        Misconception(
            hint="The temperatures are missing: divide the student's output by 0.1, and the teacher's, without its "
            "centre, by 0.04.",
            answer=lambda student, teacher, center: _dino(student, teacher, center, 1.0, 1.0).mean(),
        ),
        Misconception(
            hint="The roles are exchanged: the probabilities are the teacher's, and the logarithm is taken of the "
            "student's.",
            answer=lambda student, teacher, center: _dino(teacher - center, student, 0 * center, SHARP, SOFT).mean(),
        ),
        Misconception(
            hint="There is a softmax on the student's output twice. F.cross_entropy applies one itself: give it s / "
            "0.1.",
            answer=lambda student, teacher, center: F.cross_entropy(
                (student / SOFT).softmax(dim=1), _sharp(teacher - center)
            ),
        ),
        Misconception(
            hint="You summed the products of the probabilities first, and took the logarithm then. The logarithm is "
            "taken of each of the student's probabilities.",
            answer=lambda student, teacher, center: (
                -(_sharp(teacher - center) * (student / SOFT).softmax(dim=1)).sum(dim=1).log().mean()
            ),
        ),
        Misconception(
            hint="You multiplied by the temperatures. Divide by them, so that a small one makes the softmax sharper.",
            answer=lambda student, teacher, center: _dino(student, teacher, center, 1 / SOFT, 1 / SHARP).mean(),
        ),
        Misconception(
            hint="You divided the outputs by their lengths. DINO's loss takes the outputs as they are.",
            answer=lambda student, teacher, center: _dino(
                F.normalize(student, dim=1), F.normalize(teacher, dim=1), center
            ).mean(),
        ),
        Misconception(
            hint="This is the Kullback–Leibler divergence. It has the same gradient, but the cross-entropy is larger "
            "by the entropy of the teacher's probabilities.",
            answer=lambda student, teacher, center: (
                _dino(student, teacher, center) - _entropy(teacher, center)
            ).mean(),
        ),
        Misconception(
            hint="The sign is wrong: the cross-entropy is minus the sum of p log q.",
            answer=lambda student, teacher, center: -_dino(student, teacher, center).mean(),
        ),
        Misconception(
            hint="This is the sum over the images. Take their mean.",
            answer=lambda student, teacher, center: _dino(student, teacher, center).sum(),
        ),
        Misconception(
            hint="This is still one number for each image. Return their mean.",
            answer=lambda student, teacher, center: _dino(student, teacher, center),
        ),
        Misconception(
            hint="You took the mean over the K dimensions, too. Sum over them, and take the mean over the images.",
            answer=lambda student, teacher, center: _dino(student, teacher, center).mean() / student.shape[1],
        ),
        Misconception(
            hint="Your softmax runs over the images. Each image has its own probabilities: dim=1.",
            answer=lambda student, teacher, center: (
                -(((teacher - center) / SHARP).softmax(dim=0) * (student / SOFT).log_softmax(dim=0)).sum(dim=1).mean()
            ),
        ),
        Misconception(
            hint="These are squared distances of the probabilities. DINO takes the cross-entropy.",
            answer=lambda student, teacher, center: F.mse_loss(
                (student / SOFT).softmax(dim=1), ((teacher - center) / SHARP).softmax(dim=1)
            ),
        ),
        Misconception(
            hint="You added the loss in the other direction. Only the teacher's probabilities are a target here.",
            answer=lambda student, teacher, center: (
                (_dino(student, teacher, center) + _dino(teacher - center, student, 0 * center, SOFT, SHARP)).mean() / 2
            ),
        ),
    ],
    constraint=_teacher_gets_a_gradient,
)

EXERCISES = collect(globals())
