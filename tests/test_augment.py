"""The views are torchvision's for the same parameters, and the parameters are distributed as in the paper.

Tolerance of every comparison with torchvision: 1e-5 of the range 0…1 (2e-5 for a whole view).
"""

from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp, kstest
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as TF

from simclr_lib.augment import AugmentParams, SimCLRAugment, to_unit_range
from simclr_lib.device import check_compiler
from simclr_lib.errors import SimCLRError

SIZES = [(64, 48), (32, 32), (20, 13), (150, 40)]  # both shrunk and enlarged to 32
JITTER = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
FACTORS = ("brightness", "contrast", "saturation", "hue")
UNLIKELY = 1e-4  # a p-value below this is a wrong distribution: the seeds are fixed


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(n=16, height=64, width=48, seed=0):
    """Smooth colours with some noise, and a few flat, black and white pictures."""
    coarse = torch.rand(n, 3, 5, 5, generator=seeded(seed))
    fine = torch.rand(n, 3, height, width, generator=seeded(seed + 1))
    images = 0.7 * TF.resize(coarse, [height, width]) + 0.3 * fine
    images = (256 * images).clamp(0, 255).byte()
    images[0], images[1], images[2] = 0, 255, 128
    return images


def unchanged(n, height, width):
    """Parameters of views that are the images themselves."""
    return AugmentParams(
        box=torch.tensor([[0, 0, height, width]]).repeat(n, 1),
        flip=torch.zeros(n, dtype=torch.bool),
        order=torch.arange(4).repeat(n, 1),
        brightness=torch.ones(n),
        contrast=torch.ones(n),
        saturation=torch.ones(n),
        hue=torch.zeros(n),
        gray=torch.zeros(n, dtype=torch.bool),
        sigma=torch.zeros(n),
    )


def torchvision_view(image, params, size, kernel_size):
    """One view, float32 [3, size, size], by torchvision's functional operations alone."""
    crop = params.box.tolist()
    view = TF.resized_crop(image.float() / 255, *crop, size=[size, size], antialias=True)
    if params.flip:
        view = TF.horizontal_flip(view)
    for operation in params.order.tolist():
        factor = getattr(params, FACTORS[operation]).item()
        view = JITTER[operation](view, factor)
    if params.gray:
        view = TF.rgb_to_grayscale(view, num_output_channels=3)
    if params.sigma:
        view = TF.gaussian_blur(view, [kernel_size] * 2, [params.sigma.item()] * 2)
    return view


def assert_views_are_torchvisions(images, params, augment, tolerance=1e-5):
    views = augment.apply(images, params)
    expected = [torchvision_view(image, params[i], augment.size, augment.kernel_size) for i, image in enumerate(images)]
    torch.testing.assert_close(views, torch.stack(expected), rtol=0, atol=tolerance)


# --- every operation is torchvision's


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_crop_and_resize_is_torchvisions(height, width):
    augment = SimCLRAugment(32)
    sampled = augment.sample(64, height, width, seeded())
    params = replace(unchanged(64, height, width), box=sampled.box)
    assert_views_are_torchvisions(photos(64, height, width), params, augment)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resize_of_the_whole_image_is_torchvisions(height, width):
    images = photos(8, height, width)
    assert_views_are_torchvisions(images, unchanged(8, height, width), SimCLRAugment(32))


def test_shrinking_is_antialiased():
    stripes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripes[..., ::4] = 255  # every fourth column: without antialiasing, half of them would vanish
    view = SimCLRAugment(16).apply(stripes, unchanged(1, 64, 64))
    torch.testing.assert_close(view[..., 1:-1], torch.full((1, 3, 16, 14), 0.25), rtol=0, atol=0.02)


def test_flip_is_torchvisions():
    images, params = photos(), unchanged(16, 64, 48)
    flipped = replace(params, flip=torch.arange(16) % 2 == 0)
    assert_views_are_torchvisions(images, flipped, SimCLRAugment(32))


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.5])
def test_each_jitter_operation_is_torchvisions(name, strength):
    images, params = photos(64), unchanged(64, 64, 48)
    sampled = SimCLRAugment(32, color_strength=strength, color_prob=1.0).sample(64, 64, 48, seeded())
    params = replace(params, **{name: getattr(sampled, name)})
    assert_views_are_torchvisions(images, params, SimCLRAugment(32))


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_jitter_in_the_sampled_order_is_torchvisions(strength):
    augment = SimCLRAugment(32, color_strength=strength, color_prob=1.0)
    sampled = augment.sample(96, 64, 48, seeded())
    jitter = {name: getattr(sampled, name) for name in ("order", *FACTORS)}
    assert_views_are_torchvisions(photos(96), replace(unchanged(96, 64, 48), **jitter), augment, 2e-5)


