"""The notebooks' panels: sliders above one picture that they change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import ipywidgets as widgets
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from simclr_lib.augment import SimCLRAugment
from simclr_lib.data import ImageDataset
from simclr_lib.data.emblems import CLASSES
from simclr_lib.errors import percentage
from simclr_lib.evaluation import labels_needed
from simclr_lib.seeding import seeded
from simclr_lib.teaching.notebook import Panel
from simclr_lib.teaching.plots import (
    INK,
    NO_CLASS,
    SOURCE_STYLE,
    dots_and_means,
    in_per_cent,
    in_plain_numbers,
    new_figure,
    tidy,
    tile,
)
from simclr_lib.teaching.style import OKABE_ITO, drawn

VIEWS, VIEWS_PER_ROW = 24, 8


class Repeat(widgets.Button, widgets.ValueWidget):
    """A button whose value is the number of its clicks."""

    value = traitlets.Int(0)

    def __init__(self, **properties: Any) -> None:
        super().__init__(**properties)
        self.on_click(self._count)

    def _count(self, button: widgets.Button) -> None:
        self.value += 1


def augmentation_panel(dataset: ImageDataset) -> Panel:
    """A slider for every parameter of the augmentations, above 24 views of one image.

    With "same randomness" the random draws stay as they are while a slider moves. Without it every change makes new
    draws, and "resample" always does.
    """

    def draw(
        image: int,
        crop_area: tuple[float, float],
        log2_ratio: tuple[float, float],
        flip_prob: float,
        color_strength: float,
        color_prob: float,
        gray_prob: float,
        blur_prob: float,
        blur_sigma: tuple[float, float],
        same_randomness: bool,
        resample: int,
    ) -> tuple[Figure, str]:
        settings = {
            "crop_scale": crop_area,
            "crop_ratio": (2 ** log2_ratio[0], 2 ** log2_ratio[1]),
            "flip_prob": flip_prob,
            "color_strength": color_strength,
            "color_prob": color_prob,
            "gray_prob": gray_prob,
            "blur_prob": blur_prob,
            "blur_sigma": blur_sigma,
        }
        augment = SimCLRAugment(dataset.image_size, **settings)  # type: ignore[arg-type]
        # Each setting has a random stream of its own: a change makes new draws, and going back shows the old picture.
        stream: tuple[int | str, ...] = (resample,) if same_randomness else (resample, *map(str, settings.values()))
        height, width = dataset.images.shape[-2:]
        params = augment.sample(VIEWS, height, width, seeded(0, "panel", *stream))
        original = dataset.images[image : image + 1]
        views = augment.apply(original.expand(VIEWS, -1, -1, -1), params)
        label = int(dataset.labels[image])
        figure = _draw_views(original, dataset.classes[label] if label >= 0 else NO_CLASS, views)
        area = (params.box[:, 2] * params.box[:, 3]).float().mean() / dataset.images[0, 0].numel()
        text = (
            f"mean crop: {percentage(float(area))} of the image; {int(params.flip.sum())} of {VIEWS} flipped, "
            f"{int(params.gray.sum())} grey, {int((params.sigma > 0).sum())} blurred"
        )
        return figure, text

    return Panel(
        draw,
        "An image, and 24 random views of it under the chosen settings.",
        image=widgets.IntSlider(3, 0, min(len(dataset), 100) - 1),
        **_augmentation_sliders(),
        same_randomness=widgets.Checkbox(True, indent=False),
        resample=Repeat(tooltip="new random draws"),
    )


def _draw_views(original: Tensor, name: str, views: Tensor) -> Figure:
    """An image, uint8 [1, 3, H, W], with the name of its class, beside its views, float [V, 3, S, S] in [0, 1]."""
    figure, (left, right) = new_figure(9, 3.1, 1, 2, width_ratios=[1, 2.75])
    tile(left, original, columns=1)
    left.set_title(drawn(name), fontsize=10, color=INK)
    tile(right, views, columns=VIEWS_PER_ROW)
    right.set_title(f"{len(views)} views", fontsize=10, color=INK)
    return figure


def _augmentation_sliders() -> dict[str, widgets.ValueWidget]:
    """A slider for every parameter of `SimCLRAugment`, at its default."""
    defaults = SimCLRAugment()
    probability = {"min": 0.0, "max": 1.0, "step": 0.05}
    return {
        "crop_area": widgets.FloatRangeSlider(
            description="crop: area", value=defaults.crop_scale, min=0.02, max=1.0, step=0.02
        ),
        "log2_ratio": widgets.FloatRangeSlider(
            description="crop: log₂ of ratio", value=(-0.4, 0.4), min=-1.0, max=1.0, step=0.1
        ),
        "flip_prob": widgets.FloatSlider(defaults.flip_prob, description="flip: probability", **probability),
        "color_strength": widgets.FloatSlider(
            defaults.color_strength, description="colour: strength", min=0.0, max=2.0, step=0.1
        ),
        "color_prob": widgets.FloatSlider(defaults.color_prob, description="colour: probability", **probability),
        "gray_prob": widgets.FloatSlider(defaults.gray_prob, description="grey: probability", **probability),
        "blur_prob": widgets.FloatSlider(defaults.blur_prob, description="blur: probability", **probability),
        "blur_sigma": widgets.FloatRangeSlider(
            description="blur: σ in pixels", value=defaults.blur_sigma, min=0.01, max=3.0, step=0.01
        ),
    }


def temperature_panel(embeddings: Tensor, sweep: Mapping[str, Any]) -> Panel:
    """The share of each negative in the push on an anchor, for any τ, beside the measured effect of τ on pretraining.

    Args:
        embeddings: unit vectors, float [2N, D], first all first views, then all second views.
        sweep: the results file of ``simclr sweep temperature``.
    """
    n = len(embeddings) // 2
    similarity = embeddings @ embeddings.T
    measured = {
        float(name.rpartition("= ")[2]): row["labels_all"] for name, row in sweep["results"].items() if "τ" in name
    }

    def draw(anchor: int, temperature: float) -> tuple[Figure, str]:
        others = torch.ones(2 * n, dtype=torch.bool)
        others[[anchor, (anchor + n) % (2 * n)]] = False
        negatives = similarity[anchor][others].sort(descending=True).values  # [2N − 2]
        weights = torch.softmax(negatives / temperature, dim=0)
        positive = float(similarity[anchor, (anchor + n) % (2 * n)])
        effective = float(torch.special.entr(weights).sum().exp())
        figure = _draw_temperature(negatives, positive, weights, measured, temperature)
        text = (
            f"τ = {temperature:.3g}: the effective number of negatives is {effective:.1f} of {len(weights)}; the "
            f"most similar one does {percentage(float(weights[0]))} of the pushing."
        )
        return figure, text

    return Panel(
        draw,
        "Left: similarities of an anchor's negatives and of its partner. Middle: the share of the negatives' push that "
        "the most similar ones have. Right: measured accuracy against temperature, a dot for each seed and a line "
        "through the means, with the chosen temperature marked.",
        anchor=widgets.IntSlider(5, 0, n - 1),
        # The slider goes from 0.02 to 2 in twenty steps for each factor of ten, so that 0.2 is one of its values.
        temperature=widgets.FloatLogSlider(
            value=0.2, base=10, min=math.log10(0.02), max=math.log10(2), step=0.05, readout_format=".3"
        ),
    )


def _draw_temperature(
    negatives: Tensor, positive: float, weights: Tensor, measured: Mapping[float, Mapping], temperature: float
) -> Figure:
    """The similarities of an anchor's negatives and partner, the negatives' push, and measured accuracies.

    Args:
        negatives: similarities to the anchor in descending order, float [2N − 2].
        positive: similarity of the partner to the anchor.
        weights: share of each negative in the push, float [2N − 2].
        measured: temperature → {"mean", "values"}, the accuracies of all seeds.
        temperature: the chosen temperature.
    """
    figure, (left, middle, right) = new_figure(9, 3.1, 1, 3)
    left.hist(negatives, bins=30, range=(-1, 1), color=OKABE_ITO["sky blue"], label="negatives")
    left.axvline(positive, color=OKABE_ITO["bluish green"], lw=2.5, label="partner")
    left.set(xlabel="cosine similarity to the anchor", ylabel="embeddings", xlim=(-1, 1))
    left.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    middle.plot(range(1, len(weights) + 1), weights.cumsum(0), color=OKABE_ITO["vermillion"], lw=2)
    middle.set(xscale="log", xlim=(1, None), ylim=(0, 1.02))
    middle.set(xlabel="number of most similar negatives", ylabel="their share of the push")
    in_plain_numbers(middle.xaxis)
    in_per_cent(middle.yaxis)
    dots_and_means(right, measured, OKABE_ITO["blue"], "o")
    right.axvline(temperature, color=OKABE_ITO["orange"], ls="--", lw=2)
    right.set(xscale="log", xlabel="τ", ylabel="accuracy of a linear head", ylim=(0, 1.02))
    in_per_cent(right.yaxis)
    right.set_xticks(list(measured), [f"{tau:g}" for tau in measured])
    right.minorticks_off()
    for axes in (left, middle, right):
        tidy(axes)
    return figure


def labels_panel(sweep: Mapping[str, Any]) -> Panel:
    """The number of labels that each way of training needs for a chosen accuracy.

    Args:
        sweep: the results file of ``simclr sweep labels``.
    """
    measured: dict[str, dict[float, Mapping]] = {}  # source → labels per class → accuracy
    for source, row in sweep["results"].items():
        few = {column.removeprefix("labels_"): accuracy for column, accuracy in row.items()}
        measured[source] = {float(labels): accuracy for labels, accuracy in few.items() if labels.isdecimal()}
        measured[source][sweep["num_train"] / len(CLASSES)] = row["labels_all"]
    budgets = sorted({budget for accuracies in measured.values() for budget in accuracies})

    def draw(target: float) -> tuple[Figure, str]:
        figure, (axes,) = new_figure(8.5, 4)
        needed = {
            source: _draw_labels_needed(axes, source, accuracies, budgets, target)
            for source, accuracies in measured.items()
        }
        axes.axhline(target, color=OKABE_ITO["black"], lw=1)
        axes.set(xscale="log", ylim=(0, 1.02), xlabel="labels per class", ylabel="test accuracy")
        axes.set_xticks(budgets, [f"{budget:,.0f}" for budget in budgets])
        in_per_cent(axes.yaxis)
        axes.minorticks_off()
        tidy(axes)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        listed = "; ".join(f"{source}: {labels}" for source, labels in needed.items())
        return figure, f"Labels per class for {percentage(target)}: {listed}."

    targets = [(percentage(hundredths / 100), hundredths / 100) for hundredths in range(20, 100)]
    return Panel(
        draw,
        "Test accuracy against labels per class for each way of training. A line marks the target, and a ring where a "
        "curve crosses it. A curve is dotted where it skips a number of labels that was measured for the others.",
        target=widgets.SelectionSlider(options=targets, value=0.9),
    )


def _draw_labels_needed(
    axes: Axes, source: str, accuracies: Mapping[float, Mapping], budgets: Sequence[float], target: float
) -> str:
    """Draw the accuracies of one way of training, and say how many labels per class it needs.

    Args:
        axes: where to draw.
        source: the way of training.
        accuracies: labels per class → {"mean", "std"}.
        budgets: labels per class that were measured for any way of training, in ascending order.
        target: the accuracy to reach.
    """
    color, marker, line = SOURCE_STYLE[source]
    means = {labels: accuracies[labels]["mean"] for labels in sorted(accuracies)}
    bars = [accuracies[labels]["std"] for labels in means]
    axes.errorbar(list(means), list(means.values()), bars, color=color, marker=marker, ls="", capsize=3)
    gaps = []
    for few, many in pairwise(means):
        skips = any(few < budget < many for budget in budgets)
        gaps += [(few, many)] if skips else []
        axes.plot([few, many], [means[few], means[many]], color=color, ls=":" if skips else line)
    axes.plot([], [], color=color, marker=marker, ls=line, label=source)  # the legend's line
    needed = labels_needed(means, target)
    if needed is None:
        return "not reached"
    if needed == min(means):
        return f"{needed:,.0f} or fewer"
    for few, many in gaps:
        if few < needed < many:
            return f"between {few:,.0f} and {many:,.0f} labels (not measured)"
    axes.plot(needed, target, marker="o", ms=14, mfc="none", mec=color, mew=2)
    return f"about {needed:,.0f}"


def scaling_panel(step: Callable[[int, int, float, float, float], Mapping[str, float]]) -> Panel:
    """The time of a training step on 1 to 256 processes according to a model, and the parts of that time.

    Args:
        step: maps (processes, images per step, speed of each process's device, GB/s, microseconds per message) to the
            seconds of each part of a step: {"compute", "loss", "exchange"}.
    """
    numbers = [2**k for k in range(9)]

    def draw(log2_batch: int, device_speed: float, bandwidth: float, latency: float) -> tuple[Figure, str]:
        batch_size = 2**log2_batch
        parts = [step(processes, batch_size, device_speed, bandwidth, latency) for processes in numbers]
        seconds = [sum(part.values()) for part in parts]
        speed = [batch_size / total for total in seconds]
        figure = _draw_scaling(numbers, parts, speed)
        best = max(range(len(numbers)), key=speed.__getitem__)
        text = (
            f"{batch_size:,} images per step: {in_seconds(seconds[0])} on one process; {in_seconds(seconds[-1])} "
            f"on {numbers[-1]}, of which {percentage(parts[-1]['exchange'] / seconds[-1])} is exchange. "
        )
        if best:
            text += f"{numbers[best]} processes are fastest: {speed[best] / speed[0]:.3g} times as fast as one."
        else:
            text += "One process is fastest."
        return figure, text

    def slider(description: str, value: float, lowest: int) -> widgets.FloatLogSlider:
        """A slider from 10 to the power of ``lowest`` to 1,000."""
        return widgets.FloatLogSlider(
            description=description, value=value, base=10, min=lowest, max=3, step=0.25, readout_format=".4"
        )

    return Panel(
        draw,
        "Left: shares of a step's time for computing, the loss, and exchange, from 1 to 256 processes. Right: images "
        "per second against the number of processes, beside a line for exchange that costs nothing.",
        log2_batch=widgets.IntSlider(12, 8, 15, description="log₂ of the batch"),
        device_speed=slider("speed, × this CPU", 1, 0),
        bandwidth=slider("bandwidth, GB/s", 10, -1),
        latency=slider("latency, µs", 30, 0),
    )


def in_seconds(seconds: float) -> str:
    """A duration such as "44.1 ms" or "7.3 s"."""
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _draw_scaling(numbers: Sequence[int], parts: Sequence[Mapping[str, float]], speed: Sequence[float]) -> Figure:
    """Shares of a step's time, and images per second.

    Args:
        numbers: numbers of processes.
        parts: the seconds of each part of a step, for each number of processes.
        speed: images per second, for each number of processes.
    """
    figure, (left, right) = new_figure(9, 3.3, 1, 2)
    styles = {"compute": ("blue", ""), "loss": ("bluish green", ".."), "exchange": ("vermillion", "//")}
    bottom = torch.zeros(len(numbers))
    for name, (color, hatch) in styles.items():
        share = torch.tensor([part[name] / sum(part.values()) for part in parts])
        left.bar(range(len(numbers)), share, bottom=bottom, color=OKABE_ITO[color], hatch=hatch, ec="white", label=name)
        bottom = bottom + share
    left.set_xticks(range(len(numbers)), [str(n) for n in numbers])
    left.set(xlabel="processes", ylabel="share of a step's time", ylim=(0, 1))
    in_per_cent(left.yaxis)
    left.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    right.plot(numbers, speed, color=OKABE_ITO["blue"], marker="o", label="by the model")
    right.plot(
        numbers, [speed[0] * n for n in numbers], color=OKABE_ITO["black"], ls=":", label="if exchange were free"
    )
    right.set(xscale="log", yscale="log", xlabel="processes", ylabel="images per second")
    right.set_xticks(numbers[::2], [str(n) for n in numbers[::2]])
    right.minorticks_off()
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        tidy(axes)
    return figure
