"""The competitors of ``simclr bench``: this package, kornia, lightly and torchvision at the same work.

Everybody has the same images, the same operations with the same probabilities, and the same network. Each library is
used as its documentation shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import io
from torchvision.transforms import v2

from simclr_lib.augment import SimCLRAugment, to_unit_range
from simclr_lib.data import Reading
from simclr_lib.data.pixels import read_square
from simclr_lib.device import autocast, cores, gradient_scaler, place
from simclr_lib.distributed import distribute_and_compile
from simclr_lib.loop import BatchLoss, train_step
from simclr_lib.losses import nt_xent
from simclr_lib.models import ProjectionHead, ResNet, SimCLR, resnet18
from simclr_lib.objectives import contrastive_objective
from simclr_lib.optim import build_optimizer, default_lr


def pil_images(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 3, H, W] → N images, the form that torchvision's data sets give."""
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


# Decoding: a JPEG file becomes RGB pixels of size × size.


def our_decoding(files: Sequence[Path], size: int) -> Iterator[int]:
    """One file at a time, as each thread that fills the cache reads it: its central square."""
    reading = Reading(size)
    while True:
        for file in files:
            read_square(file, reading)
            yield 1


def pillow_decoding(files: Sequence[Path], size: int) -> Iterator[int]:
    """One file at a time, as most programs read it: all of its pixels are decoded."""
    while True:
        for file in files:
            with Image.open(file) as image:
                image.convert("RGB").resize((size, size))
            yield 1


def torchvision_decoding(files: Sequence[Path], size: int) -> Iterator[int]:
    """One file at a time, to a tensor."""
    while True:
        for file in files:
            v2.functional.resize(io.decode_jpeg(io.read_file(str(file)), io.ImageReadMode.RGB), [size, size])
            yield 1


# Augmentation: crop, flip, jitter at strength 0.5 and grayscale; no blur, as the paper has it for CIFAR-10 (B.9).


def our_views(images: Tensor) -> Iterator[int]:
    """One view of each image of a batch, uint8 [N, 3, H, W], at a time."""
    augment = SimCLRAugment(images.shape[-1], color_strength=0.5, blur_prob=0.0)
    while True:
        yield len(augment(images))


def kornia_views(images: Tensor) -> Iterator[int]:
    """One view of each image of a batch, uint8 [N, 3, H, W], at a time."""
    transform = kornia_transform(images.shape[-1])
    while True:
        yield len(transform(to_unit_range(images)))


def kornia_transform(size: int) -> Callable[[Tensor], Tensor]:
    """kornia's operations on a batch, float [N, 3, size, size] in [0, 1]."""
    from kornia import augmentation as K

    return K.AugmentationSequential(
        K.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        data_keys=["input"],
    )


def torchvision_views(pictures: list[Image.Image]) -> Iterator[int]:
    """One view of one image at a time."""
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(pictures[0].height),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    while True:
        for picture in pictures:
            augment(picture)
            yield 1


def lightly_views(pictures: list[Image.Image]) -> Iterator[int]:
    """Two views of one image at a time."""
    transform = lightly_transform(pictures[0].height)
    while True:
        for picture in pictures:
            yield len(transform(picture))


def lightly_transform(size: int) -> Callable[[Image.Image], Any]:
    """lightly's SimCLR transform with these operations: two views of an image, not normalised."""
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0, normalize=None)


# Pretraining: an image is two views, and an AdamW step is one for both.


def our_training(encoder: ResNet, images: Tensor, batch_size: int, compiled: bool = False) -> Iterator[int]:
    """The steps that `simclr_lib.training.pretrain` takes, without its logs."""
    model = new_model(encoder, images.device)
    network = distribute_and_compile(model, compiled)
    augment = SimCLRAugment(images.shape[-1], color_strength=0.5, blur_prob=0.0)
    if compiled and images.device.type == "cuda":
        augment = augment.compiled()
    steps = training_steps(model, contrastive_objective(network, images, augment, temperature=0.5), images, batch_size)
    for _ in range(3 if compiled else 0):  # CUDA graphs are recorded in the second step
        next(steps)
    yield from steps