def test_order_of_the_jitter_matters():
    params = replace(unchanged(1, 64, 48), brightness=torch.tensor([1.8]), contrast=torch.tensor([0.2]))
    other = replace(params, order=torch.tensor([[1, 0, 2, 3]]))
    image = photos(8)[7:]
    assert (SimCLRAugment(32).apply(image, params) - SimCLRAugment(32).apply(image, other)).abs().max() > 0.05


def test_grayscale_is_torchvisions():
    params = replace(unchanged(16, 64, 48), gray=torch.arange(16) % 3 > 0)
    assert_views_are_torchvisions(photos(), params, SimCLRAugment(32))


@pytest.mark.parametrize("size", [8, 32, 96])
def test_blur_is_torchvisions(size):
    augment = SimCLRAugment(size, blur_prob=1.0)
    params = replace(unchanged(16, 64, 48), sigma=augment.sample(16, 64, 48, seeded()).sigma)
    assert_views_are_torchvisions(photos(), params, augment)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [32, 96])
def test_whole_view_is_the_composition_of_torchvisions_operations(size, height, width):
    augment = SimCLRAugment(size)
    params = augment.sample(70, height, width, seeded(size))
    assert_views_are_torchvisions(photos(70, height, width), params, augment, tolerance=2e-5)


@given(seed=st.integers(0, 10_000), height=st.integers(4, 80), width=st.integers(4, 80))
def test_any_view_of_any_image_is_torchvisions(seed, height, width):
    augment = SimCLRAugment(16)
    params = augment.sample(4, height, width, seeded(seed))
    assert_views_are_torchvisions(photos(4, height, width, seed), params, augment, tolerance=2e-5)


def test_parameters_that_change_nothing_return_the_image():
    images = photos(16, 32, 32)
    views = SimCLRAugment(32).apply(images, unchanged(16, 32, 32))
    torch.testing.assert_close(views, images / 255, rtol=0, atol=1e-6)


# --- the views' contract


@pytest.mark.parametrize(("size", "kernel_size"), [(32, 3), (64, 7), (96, 9), (224, 23)])
def test_blur_kernel_is_a_tenth_of_the_side_and_odd(size, kernel_size):
    assert SimCLRAugment(size).kernel_size == kernel_size


@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([4, 16, 33]),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    strength=st.floats(0, 2.5),
)
def test_views_are_float32_in_0_to_1_of_the_right_size(seed, size, height, width, strength):
    augment = SimCLRAugment(size, color_strength=strength)
    views = augment(photos(5, height, width, seed), seeded(seed))
    assert views.dtype == torch.float32
    assert views.shape == (5, 3, size, size)
    assert views.min() >= 0
    assert views.max() <= 1


def test_a_white_image_stays_at_1_through_crop_gray_and_blur():
    augment = SimCLRAugment(32, color_prob=0.0, gray_prob=0.5, blur_prob=0.5)
    white = torch.full((256, 3, 50, 37), 255, dtype=torch.uint8)
    views = augment(white, seeded())
    assert views.max() <= 1
    assert views.min() > 0.999


def test_uint8_and_float_images_give_the_same_views():
    images, augment = photos(32), SimCLRAugment(32)
    params = augment.sample(32, 64, 48, seeded())
    as_float = augment.apply(images / 255, params)
    torch.testing.assert_close(augment.apply(images, params), as_float, rtol=0, atol=2e-6)


def test_images_are_not_changed():
    images = photos(8) / 255
    before = images.clone()
    SimCLRAugment(64)(images, seeded())
    assert torch.equal(images, before)


def test_two_copies_of_an_image_in_a_batch_get_different_views():
    images = photos(8)[5:6].repeat(64, 1, 1, 1)
    views = SimCLRAugment(32)(images, seeded()).flatten(1)
    distances = torch.cdist(views, views) + 1e9 * torch.eye(64)
    assert distances.min() > 0.01


@pytest.mark.parametrize("name", [field.name for field in fields(AugmentParams)])
def test_every_parameter_is_drawn_for_each_image(name):
    params = SimCLRAugment(32).sample(200, 64, 48, seeded())
    assert len(getattr(params, name).unique(dim=0)) > 1


