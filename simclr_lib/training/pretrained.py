"""Trained models, from a run's checkpoint or from the weights that come with the package."""

from __future__ import annotations

from pathlib import Path

import torch

from simclr_lib.config import TrainConfig
from simclr_lib.device import pick_device, place
from simclr_lib.errors import SimCLRError
from simclr_lib.models import SimCLR
from simclr_lib.training.checkpoint import load_checkpoint

WEIGHTS = Path(__file__).parent / "weights"


def load_pretrained(source: str | Path, device: str = "auto") -> SimCLR:
    """A pretrained encoder and projection head, in evaluation mode.

    Args:
        source: "emblems-resnet18", the weights that come with the package (the first seed of `simclr demo`, in half
            precision); or a run's folder, or its checkpoint.pt.
        device: cpu, cuda or cuda:N; auto is the GPU if there is one.

    Raises:
        SimCLRError: no such weights, or they are damaged.
    """
    bundled = WEIGHTS / f"{source}.pt"
    return load_run(bundled if bundled.exists() else Path(source), pick_device(device))[0]


def load_run(path: Path, device: torch.device) -> tuple[SimCLR, TrainConfig]:
    """The pretrained model of a checkpoint, in evaluation mode, with the settings it was trained with."""
    state = load_checkpoint(path)
    if not {"config", "model", "facts"} <= state.keys():
        raise SimCLRError(f"{path} is not the checkpoint of a run: give the run's folder or its checkpoint.pt.")
    config = TrainConfig.from_dict(state["config"])
    if not config.contrastive:
        raise SimCLRError(f"{path} was trained with labels: give the checkpoint of a SimCLR run.")
    image_size = state["facts"].get("image_size", 32)
    config = config.resolved(image_size)  # whatever size it is evaluated on
    model = config.simclr(image_size)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise SimCLRError(f"the weights in {path} do not fit its settings: it is damaged. Use another copy.") from error
    return place(model, device).eval(), config
