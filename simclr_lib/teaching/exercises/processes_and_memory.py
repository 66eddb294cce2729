"""Exercises of notebook 09: negatives of several processes, the loss in chunks, gradient caching, speed-up."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import set_checkpoint_early_stop

from simclr_lib import losses
from simclr_lib.losses import nt_xent
from simclr_lib.teaching.exercises.exercise import Answer, Exercise, Misconception, collect, normal, runs_code_of
from simclr_lib.teaching.memory import peak_bytes

# 1. The number of negatives

num_negatives = Exercise(
    solution=lambda batch, processes, shared: 2 * (batch if shared else batch // processes) - 2,
    cases=[(64, 1, True), (512, 8, True), (512, 8, False), (4096, 32, False)],
    misconceptions=[
        Misconception(
            hint="The batch is what all processes take together: if they share, each anchor sees all of it.",
            answer=lambda batch, processes, shared: 2 * (batch // processes) - 2,
        ),
        Misconception(
            hint="If the processes do not share, an anchor sees only the images of its own process.",
            answer=lambda batch, processes, shared: 2 * batch - 2,
        ),
        Misconception(
            hint="Each image has two views, and both views of another image are negatives.",
            answer=lambda batch, processes, shared: (batch if shared else batch // processes) - 1,
        ),
        Misconception(
            hint="You counted the partner. Of the 2N − 1 candidates one is the right answer.",
            answer=lambda batch, processes, shared: 2 * (batch if shared else batch // processes) - 1,
        ),
        Misconception(
            hint="The batch is what all processes take together, not what each of them takes.",
            answer=lambda batch, processes, shared: 2 * batch * (processes if shared else 1) - 2,
        ),
        Misconception(
            hint="You subtracted both views of the anchor's own image, but counted one view of all others. Both views "
            "of each are negatives.",
            answer=lambda batch, processes, shared: (batch if shared else batch // processes) - 2,
        ),
        Misconception(
            hint="You added up the negatives of all processes. The question is how many one anchor has.",
            answer=lambda batch, processes, shared: (
                2 * batch - 2 if shared else processes * (2 * (batch // processes) - 2)
            ),
        ),
        Misconception(
            hint="You counted the anchor itself and its partner. Neither of them is a negative.",
            answer=lambda batch, processes, shared: 2 * (batch if shared else batch // processes),
        ),
        Misconception(
            hint="You counted the views twice. An image has two views, so N images have 2N views in all.",
            answer=lambda batch, processes, shared: 4 * (batch if shared else batch // processes) - 2,
        ),
        Misconception(
            hint="If the processes share, the images of the anchor's own process still count. Only the anchor and its "
            "partner are left out.",
            answer=lambda batch, processes, shared: (
                2 * (batch - batch // processes) if shared else 2 * (batch // processes) - 2
            ),
        ),
        Misconception(
            hint="You counted one view of the images of the other processes. Both views of each are negatives.",
            answer=lambda batch, processes, shared: (
                2 * (batch // processes) - 2 + (batch - batch // processes if shared else 0)
            ),
        ),
        Misconception(
            hint="It is the other way round: those that share see the whole batch.",
            answer=lambda batch, processes, shared: 2 * (batch // processes if shared else batch) - 2,
        ),
        Misconception(
            hint="You divided all negatives among the processes. Divide the images, and count the negatives of an "
            "anchor among those of its process.",
            answer=lambda batch, processes, shared: (2 * batch - 2) // (1 if shared else processes),
        ),
        Misconception(
            hint="That is the number of images that the anchor sees. Each has two views, and its own two are not "
            "negatives.",
            answer=lambda batch, processes, shared: batch if shared else batch // processes,
        ),
    ],
)

# 2. NT-Xent, a few anchors at a time


def _whole(z: Tensor, tau: float) -> Tensor:
    z_a, z_b = z.chunk(2)
    return nt_xent(z_a, z_b, tau)


def _chunked(
    z: Tensor,
    tau: float,
    chunk: int,
    shift: bool = True,
    mask: bool = True,
    mean_of_means: bool = False,
    partner_of_row: bool = False,
    normalize: bool = True,
    value: float = -torch.inf,
    next_row: bool = False,
) -> Tensor:
    z = F.normalize(z, dim=1) if normalize else z
    total = z.new_zeros(())
    means: list[Tensor] = []
    for start in range(0, len(z), chunk):
        rows = torch.arange(start, min(start + chunk, len(z)))
        logits = z[rows] @ z.T / tau
        if mask:
            logits[torch.arange(len(rows)), rows if shift else rows - start] = value
        anchors = rows - start if partner_of_row else rows
        partners = anchors ^ 1 if next_row else (anchors + len(z) // 2) % len(z)
        losses = F.cross_entropy(logits, partners, reduction="none")
        total += losses.sum()
        means.append(losses.mean())
    return torch.stack(means).mean() if mean_of_means else total / len(z)


def _within_chunks(z: Tensor, tau: float, chunk: int) -> Tensor:
    """The mean over the chunks, each taken as a batch of its own."""
    parts = [part for part in z.split(chunk) if len(part) % 2 == 0]
    return torch.stack([_whole(part, tau) for part in parts]).mean()


def _of_anchors(z: Tensor, tau: float, count: int) -> Tensor:
    """The losses of the first anchors."""
    z = F.normalize(z, dim=1)
    logits = (z @ z.T / tau).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z) // 2), reduction="none")[:count]


class _LargestTensor(TorchDispatchMode):
    """Watches how many numbers the largest tensor holds that is made. A view holds no numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Compute, and look at what was made."""
        output = func(*args, **(kwargs or {}))
        for made in output if isinstance(output, tuple | list) else [output]:
            if isinstance(made, Tensor):
                self.numbers = max(self.numbers, made.untyped_storage().nbytes() // made.element_size())
        return output


def _takes_chunks(attempt: Answer) -> str | None:
    """A hint if a function leaves the work to the library, or holds more similarities than those of a chunk."""
    z, chunk = normal(512, 1, seed=9), 4  # one dimension, so that products with all embeddings are no larger, either
    if runs_code_of(losses, attempt, z, 0.5, chunk):
        return "The value is right, but the library's nt_xent is the whole answer: write the chunks yourself."
    with _LargestTensor() as largest:
        attempt(z, 0.5, chunk)
    if largest.numbers == len(z) ** 2 // chunk:
        return (
            f"The value is right, but you made {chunk} chunks, and `chunk` is {chunk}. It is the number of anchors in "
            "a chunk, not the number of chunks: use split instead of torch.chunk."
        )
    if largest.numbers > chunk * len(z):
        return (
            f"The value is right, but for 512 embeddings and chunks of {chunk} anchors your function makes a tensor of "
            f"{largest.numbers / len(z):g} × 512 numbers. Take no more than `chunk` rows of the matrix, or of a mask, "
            "at one time. Both views of an image count."
        )
    if _peak(lambda: attempt(z, 0.5, chunk)) > z.element_size() * len(z) ** 2 / 4:
        return (
            f"The value is right, but for 512 embeddings and chunks of {chunk} your function keeps a large part of the "
            "matrix of similarities in memory. Compute the rows of one chunk at a time, and keep only their losses."
        )
    return None


def _peak(work: Callable[[], object]) -> int:
    """The largest number of bytes in tensors, in NumPy's arrays and in Python's objects."""
    tracemalloc.start()  # NumPy tells it about every array
    try:
        return max(peak_bytes(work), tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


chunked_loss = Exercise(
    solution=_chunked,
    cases=[(normal(10, 4, seed=0), 0.5, 4), (normal(12, 3, seed=1), 0.2, 5), (normal(6, 3, seed=2), 1.0, 6)],
    misconceptions=[
        Misconception(
            hint="You masked the diagonal of each chunk. Row r of the chunk from s on is anchor s + r: mask column s "
            "+ r.",
            answer=lambda z, tau, chunk: _chunked(z, tau, chunk, shift=False),
        ),
        Misconception(
            hint="An anchor is among its own candidates: its similarity to itself, 1, must be masked.",
            answer=lambda z, tau, chunk: _chunked(z, tau, chunk, mask=False),
        ),
        Misconception(
            hint="You took the mean of the chunks' means. The last chunk is smaller: add up, and divide by 2N.",
            answer=lambda z, tau, chunk: _chunked(z, tau, chunk, mean_of_means=True),
        ),
        Misconception(
            hint="Your partners are counted from the beginning of the chunk. Anchor i's partner is i + N, modulo 2N.",
            answer=lambda z, tau, chunk: _chunked(z, tau, chunk, partner_of_row=True),
        ),
        Misconception(
            hint="The embeddings are not normalised: cosine similarities are meant.",
            answer=lambda z, tau, chunk: _chunked(z, tau, chunk, normalize=False),
        ),
        Misconception(
            hint="A masked logit of 0 still counts, as exp(0) = 1. Use −inf.",
            answer=lambda z, tau, chunk: _chunked(z, tau, chunk, value=0.0),
        ),
        Misconception(
            hint="That is the sum over the anchors: divide by 2N.",
            answer=lambda z, tau, chunk: len(z) * _chunked(z, tau, chunk),
        ),
        Misconception(
            hint="The partner is not the next row: first all first views come, so the partner is N rows further.",
            answer=lambda z, tau, chunk: _chunked(z, tau, chunk, next_row=True),
        ),
        Misconception(
            hint="Your anchors see the embeddings of their own chunk only. Each meets all 2N: z[rows] @ z.T.",
            answer=_within_chunks,
        ),
        Misconception(
            hint="The last chunk is missing in your sum, and you divided by the anchors that are left. The last chunk "
            "may be smaller than the others.",
            answer=lambda z, tau, chunk: _of_anchors(z, tau, len(z) // chunk * chunk).mean(),
        ),
        Misconception(
            hint="This is still one loss for each anchor. Return their mean.",
            answer=lambda z, tau, chunk: _of_anchors(z, tau, len(z)),
        ),
        Misconception(
            hint="You divided by N. There are 2N anchors.",
            answer=lambda z, tau, chunk: 2 * _chunked(z, tau, chunk),
        ),
        Misconception(
            hint="You divided by the number of anchors in a chunk. Divide the sum by 2N.",
            answer=lambda z, tau, chunk: len(z) / chunk * _chunked(z, tau, chunk),
        ),
        Misconception(
            hint="You multiplied by τ. Dividing by a small τ makes the softmax sharper.",
            answer=lambda z, tau, chunk: _chunked(z, 1 / tau, chunk),
        ),
        Misconception(
            hint="τ is missing: divide the similarities by it.",
            answer=lambda z, tau, chunk: _chunked(z, 1.0, chunk),
        ),
        Misconception(
            hint="The last chunk is missing: it may be smaller than the others.",
            answer=lambda z, tau, chunk: _of_anchors(z, tau, len(z) // chunk * chunk).sum() / len(z),
        ),
        Misconception(
            hint="Only the first views are anchors in your mean. All 2N are.",
            answer=lambda z, tau, chunk: _of_anchors(z, tau, len(z) // 2).mean(),
        ),
        Misconception(
            hint="The last chunk is missing: go on to the last row.",
            answer=lambda z, tau, chunk: _of_anchors(z, tau, (len(z) - 1) // chunk * chunk).sum() / len(z),
        ),
        Misconception(
            hint="Only the first views are anchors in your sum. All 2N are.",
            answer=lambda z, tau, chunk: _of_anchors(z, tau, len(z) // 2).sum() / len(z),
        ),
        Misconception(
            hint="You divided the loss by τ. Divide the similarities, before the softmax.",
            answer=lambda z, tau, chunk: _chunked(z, 1.0, chunk) / tau,
        ),
    ],
    constraint=_takes_chunks,
)

# 3. Gradient caching: from the gradient of z to that of the weights


def _gradient_of(z: Tensor, tau: float) -> Tensor:
    """The gradient of the loss with respect to the embeddings."""
    z = z.detach().requires_grad_()
    return torch.autograd.grad(_whole(z, tau), z)[0]


def _cached(x: Tensor, w: Tensor, tau: float, micro: int, gradient_of: str = "all") -> Tensor:
    z_gradient = _gradient_of(x @ w, tau)
    if gradient_of == "mean":
        return x.T @ z_gradient / math.ceil(len(x) / micro)
    if gradient_of == "last":
        last = micro * ((len(x) - 1) // micro)
        return x[last:].T @ z_gradient[last:]
    return x.T @ z_gradient


def _by_parts(x: Tensor, w: Tensor, tau: float, micro: int) -> Tensor:
    parts = x.split(micro)
    sent = _gradient_of(torch.cat([part @ w for part in parts]), tau).split(micro)
    return sum((part.T @ of_part for part, of_part in zip(parts, sent, strict=True)), torch.zeros_like(w))


def _accumulated(x: Tensor, w: Tensor, tau: float, micro: int) -> Tensor:
    """The gradient of the usual accumulation, in which each micro-batch has a loss of its own."""
    n = len(x) // 2
    total = torch.zeros_like(w)
    parts = torch.arange(n).split(micro // 2)  # `micro` is even in all cases
    for images in parts:
        weights = w.detach().clone().requires_grad_()
        a, b = x[images] @ weights, x[images + n] @ weights
        total += torch.autograd.grad(nt_xent(a, b, tau), weights)[0] / len(parts)
    return total


class _RowsThroughWeights(TorchDispatchMode):
    """Counts the rows that take part in a product with the weights, or in one that has the shape of the weights.

    Attributes:
        most: rows of the largest product.
        most_back: rows of the largest product that sums over the rows, as the gradient of the weights does.
        forward: rows of all products with the weights together.
        recorded: those of them whose product autograd may record.
    """

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape
        self.most = self.most_back = self.forward = self.recorded = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Look at the operands of a product, and compute it."""
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            a, b = args[0].shape[-2:], args[1].shape[-2:]
            if b == self.shape:
                self._count(a[0], any(operand.requires_grad for operand in args))
            elif a == self.shape[::-1]:
                self._count(b[1], any(operand.requires_grad for operand in args))
            elif {a[0], b[1]} == {*self.shape}:
                self.most_back = max(self.most_back, a[1])
        return func(*args, **(kwargs or {}))

    def _count(self, rows: int, with_gradient: bool) -> None:
        self.most = max(self.most, rows)
        self.forward += rows
        if torch.is_grad_enabled() and with_gradient:
            self.recorded += rows