def test_a_view_does_not_depend_on_the_other_images_of_its_batch():
    images, augment = photos(80), SimCLRAugment(32)
    params = augment.sample(80, 64, 48, seeded())
    views = augment.apply(images, params)
    rows = torch.tensor([79, 3, 40])
    torch.testing.assert_close(augment.apply(images[rows], params[rows]), views[rows], rtol=0, atol=1e-6)
    torch.testing.assert_close(augment.apply(images[7:9], params[7:9]), views[7:9], rtol=0, atol=1e-6)


def test_applying_the_same_parameters_again_gives_the_same_views():
    images, augment = photos(), SimCLRAugment(32)
    params = augment.sample(16, 64, 48, seeded())
    assert torch.equal(augment.apply(images, params), augment.apply(images, params))


# --- views that are made by a program of fixed shapes, as on a GPU


def assert_a_compiled_program_makes_the_same_views(augment, height=24, width=20, count=40):
    images, params = photos(count, height, width), augment.sample(count, height, width, seeded())
    views = augment.compiled().apply(images, params)
    torch.testing.assert_close(views, augment.apply(images, params), rtol=0, atol=1e-5)


@pytest.fixture
def compile_without_a_compiler(monkeypatch):
    """torch.compile that records the whole program, and then runs its operations one by one.

    fullgraph refuses a program whose steps or shapes depend on what was drawn.
    """
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))


@pytest.mark.slow
@pytest.mark.usefixtures("compile_without_a_compiler")
def test_views_with_masks_in_place_of_rows_are_the_same():
    assert_a_compiled_program_makes_the_same_views(SimCLRAugment(16))


@pytest.mark.slow
def test_compiled_views_are_the_same():
    try:
        check_compiler(torch.device("cpu"))
    except SimCLRError as error:
        pytest.skip(str(error))
    torch.compiler.reset()
    assert_a_compiled_program_makes_the_same_views(SimCLRAugment(16))


@pytest.mark.slow
@pytest.mark.usefixtures("compile_without_a_compiler")
def test_masks_keep_out_what_an_operation_makes_of_the_other_views():
    images = photos(8, 16, 16)
    params = replace(unchanged(8, 16, 16), sigma=torch.tensor([2.0] + [0.0] * 7))
    views = SimCLRAugment(16).compiled().apply(images, params)  # the blur of sigma 0 is not a number
    torch.testing.assert_close(views[1:], images[1:] / 255, rtol=0, atol=1e-6)
    torch.testing.assert_close(views, SimCLRAugment(16).apply(images, params), rtol=0, atol=1e-5)


def test_a_seed_gives_the_same_views_again_and_the_next_ones_differ():
    images, augment, generator = photos(), SimCLRAugment(32), seeded(5)
    first, second = augment(images, generator), augment(images, generator)
    assert torch.equal(first, augment(images, seeded(5)))
    assert not torch.equal(first, second)


def test_a_generator_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    SimCLRAugment(32)(photos(), seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_seed_decides():
    images, augment = photos(), SimCLRAugment(32)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = augment(images)
        torch.manual_seed(3)
        assert torch.equal(augment(images), first)


def test_views_are_float32_under_autocast_too():
    images, augment = photos(), SimCLRAugment(32)
    params = augment.sample(len(images), 64, 48, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        views = augment.apply(images, params)
    assert torch.equal(views, augment.apply(images, params))


def test_an_empty_batch_has_no_views():
    assert SimCLRAugment(32)(photos()[:0]).shape == (0, 3, 32, 32)


# --- the distributions are the paper's


@pytest.fixture(scope="module")
def sampled():
    """Many draws of the paper's parameters, for images of 64 × 48 pixels."""
    return SimCLRAugment(32).sample(24_000, 64, 48, seeded())


def share(choices):
    return choices.float().mean().item()


@pytest.mark.parametrize(("height", "width"), [(64, 48), (200, 300), (32, 32)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.2, 0.6)])
def test_crops_are_distributed_as_torchvisions(height, width, scale):
    ours = SimCLRAugment(32, crop_scale=scale).sample(6000, height, width, seeded()).box
    image = torch.empty(1, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = [RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(6000)]
    theirs = torch.tensor(theirs)
    for what in (
        lambda box: box[:, 2] * box[:, 3],  # area
        lambda box: (box[:, 3] / box[:, 2]).log(),  # ratio
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 2],
        lambda box: box[:, 3],
    ):
        assert ks_2samp(what(ours).numpy(), what(theirs).numpy()).pvalue > UNLIKELY


def test_crop_area_is_uniform_and_its_ratio_log_uniform_where_every_crop_fits():
    box = SimCLRAugment(32, crop_scale=(0.1, 0.5)).sample(20_000, 2000, 2000, seeded()).box.double()
    area = box[:, 2] * box[:, 3] / 2000**2
    log_ratio = (box[:, 3] / box[:, 2]).log()
    assert area.mean().item() == pytest.approx(0.3, abs=0.005)
    assert kstest(area.numpy(), "uniform", (0.1, 0.4)).pvalue > UNLIKELY
    limit = torch.tensor(4 / 3).log().item()
    assert kstest(log_ratio.numpy(), "uniform", (-limit, 2 * limit)).pvalue > UNLIKELY


@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    scale=st.sampled_from([(0.08, 1.0), (1.0, 1.0), (0.001, 0.01), (0.2, 0.5)]),
)
def test_crops_lie_inside_the_image(seed, height, width, scale):
    box = SimCLRAugment(32, crop_scale=scale).sample(100, height, width, seeded(seed)).box
    assert box.dtype == torch.int64
    top, left, h, w = box.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (h >= 1).all()
    assert (w >= 1).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10), (1, 50), (50, 1), (31, 7)])
