"""The random views of SimCLR (arXiv 2002.05709, section 3 and appendix A), batch by batch, on the device of the images.

A view is made by a random resized crop, a flip, colour jitter in random order, grayscale and Gaussian blur. Every image
of a batch draws its own parameters. Sampling (`SimCLRAugment.sample`) and applying (`SimCLRAugment.apply`) are
separate, so that a view can be inspected, repeated or changed one parameter at a time.

Crop, flip and blur are linear along rows and along columns. So each of them is two small matrix products for an
image, out = A · image · Bᵀ, and a batch needs no Python loop over its images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from simclr_lib.errors import SimCLRError, type_name

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # the numbers in AugmentParams.order

GRAY_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R 601 luma, as torchvision's rgb_to_grayscale

CPU_BLOCK = 128  # images in a block on the CPU: they fit into the cache, and outweigh the cost of a call

ROUNDING = 1e-4  # how far a float image may lie outside 0…1: a resize rounds


@dataclass(frozen=True)
class AugmentParams:
    """The random choices that make n views. All tensors have n rows.

    Attributes:
        box: int64 [n, 4]: top, left, height, width of the crop, in pixels of the input.
        flip: bool [n]: mirror left–right.
        order: int64 [n, 4]: the order of BRIGHTNESS, CONTRAST, SATURATION and HUE.
        brightness, contrast, saturation: float32 [n]: factors; 1 changes nothing.
        hue: float32 [n]: shift, in turns of the colour circle, −0.5…0.5; 0 changes nothing.
        gray: bool [n]: convert to grayscale.
        sigma: float32 [n]: standard deviation of the blur, in pixels of the output; 0 is no blur.
    """

    box: Tensor
    flip: Tensor
    order: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    gray: Tensor
    sigma: Tensor

    def __len__(self) -> int:
        return len(self.box)

    def __getitem__(self, rows: slice | Tensor) -> AugmentParams:
        return AugmentParams(*(getattr(self, f.name)[rows] for f in fields(self)))

    def to(self, device: torch.device | str) -> AugmentParams:
        """Copy the choices to ``device``."""
        # A copy to a GPU need not be waited for. A copy to the CPU must be, or the CPU reads it before it is there.
        to_gpu = torch.device(device).type == "cuda"
        return AugmentParams(*(getattr(self, f.name).to(device, non_blocking=to_gpu) for f in fields(self)))


@dataclass(frozen=True)
class SimCLRAugment:
    """Random views of a batch of images, as in SimCLR.

    The defaults are those of appendix A of the paper, except for ``blur_sigma``, which is (0.1, 2.0) there. For
    CIFAR-10 the paper (B.9) halves the colour strength and leaves out the blur:
    ``SimCLRAugment(32, color_strength=0.5, blur_prob=0.0)``.

    The operations are torchvision's, as in the paper's PyTorch pseudo-code.

    Args:
        size: height and width of a view, in pixels.
        crop_scale: smallest and largest area of the crop, as a share of the image.
        crop_ratio: smallest and largest width / height of the crop, before it is resized.
        flip_prob: probability of a left–right flip.
        color_strength: s in the jitter ranges 0.8 s (brightness, contrast, saturation) and 0.2 s (hue).
        color_prob: probability that a view is jittered at all.
        gray_prob: probability of grayscale.
        blur_prob: probability of Gaussian blur. The width of its kernel is an odd number near 10 % of ``size``, at
            least 3.
        blur_sigma: smallest and largest standard deviation of the blur, in pixels of the view.

    Raises:
        SimCLRError: a setting is out of its range.

    Example:
        >>> images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
        >>> augment = SimCLRAugment(size=32)
        >>> view_a, view_b = augment(images), augment(images)  # float32 [8, 3, 32, 32] in [0, 1]
    """

    size: int = 32
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: float = 0.5
    color_strength: float = 1.0
    color_prob: float = 0.8
    gray_prob: float = 0.2
    blur_prob: float = 0.5
    blur_sigma: tuple[float, float] = (0.01, 2.0)

    def __post_init__(self) -> None:
        if self.size < 4:
            raise SimCLRError(f"size must be at least 4 pixels, not {self.size}.")
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise SimCLRError(f"{name} must be (low, high) with 0 < low ≤ high, not {(low, high)}.")
        if self.crop_scale[1] > 1:
            raise SimCLRError(f"crop_scale is a share of the image's area: {self.crop_scale[1]} is above 1.")
        for name in ("flip_prob", "color_prob", "gray_prob", "blur_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise SimCLRError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")
        if not 0 <= self.color_strength <= 2.5:
            raise SimCLRError(
                f"color_strength must be between 0 and 2.5 (a hue shift of half a turn), not {self.color_strength}."
            )

    @property
    def kernel_size(self) -> int:
        """Width of the blur's kernel, in pixels: an odd number, about 10 % of ``size``, at least 3."""
        return max(3, int(0.1 * self.size) // 2 * 2 + 1)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Make one random view of each image.

        Args:
            images: uint8 [N, 3, H, W] in 0…255, or float [N, 3, H, W] in 0…1.
            generator: source of randomness; None is the global CPU generator.

        Returns:
            float32 [N, 3, size, size] in [0, 1].

        Raises:
            SimCLRError: the images have another shape, type or range.
        """
        check_images(images)
        height, width = images.shape[-2:]
        return self._views(images, self.sample(len(images), height, width, generator))

    def sample(self, n: int, height: int, width: int, generator: torch.Generator | None = None) -> AugmentParams:
        """Draw the parameters of n views of images of height × width pixels.

        The parameters are on the device of the generator (the CPU if None): with a CPU generator, a GPU sees the same
        views.
        """
        device = generator.device if generator is not None else torch.device("cpu")

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=device) * (high - low) + low

        def coin(probability: float) -> Tensor:
            return torch.rand(n, generator=generator, device=device) < probability

        box = self._sample_boxes(height, width, uniform, n)
        jitter = coin(self.color_prob)
        spread = 0.8 * self.color_strength
        brightness, contrast, saturation = (
            uniform(max(0.0, 1 - spread), 1 + spread, n).where(jitter, 1.0) for _ in range(3)
        )
        hue = uniform(-0.2 * self.color_strength, 0.2 * self.color_strength, n).where(jitter, 0.0)
        return AugmentParams(
            box=box,
            flip=coin(self.flip_prob),
            order=torch.rand(n, 4, generator=generator, device=device).argsort(dim=1),
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            gray=coin(self.gray_prob),
            sigma=uniform(*self.blur_sigma, n).where(coin(self.blur_prob), 0.0),
        )

    def _sample_boxes(self, height: int, width: int, uniform: Callable[..., Tensor], n: int) -> Tensor:
        """Draw crop boxes, int64 [n, 4], as torchvision's RandomResizedCrop does: ten tries, then a centre crop."""
        tries = 10
        area = height * width * uniform(*self.crop_scale, n, tries)
        log_ratio = (math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1]))
        ratio = uniform(*log_ratio, n, tries).exp()
        w = (area * ratio).sqrt().round().long()  # [n, tries]
        h = (area / ratio).sqrt().round().long()
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        first = fits.int().argmax(dim=1, keepdim=True)  # the first try that fits
        w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)
        top = (uniform(0, 1, n) * (height - h + 1)).long()
        left = (uniform(0, 1, n) * (width - w + 1)).long()
        box = torch.stack([top, left, h, w], dim=1)

        fallback_ratio = min(max(width / height, self.crop_ratio[0]), self.crop_ratio[1])
        fallback_w = min(width, round(height * fallback_ratio))
        fallback_h = min(height, round(width / fallback_ratio))
        fallback = box.new_tensor([(height - fallback_h) // 2, (width - fallback_w) // 2, fallback_h, fallback_w])
        return torch.where(fits.any(dim=1, keepdim=True), box, fallback)

    def apply(self, images: Tensor, params: AugmentParams) -> Tensor:
        """Make the views that ``params`` describe: nothing is random here.

        Args:
            images: uint8 [N, 3, H, W] in 0…255, or float [N, 3, H, W] in 0…1.
            params: N rows from `sample`, on any device.

        Returns:
            float32 [N, 3, size, size] in [0, 1].

        Raises:
            SimCLRError: the images have another shape, type or range, or their number is not that of the parameters.
        """
        check_images(images)
        if len(images) != len(params):
            raise SimCLRError(
                f"there are {len(images)} images but parameters for {len(params)}: sample one row for each image."
            )
        return self._views(images, params)

    def compiled(self) -> SimCLRAugment:
        """Return the same augmentation with `apply` compiled, once for each shape of a batch (torch.compile).

        On a GPU larger kernels then take the place of some hundred small ones, which are bound by their launches. On a
        CPU it need not be faster: the compiled form computes every operation for every image.
        """
        fast = replace(self)  # equal to this augmentation: what is compiled is no setting
        object.__setattr__(fast, "_views_of_block", torch.compile(self._views_of_block, dynamic=False))
        return fast

    def _views(self, images: Tensor, params: AugmentParams) -> Tensor:
        # Views are float32 also where the network computes in bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            if images.device.type != "cpu":
                return self._views_of_block(images, params.to(images.device))
            views = images.new_empty(len(images), 3, self.size, self.size, dtype=torch.float32)
            for start in range(0, len(images), CPU_BLOCK):
                rows = slice(start, start + CPU_BLOCK)
                views[rows] = self._views_of_block(images[rows], params[rows].to(images.device))
            return views

    def _views_of_block(self, images: Tensor, params: AugmentParams) -> Tensor:
        views = resized_crop(images, params.box, params.flip, self.size)
        color_jitter_(views, params)
        change_where_(params.gray, views, lambda images: grayscale(images)[:, None])
        change_where_(params.sigma > 0, views, partial(gaussian_blur, kernel_size=self.kernel_size), params.sigma)
        return views


def check_images(images: Tensor) -> None:
    """Raise `SimCLRError` unless the images are uint8 [N, 3, H, W], or float [N, 3, H, W] in 0…1.

    Images in uint8 need no look at their pixels: training does not wait for it.
    """
    if not isinstance(images, Tensor):
        raise SimCLRError(f"images must be a tensor, not {type_name(images)}.")
    if images.ndim != 4 or images.shape[1] != 3:
        raise SimCLRError(f"images must be [N, 3, H, W], not {list(images.shape)}.")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise SimCLRError(f"images must be uint8 in 0…255 or float in 0…1, not {images.dtype}.")
    if images.numel() == 0:
        return
    smallest, largest = torch.stack(images.detach().aminmax()).tolist()  # both are NaN if any pixel is
    if not (smallest >= -ROUNDING and largest <= 1 + ROUNDING):
        raise SimCLRError(f"float images must be in 0…1 (uint8 in 0…255), not in {smallest:g}…{largest:g}.")


def to_unit_range(images: Tensor) -> Tensor:
    """Bring images to 0…1: uint8 becomes float32 / 255; floats stay as they are.

    Args:
        images: uint8 [N, 3, H, W] in 0…255, or float [N, 3, H, W] in 0…1.

    Raises:
        SimCLRError: the images have another shape, type or range.
    """
    check_images(images)
    return images.float() / 255 if images.dtype == torch.uint8 else images


def change_where_(wanted: Tensor, views: Tensor, operation: Callable[..., Tensor], *settings: Tensor) -> None:
    """Replace the ``wanted`` views, in place, by what an operation makes of them.

    A CPU computes the wanted rows alone. With fixed shapes (`has_fixed_shapes`), all rows are computed and the wanted
    ones are kept.

    Args:
        wanted: bool [N], on the device of the views.
        views: float32 [N, 3, S, S].
        operation: (views [n, 3, S, S], settings [n]) → float32 [n, 3, S, S] or [n, 1, S, S], each view by itself.
        settings: [N] each.
    """
    if has_fixed_shapes(views):
        torch.where(wanted[:, None, None, None], operation(views, *settings), views, out=views)
        return
    rows = wanted.nonzero().flatten()
    if len(rows):
        views[rows] = operation(views.index_select(0, rows), *(setting[rows] for setting in settings))


def has_fixed_shapes(views: Tensor) -> bool:
    """Return whether the shapes of a computation must not depend on what was drawn.

    A GPU would have to wait until the number of wanted rows is known, and a compiled program would be compiled anew.
    """
    return views.device.type != "cpu" or torch.compiler.is_compiling()


def resized_crop(images: Tensor, box: Tensor, flip: Tensor, size: int) -> Tensor:
    """Crop each image to its box, resize it to size × size (bilinear, antialiased) and mirror it where ``flip`` is set.

    Args:
        images: uint8 [N, 3, H, W], or float32 in [0, 1].
        box: int64 [N, 4]: top, left, height, width.
        flip: bool [N].
        size: output side, in pixels.

    Returns:
        float32 [N, 3, size, size] in [0, 1].
    """
    n, channels, height, width = images.shape
    rows = resize_matrix(box[:, 0], box[:, 2], height, size)  # [N, size, H]
    columns = resize_matrix(box[:, 1], box[:, 3], width, size, mirror=flip)  # [N, size, W]
    if images.dtype == torch.uint8:
        rows /= 255
    # The three channels of an image share its matrices. The first product takes all their rows: [3H, W] · [W, size].
    across = torch.bmm(images.reshape(n, channels * height, width).float(), columns.transpose(1, 2))
    rows = rows[:, None].expand(n, channels, size, height).reshape(n * channels, size, height)
    return torch.bmm(rows, across.view(n * channels, height, size)).view(n, channels, size, size)


def resize_matrix(start: Tensor, length: Tensor, side: int, size: int, mirror: Tensor | None = None) -> Tensor:
    """Compute matrices that resize pixels start…start+length−1 of a line of ``side`` pixels to ``size`` pixels.

    Each row is a triangle filter, as wide as an output pixel but at least as wide as an input pixel, and normalised.
    That is bilinear interpolation with antialiasing, as in torchvision's ``resize(..., antialias=True)``.

    Args:
        start, length: int64 [N], in pixels.
        side: length of the whole line, in pixels.
        size: length of the resized line, in pixels.
        mirror: bool [N]: the lines to reverse.

    Returns:
        float32 [N, size, side]; every row sums to 1.
    """
    scale = (length / size)[:, None]  # input pixels in an output pixel
    width = scale.clamp(min=1)  # of the filter, in input pixels
    output = torch.arange(size, device=start.device) + 0.5
    pixel = torch.arange(side, device=start.device) + 0.5
    offset = output * scale  # [N, size]
    if mirror is not None:
        offset = torch.where(mirror[:, None], length[:, None] - offset, offset)
    center = (start[:, None] + offset) / width  # in filter widths
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])  # [N, side]
    pixel = (pixel / width).where(inside, torch.inf)  # pixels outside the crop are infinitely far away
    distance = (pixel[:, None, :] - center[:, :, None]).abs_()  # [N, size, side]
    weight = distance.neg_().add_(1).clamp_(min=0)  # a triangle
    return weight.div_(weight.sum(dim=2, keepdim=True))


