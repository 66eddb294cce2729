"""ResNet encoders (He et al. 2015, arXiv 1512.03385): torchvision's blocks with a choice of stem and width.

They take images of any size. Their parameters have the names that torchvision gives them, so that each can load the
state dict of the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from simclr_lib.choices import Stem
from simclr_lib.errors import SimCLRError, unknown_name

STEMS = {
    "cifar": "3×3 convolution, stride 1, no max-pool: the paper's choice for CIFAR-10 (B.9)",
    "fast": "3×3 convolution, stride 2, no max-pool: a quarter of the work, for CPUs",
    "imagenet": "7×7 convolution, stride 2, and 3×3 max-pool, stride 2: the original",
}


class SubsampledConv2d(nn.Conv2d):
    """A strided 1×1 convolution without padding or bias that first takes every ``stride``-th pixel.

    The result is that of ``nn.Conv2d``. But the gradient of a strided 1×1 convolution with fewer than 8 input channels
    makes PyTorch write beyond its memory (torch 2.14.1, oneDNN, on CPUs with AVX2 and without AVX512).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to float [N, C', H / stride, W / stride], with sides rounded up."""
        rows, columns = self.stride
        return nn.functional.conv2d(x[:, :, ::rows, ::columns], self.weight)


class ResNet(nn.Module):
    """A ResNet without its classifier, which maps images to features h.

    Args:
        block: torchvision's ``BasicBlock`` or ``Bottleneck``.
        depths: number of blocks in each of the four stages.
        stem: a name in `STEMS`.
        width: channels of the first stage (64 in the original).

    Attributes:
        feature_dim: length of h: 8 · width (basic blocks) or 32 · width (bottlenecks).

    Raises:
        SimCLRError: the stem is unknown, or the width is below 1.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: tuple[int, int, int, int],
        stem: Stem = "cifar",
        width: int = 64,
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            raise unknown_name("stem", stem, STEMS)
        if width < 1:
            raise SimCLRError(f"width must be at least 1, not {width}.")
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(3, width, 3, stride=1 if stem == "cifar" else 2, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

        self.feature_dim = width  # grows stage by stage to its final value
        self.layer1 = self._stage(block, depths[0], width, stride=1)
        self.layer2 = self._stage(block, depths[1], 2 * width, stride=2)
        self.layer3 = self._stage(block, depths[2], 4 * width, stride=2)
        self.layer4 = self._stage(block, depths[3], 8 * width, stride=2)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, block: type[BasicBlock | Bottleneck], depth: int, planes: int, stride: int) -> nn.Sequential:
        out_channels = planes * block.expansion
        shortcut = None
        if stride != 1 or self.feature_dim != out_channels:
            convolution = SubsampledConv2d if self.feature_dim < 8 else nn.Conv2d
            shortcut = nn.Sequential(
                convolution(self.feature_dim, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        blocks = [block(self.feature_dim, planes, stride, shortcut)]
        blocks += [block(out_channels, planes) for _ in range(depth - 1)]
        self.feature_dim = out_channels
        return nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Map images, float [N, 3, H, W], to features h, float [N, feature_dim]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)  # mean over all pixels


def resnet18(stem: Stem = "cifar", width: int = 64) -> ResNet:
    """Make a ResNet-18, whose h has 8 · width numbers (512)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), stem, width)


def resnet34(stem: Stem = "cifar", width: int = 64) -> ResNet:
    """Make a ResNet-34, whose h has 8 · width numbers (512)."""
    return ResNet(BasicBlock, (3, 4, 6, 3), stem, width)


def resnet50(stem: Stem = "cifar", width: int = 64) -> ResNet:
    """Make a ResNet-50, whose h has 32 · width numbers (2,048)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), stem, width)