def test_where_no_crop_fits_the_largest_in_the_middle_is_taken_as_in_torchvision(height, width):
    box = SimCLRAugment(32, crop_scale=(1.0, 1.0)).sample(20, height, width, seeded()).box
    expected = RandomResizedCrop.get_params(torch.empty(1, height, width), [1.0, 1.0], [3 / 4, 4 / 3])
    assert box.tolist() == [list(expected)] * 20


def test_half_of_the_views_are_flipped(sampled):
    assert share(sampled.flip) == pytest.approx(0.5, abs=0.015)


def test_four_of_five_views_are_jittered_and_then_by_all_four_operations(sampled):
    jittered = sampled.hue != 0
    assert share(jittered) == pytest.approx(0.8, abs=0.012)
    for name in ("brightness", "contrast", "saturation"):
        assert torch.equal(getattr(sampled, name) != 1, jittered)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_jitter_factors_are_uniform_in_the_papers_ranges(strength):
    params = SimCLRAugment(32, color_strength=strength).sample(20_000, 64, 48, seeded())
    low, high = max(0.0, 1 - 0.8 * strength), 1 + 0.8 * strength
    for name in ("brightness", "contrast", "saturation"):
        factor = getattr(params, name)[params.hue != 0].double()
        assert low <= factor.min()
        assert factor.max() <= high + 1e-6
        assert kstest(factor.numpy(), "uniform", (low, high - low)).pvalue > UNLIKELY
    hue = params.hue[params.hue != 0].double()
    assert hue.abs().max() <= 0.2 * strength + 1e-6
    assert kstest(hue.numpy(), "uniform", (-0.2 * strength, 0.4 * strength)).pvalue > UNLIKELY


def test_all_24_orders_of_the_jitter_are_equally_likely(sampled):
    assert (sampled.order.sort(dim=1).values == torch.arange(4)).all()
    _, counts = sampled.order.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert chisquare(counts.numpy()).pvalue > UNLIKELY


def test_a_fifth_of_the_views_is_gray(sampled):
    assert share(sampled.gray) == pytest.approx(0.2, abs=0.012)


@pytest.mark.parametrize("blur_sigma", [(0.01, 2.0), (0.1, 2.0)])
def test_half_of_the_views_are_blurred_with_a_uniform_sigma(blur_sigma):
    low, high = blur_sigma
    sigma = SimCLRAugment(32, blur_sigma=blur_sigma).sample(20_000, 64, 48, seeded()).sigma.double()
    assert share(sigma > 0) == pytest.approx(0.5, abs=0.015)
    drawn = sigma[sigma > 0]
    assert low - 1e-6 <= drawn.min()
    assert kstest(drawn.numpy(), "uniform", (low, high - low)).pvalue > UNLIKELY


def test_choices_do_not_depend_on_each_other(sampled):
    jittered = sampled.hue != 0
    coins = torch.stack([sampled.flip, jittered, sampled.gray, sampled.sigma > 0]).double()
    factors = torch.stack([getattr(sampled, name)[jittered] for name in FACTORS]).double()
    for choices in (coins, factors):
        correlation = torch.corrcoef(choices) - torch.eye(4)
        assert correlation.abs().max() < 0.03


