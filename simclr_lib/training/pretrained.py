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
        SimCLRError: there are no such weights, or they are damaged.
    """
    bundled = {file.stem: file for file in WEIGHTS.glob("*.pt")}
    path = bundled.get(str(source)) or Path(source).expanduser()
    return load_run(path, pick_device(device))[0]


def load_run(path: Path, device: torch.device) -> tuple[SimCLR, TrainConfig]:
    """The pretrained model of a checkpoint, in evaluation mode, with the settings it was trained with.

    Args:
        path: a run's folder, or its checkpoint.pt.
        device: the device that the model is placed on.

    Raises:
        SimCLRError: there is no such checkpoint, it is damaged, or it is not one of a SimCLR run.
    """
    state = load_checkpoint(path)
    if not {"config", "model", "facts"} <= state.keys():
        raise SimCLRError(f"{path} is not the checkpoint of a run: give the run's folder or its checkpoint.pt.")
    try:
        config = TrainConfig.from_dict(state["config"])
        if not config.contrastive:
            raise SimCLRError(f"{path} was trained with labels: give the checkpoint of a SimCLR run.")
        image_size = state["facts"].get("image_size", 32)
        config = config.resolved(image_size)  # the stem stays, whatever size is evaluated
        with torch.device("meta"):  # no memory is used before the names and shapes of the weights are known to fit
            model = config.simclr(image_size)
        model.load_state_dict(state["model"], assign=True)
    except SimCLRError:
        raise
    except Exception as error:  # settings of a wrong kind can make any part of the network stumble
        raise SimCLRError(
            f"the weights in {path} do not fit its settings: it is damaged, or of another version. Use another copy."
        ) from error
    return place(model.float(), device).eval(), config