def color_jitter_(views: Tensor, params: AugmentParams) -> None:
    """Change brightness, contrast, saturation and hue in place, in the order that each image has drawn.

    The first three operations blend the image with a reference r, clamp(f · x + (1 − f) · r): r is black for
    brightness, the mean grey level for contrast and the grey image for saturation. So one blend computes all three,
    whatever operation an image has at its place in the order.

    Args:
        views: float32 [N, 3, H, W] in [0, 1].
        params: N rows, on the device of the views.
    """
    no_blend = torch.ones_like(params.hue)
    factors = torch.stack([params.brightness, params.contrast, params.saturation, no_blend], dim=1)
    operations = params.order.T[:, :, None, None]  # [slot, N, 1, 1]
    factors = factors.gather(1, params.order).T[:, :, None, None]
    to_mean = (1 - factors) * (operations == CONTRAST)
    to_gray = (1 - factors) * (operations == SATURATION)
    for slot in range(4):
        gray = grayscale(views)  # [N, H, W]
        mean = gray.mean(dim=(1, 2), keepdim=True)
        reference = gray.mul_(to_gray[slot]).add_(mean * to_mean[slot])  # (1 − f) · r
        torch.addcmul(reference[:, None], views, factors[slot][:, None], out=views).clamp_(0, 1)
        change_where_((params.order[:, slot] == HUE) & (params.hue != 0), views, shift_hue, params.hue)


