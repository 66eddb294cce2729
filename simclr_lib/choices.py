"""The names that settings choose from, and the largest numbers that they take.

No torch is needed to know them, so the command line can show them at once.
"""

from __future__ import annotations

from typing import Literal

DATASETS = ("emblems", "cifar10", "cifar100", "stl10", "tinyimagenet", "imagefolder")

Edition = Literal["student", "solutions", "instructor"]
ExportFormat = Literal["torchvision", "timm", "torch", "safetensors", "onnx"]
Fit = Literal["crop", "pad"]
LogName = Literal["tensorboard", "trackio", "wandb"]
OptimizerName = Literal["adam", "sgd", "lars"]
Platform = Literal["linux", "windows", "macos"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
ProjectionMethod = Literal["umap", "pca", "tsne"]
Stem = Literal["cifar", "fast", "imagenet"]

SWEEP_NAMES = (
    *("crop-color", "views", "temperature", "temperature-rate", "optimizers", "batch-size", "steps", "large-batch"),
    *("negatives", "head", "head-rate", "epochs", "recipes", "labels", "shifts"),
)
ONLY_EMBLEMS = ("labels", "shifts")  # sweeps whose recipes were chosen for emblems and suit no other data set
BUNDLED = ("emblems-resnet18", "cifar10-resnet18")  # weights that come with the package

MAX_IMAGE_SIZE = 4096  # pixels; no network here is trained on larger images
MAX_PIXELS = 178_956_970  # of a file that is read unless a larger number is allowed: Pillow's own limit
IMAGENET = "imagenet"  # as initial weights
TIMM = "timm:"  # stands before the name of a network of the timm package
OWN = "module:"  # stands before the class of an encoder that was given as a module
HF = "hf:"  # stands before the name of a data set of the Hugging Face Hub
FORMS = {"base_model": f"{TIMM}NAME", "dataset": f"{HF}NAME"}  # settings that take words of a form beside their choices

NUM_EMBLEM_CLASSES = 10  # silhouettes with a texture of their own in simclr_lib.data.emblems

MAX_COUNT = 2**31 - 1  # images, epochs and other counts: a larger number is a slip of the hand
MAX_SEED = 2**32 - 1  # the largest seed that NumPy takes, and with it UMAP and scikit-learn
