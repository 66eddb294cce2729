"""The notebooks' panels: sliders above one picture that they change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from simclr_lib.augment import SimCLRAugment
from simclr_lib.data import ImageDataset
from simclr_lib.data.emblems import CLASSES
from simclr_lib.evaluation import labels_needed
from simclr_lib.seeding import seeded
from simclr_lib.teaching.notebook import Panel
from simclr_lib.teaching.plots import INK, SOURCE_STYLE, new_figure, tidy, tile
from simclr_lib.teaching.style import OKABE_ITO

VIEWS, VIEWS_A_ROW = 24, 8


def augmentation_panel(dataset: ImageDataset) -> Panel:
    """Every parameter of the augmentations, and 24 views of one image.

    With "same randomness" the random draws stay as they are while a slider moves; without it every change draws anew,
    and "resample" always does.
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
        # Another stream for every setting: so a change draws anew, and yet the same position shows the same picture.
        stream: tuple[int | str, ...] = (resample,) if same_randomness else (resample, *map(str, settings.values()))
        height, width = dataset.images.shape[-2:]
        params = augment.sample(VIEWS, height, width, seeded(0, "panel", *stream))
        original = dataset.images[image : image + 1]
        views = augment.apply(original.expand(VIEWS, -1, -1, -1), params)
        figure, (left, right) = new_figure(9, 3.1, 1, 2, width_ratios=[1, 2.75])
        tile(left, original.float() / 255, columns=1)
        left.set_title(dataset.classes[int(dataset.labels[image])], fontsize=10, color=INK)
        tile(right, views, columns=VIEWS_A_ROW)
        right.set_title(f"{VIEWS} views", fontsize=10, color=INK)
        area = (params.box[:, 2] * params.box[:, 3]).float().mean() / dataset.images[0, 0].numel()
        text = (
            f"mean crop: {area:.0%} of the image; {int(params.flip.sum())} of {VIEWS} flipped, "
            f"{int(params.gray.sum())} grey, {int((params.sigma > 0).sum())} blurred"
        )
        return figure, text

    defaults = SimCLRAugment()
    step = {"min": 0.0, "max": 1.0, "step": 0.05}
    return Panel(
        draw,
        "An image, and 24 random views of it under the chosen settings.",
        image=widgets.IntSlider(3, 0, min(len(dataset), 100) - 1),
        crop_area=widgets.FloatRangeSlider(value=defaults.crop_scale, min=0.02, max=1.0, step=0.02),
        log2_ratio=widgets.FloatRangeSlider(value=(-0.4, 0.4), min=-1.0, max=1.0, step=0.1),
        flip_prob=widgets.FloatSlider(defaults.flip_prob, **step),
        color_strength=widgets.FloatSlider(defaults.color_strength, min=0.0, max=2.0, step=0.1),
        color_prob=widgets.FloatSlider(defaults.color_prob, **step),
        gray_prob=widgets.FloatSlider(defaults.gray_prob, **step),
        blur_prob=widgets.FloatSlider(defaults.blur_prob, **step),
        blur_sigma=widgets.FloatRangeSlider(value=defaults.blur_sigma, min=0.01, max=3.0, step=0.01),
        same_randomness=widgets.Checkbox(True, indent=False),
        resample=widgets.BoundedIntText(0, 0, 999),
    )


