"""Exercises of notebook 03: the schedule, a step of LARS, what a stem does, and batch size against learning rate."""

from __future__ import annotations

import math

from torch import Tensor

from simclr_lib.optim import warmup_cosine
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect, normal

# 1. Warm-up and cosine


def _schedule(step: int, total: int, warmup: int, start: float = 1.0, period: float = 1.0) -> float:
    if step < warmup:
        return (step + start) / warmup
    return 0.5 * (1 + math.cos(period * math.pi * (step - warmup) / (total - warmup)))


learning_rate = Exercise(
    solution=warmup_cosine,
    cases=[(0, 100, 10), (4, 100, 10), (10, 100, 10), (55, 100, 10), (99, 100, 10), (0, 10, 0)],
    misconceptions=[
        Misconception(
            hint="Your warm-up starts at 0, so the first step changes nothing. The paper's code does that too; the "
            "formula of 3.4 has (step + 1) / warmup.",
            answer=lambda step, total, warmup: _schedule(step, total, warmup, start=0.0),
        ),
        Misconception(
            hint="Your cosine goes on from the beginning of training. It starts where the warm-up ends.",
            answer=lambda step, total, warmup: (
                (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * step / total))
            ),
        ),
        Misconception(
            hint="Your cosine is stretched over all steps. It has total − warmup steps, after the warm-up.",
            answer=lambda step, total, warmup: (
                (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / total))
            ),
        ),
        Misconception(
            hint="Your warm-up is one step too long: step `warmup` belongs to the cosine already.",
            answer=lambda step, total, warmup: (
                (step + 1) / max(1, warmup) if step <= warmup else _schedule(step, total, warmup)
            ),
        ),
        Misconception(
            hint="Your cosine goes down to −1: shift and halve it, ½ (1 + cos …).",
            answer=lambda step, total, warmup: (
                (step + 1) / warmup if step < warmup else math.cos(math.pi * (step - warmup) / (total - warmup))
            ),
        ),
        Misconception(
            hint="Your cosine makes a whole turn and is back at 1 in the end. It is half a turn.",
            answer=lambda step, total, warmup: _schedule(step, total, warmup, period=2.0),
        ),
        Misconception(
            hint="That is a straight line. The cosine stays near 1 at first and near 0 at last.",
            answer=lambda step, total, warmup: (
                (step + 1) / warmup if step < warmup else 1 - (step - warmup) / (total - warmup)
            ),
        ),
    ],
)

# 2. One step of LARS, without momentum


def _lars(
    w: Tensor,
    g: Tensor,
    lr: float,
    weight_decay: float,
    trust: float,
    decay_first: bool = True,
    inverted: bool = False,
    adapt: bool = True,
    squared: bool = False,
) -> Tensor:
    decayed = g + weight_decay * w
    basis = decayed if decay_first else g
    w_norm, g_norm = w.norm(), basis.norm()
    if squared:
        w_norm, g_norm = w_norm**2, g_norm**2
    ratio = trust * (g_norm / w_norm if inverted else w_norm / g_norm) if adapt else 1.0
    return w - lr * ratio * decayed


lars_step = Exercise(
    solution=_lars,
    cases=[
        (normal(4, 3, seed=0), normal(4, 3, seed=1), 1.0, 0.1, 0.01),
        (3 * normal(5, seed=2), normal(5, seed=3), 0.5, 0.5, 0.1),
        (3 * normal(5, seed=4), 0.01 * normal(5, seed=5), 0.5, 0.001, 0.1),  # a trust ratio above 1
    ],
    misconceptions=[
        Misconception(
            hint="You cut the ratio at 1, as a later variant does (LARC). LARS takes it as it is.",
            answer=lambda w, g, lr, wd, trust: (
                w - lr * min(1.0, float(trust * w.norm() / (g + wd * w).norm())) * (g + wd * w)
            ),
        ),
        Misconception(
            hint="Your denominator is ‖g‖ + λ‖w‖, as You et al. (2017) wrote it. The paper's code takes the length of "
            "the sum, ‖g + λw‖.",
            answer=lambda w, g, lr, wd, trust: w - lr * trust * w.norm() / (g.norm() + wd * w.norm()) * (g + wd * w),
        ),
        Misconception(
            hint="Your weight decay is decoupled, as in AdamW: it is outside the ratio. Here it is part of the "
            "gradient.",
            answer=lambda w, g, lr, wd, trust: w - lr * trust * w.norm() / g.norm() * g - lr * wd * w,
        ),
        Misconception(
            hint="The trust coefficient is missing: r = c ‖w‖ / ‖g‖.",
            answer=lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, 1.0),
        ),
        Misconception(
            hint="Your weight decay comes after the norms. In the reference it is part of the gradient whose norm is "
            "taken.",
            answer=lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, decay_first=False),
        ),
        Misconception(
            hint="The ratio is upside down: a layer with large weights may take large steps, so it is ‖w‖ / ‖g‖.",
            answer=lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, inverted=True),
        ),
        Misconception(
            hint="That is SGD: the trust ratio is missing.",
            answer=lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, adapt=False),
        ),
        Misconception(
            hint="These are squared norms: take the square root.",
            answer=lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, squared=True),
        ),
        Misconception(
            hint="Weight decay is missing: g + λ w.",
            answer=lambda w, g, lr, wd, trust: _lars(w, g, lr, 0.0, trust),
        ),
        Misconception(
            hint="You went uphill: subtract the step.",
            answer=lambda w, g, lr, wd, trust: 2 * w - _lars(w, g, lr, wd, trust),
        ),
    ],
)