def _takes_parts(attempt: Answer) -> str | None:
    """A hint if a function takes more than ``micro`` rows through the weights at one time, or keeps what they need."""
    x, w, micro = normal(16, 5, seed=5), normal(5, 7, seed=6), 3
    with set_checkpoint_early_stop(False), _RowsThroughWeights(w.shape) as seen:  # a recomputation counts to its end
        attempt(x, w, 0.2, micro)
    if seen.most > micro:
        return (
            f"The gradient is right, but your function takes {seen.most} rows through the network at one time, where "
            f"`micro` is {micro}. The point is that no more than `micro` rows need memory for activations."
        )
    if seen.most_back > micro:
        return (
            f"The gradient is right, but on the way back you multiply {seen.most_back} rows of x at one time, where "
            f"`micro` is {micro}. In a real network that takes the activations of all of them. Send each part back by "
            "itself, and add up."
        )
    if seen.recorded == seen.forward == len(x):  # no part goes through the weights again
        return (
            "The gradient is right, but autograd keeps the activations of all parts until the loss is known. Compute z "
            "within `torch.no_grad()`, and send each part back when the gradient of z is known."
        )
    return None


cached_gradient = Exercise(
    solution=_by_parts,
    cases=[
        (normal(8, 5, seed=3), normal(5, 4, seed=4), 0.5, 4),
        (normal(20, 3, seed=5), normal(3, 6, seed=6), 0.2, 6),
    ],
    misconceptions=[
        Misconception(
            hint="That is gradient accumulation: each micro-batch had a loss of its own, with few negatives. Take the "
            "loss of all z first, then its gradient with respect to z.",
            answer=_accumulated,
        ),
        Misconception(
            hint="You averaged over the micro-batches. z is one loss's input: the parts of its gradient add up.",
            answer=lambda x, w, tau, micro: _cached(x, w, tau, micro, "mean"),
        ),
        Misconception(
            hint="You kept only the last micro-batch's gradient. They add up.",
            answer=lambda x, w, tau, micro: _cached(x, w, tau, micro, "last"),
        ),
        Misconception(
            hint="You took the gradient of the normalised embeddings. nt_xent normalises by itself, and the gradient "
            "with respect to z = x @ w is needed.",
            answer=lambda x, w, tau, micro: x.T @ _gradient_of(F.normalize(x @ w, dim=1), tau),
        ),
        Misconception(
            hint="You divided by the number of rows. nt_xent is a mean already.",
            answer=lambda x, w, tau, micro: _cached(x, w, tau, micro) / len(x),
        ),
        Misconception(
            hint="This is the gradient of z. One step is missing: the gradient of the weights, of the shape of w.",
            answer=lambda x, w, tau, micro: _gradient_of(x @ w, tau),
        ),
        Misconception(
            hint="Only the rows of the first views are in your sum. The second views go through the network, too.",
            answer=lambda x, w, tau, micro: x.chunk(2)[0].T @ _gradient_of(x @ w, tau).chunk(2)[0],
        ),
        Misconception(
            hint="The last rows are missing in your sum: the last part may be smaller than `micro`.",
            answer=lambda x, w, tau, micro: (
                x[: len(x) // micro * micro].T @ _gradient_of(x @ w, tau)[: len(x) // micro * micro]
            ),
        ),
        Misconception(
            hint="This is the gradient with its rows and columns exchanged. It should have the shape of w: part.T @ "
            "the gradient of its rows.",
            answer=lambda x, w, tau, micro: _cached(x, w, tau, micro).T,
        ),
        Misconception(
            hint="This is the loss. Return its gradient with respect to w.",
            answer=lambda x, w, tau, micro: _whole(x @ w, tau),
        ),
        Misconception(
            hint="Each part of the gradient belongs to the same rows of x: keep the order of the parts.",
            answer=lambda x, w, tau, micro: x.T @ torch.cat(_gradient_of(x @ w, tau).split(micro)[::-1]),
        ),
        Misconception(
            hint="That is gradient accumulation: each part had a loss of its own. Besides, a part of consecutive rows "
            "holds first views without their partners. Take the loss of all z first, then its gradient with respect "
            "to z.",
            answer=lambda x, w, tau, micro: sum(_cached(part, w, tau, micro) for part in x.split(micro)),
        ),
        Misconception(
            hint="That is gradient accumulation: each part had a loss of its own. Besides, a part of consecutive rows "
            "holds first views without their partners. Take the loss of all z first, then its gradient with respect "
            "to z.",
            answer=lambda x, w, tau, micro: (
                sum(_cached(part, w, tau, micro) for part in x.split(micro)) / math.ceil(len(x) / micro)
            ),
        ),
        Misconception(
            hint="These are the gradients of the parts. Add them up.",
            answer=lambda x, w, tau, micro: [
                part.T @ sent for part, sent in zip(x.split(micro), _gradient_of(x @ w, tau).split(micro), strict=True)
            ],
        ),
    ],
    constraint=_takes_parts,
)

# 4. The speed-up by several processes


def _speed_up(
    compute: float,
    megabytes: float,
    processes: int,
    bandwidth: float,
    rounds: int = 2,
    share: bool = True,
    bits: bool = False,
) -> float:
    sent = megabytes * 1e6 * rounds * ((processes - 1) / processes if share else processes - 1)
    return compute / (compute / processes + sent / (bandwidth * 1e9) * (8 if bits else 1))


speed_up = Exercise(
    solution=_speed_up,
    cases=[(0.5, 45.0, 1, 10.0), (0.5, 45.0, 8, 10.0), (0.2, 94.0, 64, 1.25)],
    misconceptions=[
        Misconception(
            hint="That is the speed-up if exchange were free.",
            answer=lambda compute, megabytes, processes, bandwidth: processes,
        ),
        Misconception(
            hint="The data go around twice: once to add up, and once more to hand the sums out.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, megabytes, processes, bandwidth, 1
            ),
        ),
        Misconception(
            hint="Megabytes and gigabytes are a factor of 1,000 apart.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, 1000 * megabytes, processes, bandwidth
            ),
        ),
        Misconception(
            hint="A process never sends its own part around: of the data it passes on (W − 1) / W, twice.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / (compute / processes + 2 * megabytes / 1e3 / bandwidth)
            ),
        ),
        Misconception(
            hint="In a ring nobody sends everything to everybody: in each of its steps a process passes on 1 / W of "
            "the data.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, megabytes, processes, bandwidth, share=False
            ),
        ),
        Misconception(
            hint="Bandwidth is in gigabytes a second here, not in gigabits: no factor 8.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, megabytes, processes, bandwidth, bits=True
            ),
        ),
        Misconception(
            hint="Each process computes its share of the batch only: compute / W.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / (compute + 2 * (processes - 1) / processes * megabytes / 1e3 / bandwidth)
            ),
        ),
        Misconception(
            hint="This is the time in seconds. The speed-up is one process's seconds divided by theirs.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / _speed_up(compute, megabytes, processes, bandwidth)
            ),
        ),
        Misconception(
            hint="You divided by the number of processes: that is the efficiency.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                _speed_up(compute, megabytes, processes, bandwidth) / processes
            ),
        ),
        Misconception(
            hint="All links work at the same time, but each passes on (W − 1) / W of the data twice: do not divide the "
            "exchange by W once more.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, megabytes / (processes - 1 or 1), processes, bandwidth
            ),
        ),
        Misconception(
            hint="Your exchange takes W times as long with W processes. In a ring all links work at the same time: "
            "each process passes on (W − 1) / W of the data twice, however many there are.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / (compute / processes + 2 * megabytes / 1e3 / bandwidth * processes)
            ),
        ),
        Misconception(
            hint="You divided the exchange by W, as if each process sent only its own part, twice. Each process "
            "passes on more than that: (W − 1) / W of the data, twice.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / (compute / processes + 2 * megabytes / 1e3 / bandwidth / processes)
            ),
        ),
        Misconception(
            hint="That is a tree, in which log₂ W rounds each pass on all data. In a ring a process passes on (W − 1) "
            "/ W of the data, twice.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / (compute / processes + 2 * math.ceil(math.log2(processes)) * megabytes / 1e3 / bandwidth)
            ),
        ),
        Misconception(
            hint="Both the megabytes and the gigabytes count bytes here: no factor 8.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, megabytes / 8, processes, bandwidth
            ),
        ),
        Misconception(
            hint="You subtracted the seconds of the exchange from the number of processes. Add them to the seconds of "
            "the computation first, and divide then.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                processes - 2 * (processes - 1) / processes * megabytes / 1e3 / bandwidth
            ),
        ),
        Misconception(
            hint="You took the larger of the two. Here they first compute and then exchange: add the times up.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / max(compute / processes, 2 * (processes - 1) / processes * megabytes / 1e3 / bandwidth)
            ),
        ),
        Misconception(
            hint="You multiplied by the bandwidth: a faster link takes less time.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, megabytes, processes, 1 / bandwidth
            ),
        ),
        Misconception(
            hint="Megabytes and gigabytes are a factor of 1,000 apart here, not 1,024.",
            answer=lambda compute, megabytes, processes, bandwidth: _speed_up(
                compute, megabytes / 1.024, processes, bandwidth
            ),
        ),
        Misconception(
            hint="The ratio is upside down: one process's seconds divided by theirs.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                1 / _speed_up(compute, megabytes, processes, bandwidth)
            ),
        ),
        Misconception(
            hint="The data go around twice, and each time a process passes on (W − 1) / W of them.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute / (compute / processes + megabytes / 1e3 / bandwidth)
            ),
        ),
        Misconception(
            hint="That is how many seconds a step is shorter. The speed-up is one process's seconds divided by theirs.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute - compute / _speed_up(compute, megabytes, processes, bandwidth)
            ),
        ),
        Misconception(
            hint="The share is upside down: a process passes on (W − 1) / W of the data, which is less than all of "
            "them.",
            answer=lambda compute, megabytes, processes, bandwidth: (
                compute
                / (
                    compute / processes
                    + 2 * megabytes / 1e3 / bandwidth * (processes / (processes - 1) if processes > 1 else 0)
                )
            ),
        ),
    ],
    tolerance=1e-6,
)

EXERCISES = collect(globals())