def temperature_panel(embeddings: Tensor, sweep: Mapping[str, Any]) -> Panel:
    """Which negatives push an anchor, as τ changes; beside it, what τ did to a measured pretraining.

    Args:
        embeddings: unit vectors [2N, D], first views, then second views.
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
        positive = similarity[anchor, (anchor + n) % (2 * n)]
        effective = float(torch.special.entr(weights).sum().exp())
        figure, (left, middle, right) = new_figure(9, 3.1, 1, 3)
        left.hist(negatives, bins=30, range=(-1, 1), color=OKABE_ITO["sky blue"], label="negatives")
        left.axvline(float(positive), color=OKABE_ITO["bluish green"], lw=2.5, label="partner")
        left.set(xlabel="cosine similarity to the anchor", ylabel="embeddings", xlim=(-1, 1))
        left.legend(frameon=False, fontsize=8, loc="upper left")
        ranks = range(1, len(weights) + 1)
        middle.plot(ranks, weights.cumsum(0), color=OKABE_ITO["vermillion"], lw=2)
        middle.set(
            xscale="log",
            xlabel="most similar negatives",
            ylabel="their share of the push",
            xlim=(1, None),
            ylim=(0, 1.02),
        )
        right.errorbar(
            list(measured),
            [f["mean"] for f in measured.values()],
            [f["std"] for f in measured.values()],
            color=OKABE_ITO["blue"],
            marker="o",
            capsize=3,
        )
        right.axvline(temperature, color=OKABE_ITO["orange"], ls="--", lw=2)
        right.set(xscale="log", xlabel="τ", ylabel="accuracy of a linear head", ylim=(0, 1))
        for axes in (left, middle, right):
            tidy(axes)
        text = (
            f"τ = {temperature:.3g}: the effective number of negatives is {effective:.1f} of {len(weights)}; the "
            f"hardest one does {weights[0]:.0%} of the pushing."
        )
        return figure, text

    return Panel(
        draw,
        "Left: similarities of an anchor's negatives and of its partner. Middle: the share of the negatives' push that "
        "the most similar ones have. Right: measured accuracy against temperature, with the chosen one marked.",
        anchor=widgets.IntSlider(5, 0, n - 1),
        # From 0.02 to 2, twenty steps for each factor of ten, so that 0.2 is one of them.
        temperature=widgets.FloatLogSlider(
            value=0.2, base=10, min=math.log10(0.02), max=math.log10(2), step=0.05, readout_format=".3g"
        ),
    )


def labels_panel(sweep: Mapping[str, Any]) -> Panel:
    """How many labels each way of training needs for an accuracy of one's choice.

    Args:
        sweep: the results file of ``simclr sweep labels``.
    """
    measured: dict[str, dict[float, Mapping]] = {}  # source → labels per class → figure
    for source, row in sweep["results"].items():
        few = {column.removeprefix("labels_"): figure for column, figure in row.items()}
        measured[source] = {float(labels): figure for labels, figure in few.items() if labels.isdecimal()}
        measured[source][sweep["num_train"] / len(CLASSES)] = row["labels_all"]

    def draw(target: float) -> tuple[Figure, str]:
        figure, (axes,) = new_figure(8.5, 4)
        needed = {}
        for source, figures in measured.items():
            color, marker, line = SOURCE_STYLE[source]
            means = {labels: f["mean"] for labels, f in figures.items()}
            axes.errorbar(
                list(means),
                list(means.values()),
                [f["std"] for f in figures.values()],
                color=color,
                marker=marker,
                ls=line,
                capsize=3,
                label=source,
            )
            labels = labels_needed(means, target)
            if labels is None:
                needed[source] = "not reached"
            elif labels == min(means):
                needed[source] = f"{labels:.0f} or fewer"
            else:
                needed[source] = f"about {labels:.0f}"
                axes.plot(labels, target, marker="o", ms=14, mfc="none", mec=color, mew=2)
        axes.axhline(target, color=OKABE_ITO["black"], lw=1)
        budgets = list(next(iter(measured.values())))
        axes.set(xscale="log", ylim=(0, 1.02), xlabel="labels per class", ylabel="test accuracy")
        axes.set_xticks(budgets, [f"{budget:.0f}" for budget in budgets])
        axes.minorticks_off()
        tidy(axes)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        listed = "; ".join(f"{source}: {labels}" for source, labels in needed.items())
        return figure, f"Labels per class for {target:.0%}: {listed}."

    return Panel(
        draw,
        "Test accuracy against labels per class for each way of training, the target as a line; where a curve crosses "
        "it there is a ring.",
        target=widgets.FloatSlider(0.9, min=0.2, max=0.99, step=0.01, readout_format=".0%"),
    )


def scaling_panel(step: Callable[[int, int, float, float, float], Mapping[str, float]]) -> Panel:
    """How long a training step takes on 1 to 256 processes, by a model, and what it spends that time on.

    Args:
        step: from (processes, images a step, speed of a process's device, GB/s, microseconds a message) to the seconds
            of each part of a step.
    """
    numbers = [2**k for k in range(9)]
    styles = {"compute": ("blue", ""), "loss": ("bluish green", ".."), "exchange": ("vermillion", "//")}

    def draw(log2_batch: int, device_speed: float, bandwidth: float, latency: float) -> tuple[Figure, str]:
        batch_size = 2**log2_batch
        parts = [step(processes, batch_size, device_speed, bandwidth, latency) for processes in numbers]
        seconds = [sum(part.values()) for part in parts]
        figure, (left, right) = new_figure(9, 3.3, 1, 2)
        below = torch.zeros(len(numbers))
        for name, (color, hatch) in styles.items():
            share = torch.tensor([part[name] / total for part, total in zip(parts, seconds, strict=True)])
            left.bar(
                range(len(numbers)), share, bottom=below, color=OKABE_ITO[color], hatch=hatch, ec="white", label=name
            )
            below = below + share
        left.set_xticks(range(len(numbers)), [str(n) for n in numbers])
        left.set(xlabel="processes", ylabel="share of a step's time", ylim=(0, 1))
        left.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        speed = [batch_size / total for total in seconds]
        right.plot(numbers, speed, color=OKABE_ITO["blue"], marker="o", label="by the model")
        right.plot(numbers, [speed[0] * n for n in numbers], color=OKABE_ITO["black"], ls=":", label="if it were free")
        right.set(xscale="log", yscale="log", xlabel="processes", ylabel="images per second")
        right.set_xticks(numbers[::2], [str(n) for n in numbers[::2]])
        right.minorticks_off()
        right.legend(frameon=False, fontsize=8)
        for axes in (left, right):
            tidy(axes)
        best = max(range(len(numbers)), key=speed.__getitem__)
        text = (
            f"{batch_size:,} images a step: {1000 * seconds[0]:,.3g} ms on one process; {1000 * seconds[-1]:,.3g} ms "
            f"on {numbers[-1]}, of which {parts[-1]['exchange'] / seconds[-1]:.0%} is exchange. The fastest is "
            f"{numbers[best]}, {speed[best] / speed[0]:.3g} times one."
        )
        return figure, text

    def slider(description: str, value: float, lowest: int) -> widgets.FloatLogSlider:
        """From 10 to the power of ``lowest`` to 1,000."""
        return widgets.FloatLogSlider(
            description=description, value=value, base=10, min=lowest, max=3, step=0.25, readout_format=".3g"
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