def kornia_training(encoder: ResNet, images: Tensor, batch_size: int) -> Iterator[int]:
    """`our_training` with kornia's augmentation in place of ours."""
    model = new_model(encoder, images.device)
    transform = kornia_transform(images.shape[-1])

    def objective(indices: Tensor, generator: torch.Generator) -> Tensor:
        batch = to_unit_range(images[indices.to(images.device, non_blocking=True)])
        with torch.autocast(images.device.type, enabled=False):
            views = torch.cat([transform(batch), transform(batch)])
        _, z = model(views.contiguous(memory_format=torch.channels_last))
        z_a, z_b = z.chunk(2)
        return nt_xent(z_a, z_b, temperature=0.5)

    return training_steps(model, objective, images, batch_size)


def new_model(encoder: ResNet, device: torch.device) -> SimCLR:
    """An encoder with a projection head of 512 units."""
    return place(SimCLR(encoder, ProjectionHead(encoder.feature_dim, 512)), device)


def training_steps(model: SimCLR, objective: BatchLoss, images: Tensor, batch_size: int) -> Iterator[int]:
    """Steps of AdamW on random batches, by the training loop's own `train_step`."""
    optimizer = build_optimizer("adam", model, default_lr("adam", batch_size), weight_decay=1e-4)
    generator, scaler = torch.Generator(), gradient_scaler(images.device)
    while True:
        indices = torch.randint(len(images), (batch_size,), generator=generator)
        train_step(optimizer, objective, indices, generator, autocast(images.device), scaler)
        yield batch_size


class TwoViews(Dataset[list[Tensor]]):
    """Two views of each image, made by lightly."""

    def __init__(self, pictures: list[Image.Image]) -> None:
        self.pictures = pictures
        self.transform = lightly_transform(pictures[0].height)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.pictures[index])


def lightly_training(
    encoder: ResNet, pictures: list[Image.Image], device: torch.device, batch_size: int
) -> Iterator[int]:
    """The loop of lightly's documentation, with a worker per core, our encoder and AdamW."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead

    model = nn.Sequential(encoder, SimCLRProjectionHead(encoder.feature_dim, 512, 128)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=default_lr("adam", batch_size), weight_decay=1e-4)
    criterion = NTXentLoss()
    dataset = TwoViews(pictures)
    endless = RandomSampler(dataset, replacement=True, num_samples=2**40)
    for view_a, view_b in DataLoader(dataset, batch_size, sampler=endless, num_workers=cores()):
        z_a = model(view_a.to(device))
        z_b = model(view_b.to(device))
        loss = criterion(z_a, z_b)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield batch_size


# Loss and optimiser.


def loss_steps(
    loss: Callable[[Tensor, Tensor], Tensor], pairs: int, device: torch.device, dim: int = 128
) -> Iterator[int]:
    """Forward and backward passes of a contrastive loss of ``pairs`` pairs of embeddings of length ``dim``."""
    z_a, z_b = torch.randn(2, pairs, dim, device=device).requires_grad_().unbind()
    while True:
        torch.autograd.grad(loss(z_a, z_b), (z_a, z_b))
        yield 1


def lightly_loss_steps(pairs: int, device: torch.device) -> Iterator[int]:
    """`loss_steps` with lightly's NT-Xent."""
    from lightly.loss import NTXentLoss

    return loss_steps(NTXentLoss(), pairs, device)


def loss_work(anchors: int, others: int, dim: int = 128) -> float:
    """Multiplications and additions in NT-Xent's three matrix products, between pairs of anchors and of others."""
    return 3 * 2 * (2 * anchors) * (2 * others) * dim


def optimizer_steps(optimizer: Callable[..., torch.optim.Optimizer], device: torch.device) -> Iterator[int]:
    """Steps of an optimiser over the parameters of a ResNet-18, with random gradients."""
    params = list(resnet18().to(device).parameters())
    for p in params:
        p.grad = torch.randn_like(p)
    step = optimizer(params, lr=1e-3, momentum=0.9, weight_decay=1e-4).step
    while True:
        step()
        yield 1


def lightly_lars_steps(device: torch.device) -> Iterator[int]:
    """`optimizer_steps` with lightly's LARS."""
    from lightly.utils.lars import LARS

    return optimizer_steps(LARS, device)
