"""Exercises of notebook 03: a step of LARS, the schedule, what a stem does, and batch size against learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from simclr_lib.teaching.exercises.exercise import Answer, Exercise, Misconception, collect, normal

# 1. One step of LARS, with momentum


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


def _moving(step: Callable[[Tensor, Tensor, float, float, float], Tensor]) -> Answer:
    """Continue a step without momentum, which maps (w, g, lr, weight_decay, trust) to new weights, at a velocity."""
    return lambda w, g, v, lr, momentum, wd, trust: step(w, g, lr, wd, trust) - momentum * v


lars_step = Exercise(
    solution=_moving(_lars),
    cases=[
        (normal(4, 3, seed=0), normal(4, 3, seed=1), normal(4, 3, seed=6), 1.0, 0.9, 0.1, 0.01),
        (3 * normal(5, seed=2), normal(5, seed=3), normal(5, seed=7), 0.5, 0.8, 0.5, 0.1),
        # a trust ratio above 1
        (3 * normal(5, seed=4), 0.01 * normal(5, seed=5), normal(5, seed=8), 0.5, 0.9, 0.001, 0.1),
    ],
    misconceptions=[
        Misconception(
            hint="The momentum is missing: the velocity that was given goes on, μv.",
            answer=lambda w, g, v, lr, momentum, wd, trust: _lars(w, g, lr, wd, trust),
        ),
        Misconception(
            hint="The learning rate and the ratio are outside your velocity, as in PyTorch's SGD. In 3.3 they are "
            "inside: v ← μv + η r g.",
            answer=lambda w, g, v, lr, momentum, wd, trust: (
                w - lr * trust * w.norm() / (g + wd * w).norm() * (momentum * v + g + wd * w)
            ),
        ),
        Misconception(
            hint="Only the learning rate is outside your velocity. In 3.3 it is inside, with the ratio: v ← μv + η r "
            "g.",
            answer=lambda w, g, v, lr, momentum, wd, trust: _lars(w, g, lr, wd, trust) - lr * momentum * v,
        ),
        Misconception(
            hint="You damped the new step by 1 − μ, as Adam does. Here it counts in full: v ← μv + η r g.",
            answer=lambda w, g, v, lr, momentum, wd, trust: _lars(w, g, (1 - momentum) * lr, wd, trust) - momentum * v,
        ),
        Misconception(
            hint="μ is missing: the old velocity counts μ times.",
            answer=lambda w, g, v, lr, momentum, wd, trust: _lars(w, g, lr, wd, trust) - v,
        ),
        Misconception(
            hint="Your velocity points downhill and is added: v ← μv − η r g, w + v. The velocity that you are given "
            "points uphill, as in 3.3: v ← μv + η r g, w − v.",
            answer=lambda w, g, v, lr, momentum, wd, trust: _lars(w, g, lr, wd, trust) + momentum * v,
        ),
        Misconception(
            hint="μ is at the wrong place: it multiplies the old velocity, not the new step.",
            answer=lambda w, g, v, lr, momentum, wd, trust: _lars(w, g, momentum * lr, wd, trust) - v,
        ),
        Misconception(
            hint="μ multiplies the sum. It multiplies the old velocity only: v ← μv + η r g.",
            answer=lambda w, g, v, lr, momentum, wd, trust: w - momentum * (v + w - _lars(w, g, lr, wd, trust)),
        ),
        Misconception(
            hint="These are the new weights and the new velocity. Return the weights alone.",
            answer=lambda w, g, v, lr, momentum, wd, trust: (
                _lars(w, g, lr, wd, trust) - momentum * v,
                momentum * v + w - _lars(w, g, lr, wd, trust),
            ),
        ),
        Misconception(
            hint="You added up absolute values. The norm is the square root of the sum of squares.",
            answer=_moving(
                lambda w, g, lr, wd, trust: w - lr * trust * w.abs().sum() / (g + wd * w).abs().sum() * (g + wd * w)
            ),
        ),
        Misconception(
            hint="You looked ahead, as Nesterov's momentum does. The formula of 3.3 subtracts v once it is new.",
            answer=lambda w, g, v, lr, momentum, wd, trust: (
                w - momentum * (momentum * v + w - _lars(w, g, lr, wd, trust)) - (w - _lars(w, g, lr, wd, trust))
            ),
        ),
        Misconception(
            hint="This is the new velocity. Return the new weights: w − v.",
            answer=lambda w, g, v, lr, momentum, wd, trust: momentum * v + w - _lars(w, g, lr, wd, trust),
        ),
        Misconception(
            hint="You went uphill: subtract the velocity.",
            answer=lambda w, g, v, lr, momentum, wd, trust: 2 * w - _lars(w, g, lr, wd, trust) + momentum * v,
        ),
        Misconception(
            hint="You cut the ratio at 1, as a later variant does (LARC). LARS takes it as it is.",
            answer=_moving(
                lambda w, g, lr, wd, trust: (
                    w - lr * min(1.0, float(trust * w.norm() / (g + wd * w).norm())) * (g + wd * w)
                )
            ),
        ),
        Misconception(
            hint="Your denominator is ‖g‖ + λ‖w‖, as You et al. (2017) wrote it. The paper's code takes the length of "
            "the sum, ‖g + λw‖.",
            answer=_moving(
                lambda w, g, lr, wd, trust: w - lr * trust * w.norm() / (g.norm() + wd * w.norm()) * (g + wd * w)
            ),
        ),
        Misconception(
            hint="Your weight decay is decoupled, as in AdamW: it is outside the ratio. Here it is part of the "
            "gradient.",
            answer=_moving(lambda w, g, lr, wd, trust: w - lr * trust * w.norm() / g.norm() * g - lr * wd * w),
        ),
        Misconception(
            hint="The trust coefficient is missing: r = c ‖w‖ / ‖g‖.",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, 1.0)),
        ),
        Misconception(
            hint="Your weight decay comes after the norms. In the reference it is part of the gradient whose norm is "
            "taken.",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, decay_first=False)),
        ),
        Misconception(
            hint="The ratio is upside down: a layer with large weights may take large steps, so it is ‖w‖ / ‖g‖.",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, inverted=True)),
        ),
        Misconception(
            hint="That is SGD: the trust ratio is missing.",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, adapt=False)),
        ),
        Misconception(
            hint="These are squared norms: take the square root.",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, lr, wd, trust, squared=True)),
        ),
        Misconception(
            hint="Weight decay is missing: g + λ w.",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, lr, 0.0, trust)),
        ),
        Misconception(
            hint="The learning rate is missing: w − η r (g + λw).",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, 1.0, wd, trust)),
        ),
        Misconception(
            hint="‖w‖ is missing in the ratio: every layer would take steps of the same length.",
            answer=_moving(lambda w, g, lr, wd, trust: w - lr * trust * (g + wd * w) / (g + wd * w).norm()),
        ),
        Misconception(
            hint="Each row has a ratio of its own in your answer. A layer has one: the norms run over all of its "
            "numbers.",
            answer=_moving(
                lambda w, g, lr, wd, trust: (
                    w
                    - lr * trust * w.norm(dim=-1, keepdim=True) / (g + wd * w).norm(dim=-1, keepdim=True) * (g + wd * w)
                )
            ),
        ),
        Misconception(
            hint="Weight decay is in your norm but not in your step: both take g + λw.",
            answer=_moving(lambda w, g, lr, wd, trust: w - lr * trust * w.norm() / (g + wd * w).norm() * g),
        ),
        Misconception(
            hint="Weight decay pulls the weights towards 0, so λw is added to the gradient. You subtracted it.",
            answer=_moving(lambda w, g, lr, wd, trust: _lars(w, g, lr, -wd, trust)),
        ),
        Misconception(
            hint="The trust ratio and weight decay are missing: that is SGD with momentum.",
            answer=lambda w, g, v, lr, momentum, wd, trust: w - momentum * v - lr * g,
        ),
        Misconception(
            hint="Nothing of this gradient is in your step. The velocity that is given is that of the step before: v "
            "← μv + η r g.",
            answer=lambda w, g, v, lr, momentum, wd, trust: w - v,
        ),
        Misconception(
            hint="You took the ratio from the norm of the velocity. In 3.3 it is the norm of the gradient with weight "
            "decay, ‖g + λw‖, before the momentum.",
            answer=lambda w, g, v, lr, momentum, wd, trust: (
                w - lr * trust * w.norm() / (momentum * v + g + wd * w).norm() * (momentum * v + g + wd * w)
            ),
        ),
    ],
)

# 2. Warm-up, and a cosine that ends above 0


def _schedule(
    step: int, total: int, warmup: int, last: float = 0.0, start: float = 1.0, turn: float = 1.0, late: int = 0
) -> float:
    if step < warmup:
        return (step + start) / warmup
    return _cosine(step + late - warmup, total - warmup, last, turn)


def _cosine(step: int, total: int, last: float, turn: float = 1.0) -> float:
    return last + (1 - last) * 0.5 * (1 + math.cos(turn * math.pi * step / total))


def _after_warmup(share: Callable[[int, int, int, float], float]) -> Answer:
    """A schedule with the right warm-up, and that share of the peak after it."""
    return lambda step, total, warmup, last: (step + 1) / warmup if step < warmup else share(step, total, warmup, last)


learning_rate = Exercise(
    solution=_schedule,
    cases=[
        (0, 100, 10, 0.1),
        (4, 100, 10, 0.1),
        (4, 20, 5, 0.1),  # the last step of the warm-up
        (10, 100, 10, 0.1),
        (55, 100, 10, 0.25),
        (99, 100, 10, 0.1),
        (0, 10, 0, 0.5),
        (0, 10, 1, 0.5),
    ],
    misconceptions=[
        Misconception(
            hint="Your cosine goes down to 0. It ends at `last`: last + (1 − last) · share.",
            answer=lambda step, total, warmup, last: _schedule(step, total, warmup),
        ),
        Misconception(
            hint="You cut the cosine off at `last`, so it stays there for a while. Squeeze the whole curve between "
            "`last` and 1.",
            answer=_after_warmup(lambda step, total, warmup, last: max(last, _schedule(step, total, warmup))),
        ),
        Misconception(
            hint="You added `last`, so the cosine starts above 1. Multiply its share by 1 − last before you add.",
            answer=_after_warmup(lambda step, total, warmup, last: last + _schedule(step, total, warmup)),
        ),
        Misconception(
            hint="The warm-up is not squeezed: it rises from 1 / warmup to 1, as in 3.4. Only the cosine ends at "
            "`last`.",
            answer=lambda step, total, warmup, last: last + (1 - last) * _schedule(step, total, warmup),
        ),
        Misconception(
            hint="Your cosine falls to 2 · last − 1: shift and halve the cosine itself first, ½ (1 + cos …).",
            answer=_after_warmup(
                lambda step, total, warmup, last: last + (1 - last) * (2 * _schedule(step, total, warmup) - 1)
            ),
        ),
        Misconception(
            hint="Your warm-up starts at 0, so the first step changes nothing. The paper's code does that too; the "
            "formula of 3.4 has (step + 1) / warmup.",
            answer=lambda step, total, warmup, last: _schedule(step, total, warmup, last, start=0.0),
        ),
        Misconception(
            hint="Your cosine counts from step 0. It has to start where the warm-up ends.",
            answer=_after_warmup(lambda step, total, warmup, last: _schedule(step, total, 0, last)),
        ),
        Misconception(
            hint="Your cosine is stretched over all steps. It has total − warmup steps, after the warm-up.",
            answer=_after_warmup(lambda step, total, warmup, last: _schedule(step, total + warmup, warmup, last)),
        ),
        Misconception(
            hint="Your warm-up is one step too long: step `warmup` belongs to the cosine already.",
            answer=lambda step, total, warmup, last: (
                (step + 1) / max(1, warmup) if step <= warmup else _schedule(step, total, warmup, last)
            ),
        ),
        Misconception(
            hint="Your warm-up is one step too short: step warmup − 1 still belongs to it, and has the full rate.",
            answer=lambda step, total, warmup, last: (
                (step + 1) / warmup if step + 1 < warmup else _cosine(step - warmup, total - warmup, last)
            ),
        ),
        Misconception(
            hint="Your warm-up does not reach 1. It takes `warmup` steps: divide by `warmup`, not by warmup + 1.",
            answer=lambda step, total, warmup, last: (
                (step + 1) / (warmup + 1) if step < warmup else _schedule(step, total, warmup, last)
            ),
        ),
        Misconception(
            hint="Your cosine makes a quarter of a turn, so it is steep in the end. It is half a turn, shifted and "
            "halved: ½ (1 + cos …).",
            answer=_after_warmup(
                lambda step, total, warmup, last: (
                    last + (1 - last) * math.cos(0.5 * math.pi * (step - warmup) / (total - warmup))
                )
            ),
        ),
        Misconception(
            hint="That is an exponential decay: each step multiplies the rate by the same number. The curve of 3.4 is "
            "a cosine.",
            answer=_after_warmup(lambda step, total, warmup, last: last ** ((step - warmup) / (total - warmup))),
        ),
        Misconception(
            hint="You multiplied a warm-up by a cosine over all steps. The cosine starts where the warm-up ends.",
            answer=lambda step, total, warmup, last: (
                min(1.0, (step + 1) / max(1, warmup)) * _schedule(step, total, 0, last)
            ),
        ),
        Misconception(
            hint="Your cosine makes a whole turn and is back at 1 in the end. It is half a turn.",
            answer=lambda step, total, warmup, last: _schedule(step, total, warmup, last, turn=2.0),
        ),
        Misconception(
            hint="That is a straight line. The cosine stays near 1 at first and near `last` in the end.",
            answer=_after_warmup(lambda step, total, warmup, last: 1 - (1 - last) * (step - warmup) / (total - warmup)),
        ),
        Misconception(
            hint="Your cosine arrives one step early. The formula of 3.4 divides by total − warmup.",
            answer=lambda step, total, warmup, last: _schedule(step, total - 1, warmup, last),
        ),
        Misconception(
            hint="Your cosine goes up. It should be 1 after the warm-up: ½ (1 + cos …).",
            answer=_after_warmup(lambda step, total, warmup, last: 1 + last - _schedule(step, total, warmup, last)),
        ),
        Misconception(
            hint="Your cosine is one step ahead: step `warmup` still has the full rate. Only the warm-up counts from "
            "step + 1.",
            answer=lambda step, total, warmup, last: _schedule(step, total, warmup, last, late=1),
        ),
        Misconception(
            hint="The warm-up is missing: before step `warmup` the rate rises in a straight line, (step + 1) / warmup.",
            answer=lambda step, total, warmup, last: _schedule(step, total, 0, last),
        ),
        Misconception(
            hint="math.cos takes radians: half a turn is π, not 180.",
            answer=lambda step, total, warmup, last: _schedule(step, total, warmup, last, turn=180 / math.pi),
        ),
        Misconception(
            hint="`//` leaves out what is behind the decimal point, so your warm-up is 0 until it ends: use `/`.",
            answer=lambda step, total, warmup, last: (
                (step + 1) // warmup if step < warmup else _schedule(step, total, warmup, last)
            ),
        ),
        Misconception(
            hint="You multiplied by `last`, so your cosine starts there. It starts at 1 and ends at `last`.",
            answer=_after_warmup(lambda step, total, warmup, last: last * _schedule(step, total, warmup)),
        ),
        Misconception(
            hint="You multiplied the share by 1 − last and did not add `last`. So your cosine starts below 1 and ends "
            "at 0.",
            answer=_after_warmup(lambda step, total, warmup, last: (1 - last) * _schedule(step, total, warmup)),
        ),
    ],
)

# 3. The size of the last feature map


def _side(side: int, stem: str) -> int:
    return math.ceil(side / {"cifar": 8, "fast": 16, "imagenet": 32}[stem])


last_feature_map = Exercise(
    solution=_side,
    cases=[
        *((32, "cifar"), (32, "fast"), (24, "fast"), (224, "imagenet"), (64, "cifar"), (40, "fast"), (72, "cifar")),
        *((31, "fast"), (33, "fast"), (65, "imagenet"), (225, "imagenet")),  # odd at the stem
    ],
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
        Misconception(
            hint="A side is a whole number of pixels: round up.",
            answer=lambda side, stem: side / {"cifar": 8, "fast": 16, "imagenet": 32}[stem],
        ),
        Misconception(
            hint="You always add one. Only a side that does not divide is rounded up.",
            answer=lambda side, stem: side // {"cifar": 8, "fast": 16, "imagenet": 32}[stem] + 1,
        ),
        Misconception(
            hint="The fast stem has a stride of 2 and no max-pool: it halves the side once.",
            answer=lambda side, stem: math.ceil(side / {"cifar": 8, "fast": 32, "imagenet": 32}[stem]),
        ),
        Misconception(
            hint="Two of the stages halve the side in your answer. It is three: stages 2, 3 and 4.",
            answer=lambda side, stem: math.ceil(side / {"cifar": 4, "fast": 8, "imagenet": 16}[stem]),
        ),
        Misconception(
            hint="Your stages round up, but your stem rounds down. A stride of 2 with padding rounds up there, too: 33 "
            "pixels become 17.",
            answer=lambda side, stem: math.ceil(side // {"cifar": 1, "fast": 2, "imagenet": 4}[stem] / 8),
        ),
        Misconception(
            hint="With the imagenet stem you round down. A stride of 2 with padding rounds up, with each stem.",
            answer=lambda side, stem: side // 32 if stem == "imagenet" else _side(side, stem),
        ),
        Misconception(
            hint="A side of 7 belongs to an image of 224 pixels. The last feature map depends on `side` with the "
            "imagenet stem, too.",
            answer=lambda side, stem: 7 if stem == "imagenet" else _side(side, stem),
        ),
        Misconception(
            hint="You added 1 to the side and divided once, rounding down. That rounds up for a single stride of 2 "
            "only: divide step by step, or round the whole quotient up.",
            answer=lambda side, stem: (side + 1) // {"cifar": 8, "fast": 16, "imagenet": 32}[stem],
        ),
        Misconception(
            hint="With the imagenet stem your side is halved once too often. The stem takes a quarter, and stages 2, 3 "
            "and 4 halve it.",
            answer=lambda side, stem: math.ceil(side / {"cifar": 8, "fast": 16, "imagenet": 64}[stem]),
        ),
        Misconception(
            hint="Only one of the stages halves the side in your answer. Three of them do: stages 2, 3 and 4.",
            answer=lambda side, stem: math.ceil(side / {"cifar": 2, "fast": 4, "imagenet": 8}[stem]),
        ),
        Misconception(
            hint="That is the number of pixels of the map. The side is asked.",
            answer=lambda side, stem: _side(side, stem) ** 2,
        ),
        Misconception(
            hint="`side` has no effect in your answer. A larger image has a larger last feature map.",
            answer=lambda side, stem: {"cifar": 4, "fast": 2, "imagenet": 7}[stem],
        ),
        Misconception(
            hint="`stem` has no effect in your answer. The cifar stem keeps the side, the fast one halves it, and the "
            "imagenet one takes a quarter.",
            answer=lambda side, stem: math.ceil(side / 32),
        ),
        Misconception(
            hint="Your stem changes nothing, and you round down. The fast stem halves the side, the imagenet one "
            "takes a quarter, and a stride of 2 with padding rounds up.",
            answer=lambda side, stem: side // 8,
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
            hint='You used the linear rule for both. (The names of the rules are "linear" and "sqrt".)',
            answer=lambda lr, batch, new_batch, rule: lr * new_batch / batch,
        ),
        Misconception(
            hint='You used the square root for both. (The names of the rules are "linear" and "sqrt".)',
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
        Misconception(
            hint="That is the factor. Multiply the old rate by it.",
            answer=lambda lr, batch, new_batch, rule: (
                new_batch / batch if rule == "linear" else math.sqrt(new_batch / batch)
            ),
        ),
        Misconception(
            hint="The root is taken of the old batch size alone: put the ratio in brackets first, sqrt(new_batch / "
            "batch).",
            answer=lambda lr, batch, new_batch, rule: (
                lr * new_batch / (batch if rule == "linear" else math.sqrt(batch))
            ),
        ),
        Misconception(
            hint="The root is taken of the new batch size alone: put the ratio in brackets first, sqrt(new_batch / "
            "batch).",
            answer=lambda lr, batch, new_batch, rule: (
                lr * (new_batch if rule == "linear" else math.sqrt(new_batch)) / batch
            ),
        ),
        Misconception(
            hint="You squared the ratio. The square-root rule multiplies the rate by its root.",
            answer=lambda lr, batch, new_batch, rule: lr * (new_batch / batch) ** (1 if rule == "linear" else 2),
        ),
        Misconception(
            hint="You halved the rate of the linear rule. The root of the ratio is not its half.",
            answer=lambda lr, batch, new_batch, rule: lr * new_batch / batch / (1 if rule == "linear" else 2),
        ),
        Misconception(
            hint="Your rate never falls. With a smaller batch the ratio is below 1, and the rate falls.",
            answer=lambda lr, batch, new_batch, rule: (
                lr * max(1.0, new_batch / batch) ** (1 if rule == "linear" else 0.5)
            ),
        ),
        Misconception(
            hint="You took the root of the learning rate, too: lr · sqrt(new_batch / batch).",
            answer=lambda lr, batch, new_batch, rule: (
                lr * new_batch / batch if rule == "linear" else math.sqrt(lr * new_batch / batch)
            ),
        ),
        Misconception(
            hint="You divided by 256, as the paper does for its own rates. Here the rate belongs to `batch` images.",
            answer=lambda lr, batch, new_batch, rule: (
                lr * new_batch / 256 if rule == "linear" else lr * math.sqrt(new_batch / 256)
            ),
        ),
        Misconception(
            hint="You return the rate as it was. The rules change it with the batch size.",
            answer=lambda lr, batch, new_batch, rule: lr,
        ),
    ],
)

EXERCISES = collect(globals())