def test_probability_0_never_and_probability_1_always():
    never = SimCLRAugment(32, flip_prob=0, color_prob=0, gray_prob=0, blur_prob=0).sample(500, 32, 32)
    for choice in (never.flip, never.gray, never.sigma, never.hue):
        assert not choice.any()
    always = SimCLRAugment(32, flip_prob=1, color_prob=1, gray_prob=1, blur_prob=1).sample(500, 32, 32)
    for choice in (always.flip, always.gray, always.sigma, always.hue):
        assert choice.all()


# --- senseless settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 3}, "size must be at least 4"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale must be"),
        ({"crop_scale": (0.5, 0.2)}, "crop_scale must be"),
        ({"crop_scale": (0.5, 1.5)}, "share of the image's area"),
        ({"crop_ratio": (-1.0, 1.0)}, "crop_ratio must be"),
        ({"blur_sigma": (0.0, 2.0)}, "blur_sigma must be"),
        ({"flip_prob": 1.1}, "flip_prob must be between 0 and 1"),
        ({"color_prob": -0.1}, "color_prob must be between 0 and 1"),
        ({"gray_prob": float("nan")}, "gray_prob must be between 0 and 1"),
        ({"blur_prob": 2}, "blur_prob must be between 0 and 1"),
        ({"color_strength": -0.5}, "color_strength must be between 0 and 2.5"),
        ({"color_strength": 2.6}, "color_strength must be between 0 and 2.5"),
    ],
)
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(SimCLRError, match=message):
        SimCLRAugment(**settings)


def test_parameters_for_another_number_of_images_are_refused():
    augment = SimCLRAugment(32)
    with pytest.raises(SimCLRError, match="16 images but parameters for 15"):
        augment.apply(photos(), augment.sample(15, 64, 48))


# --- images that are not what they should be

TAKE_IMAGES = [
    lambda images: SimCLRAugment(32)(images),
    lambda images: SimCLRAugment(32).apply(images, SimCLRAugment(32).sample(2, 32, 32)),
    to_unit_range,
]


@pytest.mark.parametrize("take", TAKE_IMAGES, ids=["call", "apply", "to_unit_range"])
@pytest.mark.parametrize("shape", [(32,), (3, 32, 32), (2, 1, 32, 32), (2, 32, 32, 3)])
def test_images_of_other_shapes_are_refused(take, shape):
    with pytest.raises(SimCLRError, match=r"\[N, 3, H, W\], not \[.*32"):
        take(torch.zeros(shape))


@pytest.mark.parametrize("take", TAKE_IMAGES, ids=["call", "apply", "to_unit_range"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64])
def test_images_of_another_type_are_refused_by_name(take, dtype):
    with pytest.raises(SimCLRError, match=f"not {dtype}"):
        take(torch.ones(2, 3, 32, 32).to(dtype))


@pytest.mark.parametrize("take", TAKE_IMAGES, ids=["call", "apply", "to_unit_range"])
@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        ((0.0, 255.0), "0…255"),
        ((-2.1, 2.6), r"-2\.1…2\.6"),
        ((0.0, 1.01), r"0…1\.01"),
        ((-0.5, 0.5), r"-0\.5…0\.5"),
        ((0.5, float("nan")), "nan…nan"),
        ((0.0, float("inf")), "0…inf"),
    ],
)
def test_float_images_outside_0_to_1_are_refused_with_their_range(take, pixels, found):
    images = torch.full((2, 3, 32, 32), pixels[0])
    images[1, 2, 3, 4] = pixels[1]
    with pytest.raises(SimCLRError, match=f"in 0…1 .*not in {found}"):
        take(images)


@pytest.mark.parametrize("take", TAKE_IMAGES, ids=["call", "apply", "to_unit_range"])
def test_images_that_are_no_tensor_are_refused(take):
    with pytest.raises(SimCLRError, match=r"must be a tensor, not numpy\.ndarray"):
        take(photos(4, 32, 32)[2:].numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_float_images_of_any_precision_give_float32_views(dtype):
    views = SimCLRAugment(32)((photos() / 255).to(dtype), seeded())
    assert views.dtype == torch.float32
    torch.testing.assert_close(views, SimCLRAugment(32)(photos(), seeded()), rtol=0, atol=0.1)


def test_to_unit_range_divides_uint8_and_leaves_floats_alone():
    images = photos()
    assert torch.equal(to_unit_range(images), images.float() / 255)
    as_float = torch.rand(2, 3, 8, 8)
    assert to_unit_range(as_float) is as_float


def test_the_rounding_of_a_resize_is_no_reason_to_refuse_an_image():
    assert to_unit_range(torch.full((1, 3, 4, 4), 1 + 1e-6)).max() > 1