# 3. The size of the last feature map


def _side(side: int, stem: str) -> int:
    return math.ceil(side / {"cifar": 8, "fast": 16, "imagenet": 32}[stem])


last_feature_map = Exercise(
    solution=_side,
    cases=[(32, "cifar"), (32, "fast"), (24, "fast"), (224, "imagenet"), (64, "cifar"), (40, "fast"), (72, "cifar")],
    misconceptions=[
        Misconception(
            hint="All four stages halve the side in your answer. The first one keeps it: stages 2, 3 and 4 halve.",
            answer=lambda side, stem: math.ceil(_side(side, stem) / 2),
        ),
        Misconception(
            hint="Your stem changes nothing. The fast one halves the side, the imagenet one takes a quarter.",
            answer=lambda side, stem: math.ceil(side / 8),
        ),
        Misconception(
            hint="You forgot the stages: three of them halve the side once more.",
            answer=lambda side, stem: side // {"cifar": 1, "fast": 2, "imagenet": 4}[stem],
        ),
        Misconception(
            hint="A stride of 2 with padding rounds up: 3 pixels become 2, not 1.",
            answer=lambda side, stem: side // {"cifar": 8, "fast": 16, "imagenet": 32}[stem],
        ),
        Misconception(
            hint="You rounded to the nearest number. A stride of 2 with padding rounds up: 5 pixels become 3, and 3 "
            "become 2.",
            answer=lambda side, stem: round(side / {"cifar": 8, "fast": 16, "imagenet": 32}[stem]),
        ),
        Misconception(
            hint="The imagenet stem halves twice: a stride of 2, and a max-pool with stride 2.",
            answer=lambda side, stem: 2 * _side(side, stem) if stem == "imagenet" else _side(side, stem),
        ),
    ],
    tolerance=0,
)

# 4. Another batch size

scaled_learning_rate = Exercise(
    solution=lambda lr, batch, new_batch, rule: (
        lr * new_batch / batch if rule == "linear" else lr * math.sqrt(new_batch / batch)
    ),
    cases=[(0.4, 64, 256, "linear"), (0.4, 64, 256, "sqrt"), (1.0, 512, 128, "linear"), (1.0, 512, 128, "sqrt")],
    misconceptions=[
        Misconception(
            hint="A larger batch averages away noise: its learning rate goes up, not down.",
            answer=lambda lr, batch, new_batch, rule: (
                lr * batch / new_batch if rule == "linear" else lr * math.sqrt(batch / new_batch)
            ),
        ),
        Misconception(
            hint="You used the linear rule for both.",
            answer=lambda lr, batch, new_batch, rule: lr * new_batch / batch,
        ),
        Misconception(
            hint="You used the square root for both.",
            answer=lambda lr, batch, new_batch, rule: lr * math.sqrt(new_batch / batch),
        ),
        Misconception(
            hint="The rules are swapped: the linear one takes the ratio itself, the other one its square root.",
            answer=lambda lr, batch, new_batch, rule: (
                lr * math.sqrt(new_batch / batch) if rule == "linear" else lr * new_batch / batch
            ),
        ),
        Misconception(
            hint="You divided without a remainder: a smaller batch has a ratio below 1, and // makes 0 of it.",
            answer=lambda lr, batch, new_batch, rule: (
                lr * (new_batch // batch) if rule == "linear" else lr * math.sqrt(new_batch // batch)
            ),
        ),
        Misconception(
            hint="The old batch size is missing: the rules take the ratio of the two batch sizes.",
            answer=lambda lr, batch, new_batch, rule: lr * (new_batch if rule == "linear" else math.sqrt(new_batch)),
        ),
    ],
)

EXERCISES = collect(globals())