def grayscale(images: Tensor) -> Tensor:
    """Compute the luma of RGB images: float32 [N, 3, H, W] → [N, H, W]."""
    red, green, blue = images.unbind(1)
    return (red * GRAY_WEIGHTS[0]).add_(green, alpha=GRAY_WEIGHTS[1]).add_(blue, alpha=GRAY_WEIGHTS[2])


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of each image by its shift, and keep its HSV saturation and value.

    One formula replaces the six cases of HSV. With M and m the largest and the smallest channel of a pixel and
    C = M − m, the hue of the pixel, counted from cyan in sixths of a turn (green −1, cyan 0, blue 1, red ±3), is

        u = 2 + (R − G − B + m) / C, with the sign of B − G.

    The way back: let d be ``|u − h|``, with h the hue of a channel (red ±3, green −1, blue 1). Then the channel is
    ``m + C · clamp(|d − 3| − 1, 0, 1)``. That is M within one sixth of h, m beyond two sixths, and linear in between.
    The two ways round the circle, d and 6 − d, give the same value.

    Args:
        images: float32 [N, 3, H, W] in [0, 1].
        shift: float32 [N], in turns.
    """
    red, green, blue = images.unbind(1)
    largest, smallest = images.amax(dim=1), images.amin(dim=1)  # [N, H, W]
    chroma = largest - smallest
    u = (red - green).sub_(blue).add_(smallest).div_(chroma.clamp(min=1e-8)).add_(2).copysign_(blue - green)
    own_hue = 2 * torch.arange(3, device=images.device) - 3 - 6 * shift[:, None]  # [N, 3]: red, green, blue
    own_hue = own_hue - 6 * (own_hue / 6).round()  # −3…3, as u
    distance = (u[:, None] - own_hue[:, :, None, None]).abs_()  # [N, 3, H, W], 0…6
    return torch.addcmul(smallest[:, None], chroma[:, None], distance.sub_(3).abs_().sub_(1).clamp_(0, 1))


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur each image with its own sigma; borders are mirrored, as in torchvision.

    Args:
        images: float32 [N, 3, S, S].
        sigma: float32 [N], in pixels, > 0.
        kernel_size: odd width of the kernel, in pixels, < 2 S.
    """
    n, channels, side, _ = images.shape
    radius = kernel_size // 2
    offset = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # [N, K]
    source = (torch.arange(side, device=images.device)[:, None] + offset).abs()  # [S, K]: mirrored at 0 …
    source = (side - 1) - ((side - 1) - source).abs()  # … and at S − 1
    matrix = images.new_zeros(n, side, side)
    matrix.scatter_add_(2, source.expand(n, side, kernel_size), kernel[:, None].expand(n, side, kernel_size))
    across = torch.bmm(images.reshape(n, channels * side, side), matrix.transpose(1, 2))
    matrix = matrix[:, None].expand(n, channels, side, side).reshape(n * channels, side, side)
    blurred = torch.bmm(matrix, across.view(n * channels, side, side)).view_as(images)
    return blurred.clamp_(max=1)  # against rounding
