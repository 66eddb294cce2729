"""The encoders are torchvision's, the head is the paper's, and both views go through them at once."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from simclr_lib.augment import SimCLRAugment
from simclr_lib.errors import SimCLRError
from simclr_lib.losses import nt_xent
from simclr_lib.models import (
    STEMS,
    Classifier,
    OutputHead,
    ProjectionHead,
    SimCLR,
    resnet18,
    resnet34,
    resnet50,
)
from simclr_lib.models.resnet import SubsampledConv2d
from simclr_lib.objectives import contrastive_objective
from simclr_lib.seeding import seeded

RESNETS = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}


def torchvision_encoder(name):
    """torchvision's ResNet without its classifier, with batch-norm statistics of some images."""
    torch.manual_seed(0)
    encoder = getattr(torchvision.models, name)(weights=None)
    encoder.fc = nn.Identity()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of what was seen, not a running mean with the initial ones
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    with torch.no_grad():
        encoder.train()(torch.rand(4, 3, 64, 64))
    return encoder.eval()


@pytest.mark.parametrize("name", RESNETS)
def test_torchvisions_weights_give_the_same_features_here(name):
    theirs, ours = torchvision_encoder(name), RESNETS[name](stem="imagenet")
    ours.load_state_dict(theirs.state_dict())  # strict: the same names and shapes, and no others, so both ways work
    images = torch.rand(3, 3, 96, 80)
    with torch.no_grad():
        expected, h = theirs(images), ours.eval()(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(h, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "width", "dim"), [("resnet18", 8, 64), ("resnet34", 4, 32), ("resnet50", 4, 128)])
def test_h_is_as_long_as_feature_dim(name, width, dim):
    encoder = RESNETS[name](width=width)
    assert encoder.feature_dim == dim
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, dim)


@pytest.mark.parametrize(("name", "dim"), [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)])
def test_original_width_gives_the_papers_feature_dim(name, dim):
    with torch.device("meta"):
        assert RESNETS[name]().feature_dim == dim


@pytest.mark.parametrize(("stem", "side"), [("cifar", 32), ("fast", 16), ("imagenet", 8)])
def test_stem_decides_the_resolution_of_the_first_stage(stem, side):
    encoder = resnet18(stem, width=8)
    shapes = []
    encoder.layer1.register_forward_hook(lambda _, inputs, output: shapes.extend([inputs[0].shape, output.shape]))
    encoder(torch.rand(2, 3, 32, 32))
    assert shapes == [(2, 8, side, side)] * 2


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_takes_images_that_are_not_square(stem):
    assert resnet18(stem, width=4)(torch.rand(2, 3, 40, 56)).shape == (2, 32)


def test_width_scales_every_stage():
    narrow, wide = resnet18(width=4).state_dict(), resnet18(width=8).state_dict()
    assert narrow.keys() == wide.keys()
    assert wide["conv1.weight"].shape[:2] == (8, 3)  # the image's channels stay three
    for name, weight in narrow.items():
        if name != "conv1.weight":
            assert wide[name].shape[:2] == tuple(2 * channels for channels in weight.shape[:2])


@pytest.mark.parametrize("shape", [(3, 5, 8, 8), (2, 1, 7, 9), (2, 7, 1, 1)])
def test_a_subsampled_convolution_is_pytorchs_strided_one(shape):
    generator = seeded(0)
    ours = SubsampledConv2d(shape[1], 6, 1, stride=2, bias=False).double()
    theirs = nn.Conv2d(shape[1], 6, 1, stride=2, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    outputs, gradients = [], []
    for convolution in (ours, theirs):
        x = images.clone().requires_grad_()
        output = convolution(x)
        (output * torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)).sum().backward()
        outputs.append(output)
        gradients.append((x.grad, convolution.weight.grad))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("width", "subsampled"), [(1, 3), (2, 2), (4, 1), (7, 1), (8, 0)])
def test_shortcuts_with_fewer_than_8_channels_are_subsampled(width, subsampled):
    shortcuts = [m for m in resnet18(width=width).modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(shortcuts) == 3
    assert all(isinstance(m, SubsampledConv2d) == (m.in_channels < 8) for m in shortcuts)
    assert sum(isinstance(m, SubsampledConv2d) for m in shortcuts) == subsampled


def test_subsampled_shortcuts_have_the_names_of_torchvisions():
    with torch.device("meta"):
        assert resnet18("imagenet", width=1).state_dict().keys() == resnet18("imagenet").state_dict().keys()


def test_unknown_stem_is_refused_with_the_nearest_name():
    with pytest.raises(SimCLRError, match="unknown stem 'cifar10': did you mean 'cifar'"):
        resnet18("cifar10")


def test_width_must_be_at_least_1():
    with pytest.raises(SimCLRError, match="width must be at least 1"):
        resnet18(width=0)


# --- projection head


@pytest.mark.parametrize(
    ("num_layers", "shapes"),
    [(1, [(16, 64)]), (2, [(32, 64), (16, 32)]), (3, [(32, 64), (32, 32), (16, 32)])],
)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_projection_head_has_the_linear_layers_asked_for(num_layers, shapes, batch_norm):
    head = ProjectionHead(64, 32, 16, num_layers, batch_norm=batch_norm)
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [tuple(m.weight.shape) for m in linear] == shapes
    assert sum(isinstance(m, nn.ReLU) for m in head) == num_layers - 1
    assert head(torch.rand(5, 64)).shape == (5, 16)


def test_projection_head_with_batch_norm_has_it_after_every_linear_layer_and_no_biases_before():
    head = ProjectionHead(64, 32, 16, num_layers=3, batch_norm=True)
    kinds = [type(m) for m in head]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear, nn.BatchNorm1d]
    assert all(m.bias is None for m in head if isinstance(m, nn.Linear))
    assert [m.affine for m in head if isinstance(m, nn.BatchNorm1d)] == [True, True, False]


def test_projection_head_without_batch_norm_is_the_papers_equation():
    head = ProjectionHead(64, 32, 16, batch_norm=False)
    first, second = head[0], head[2]
    h = torch.randn(5, 64)
    by_hand = torch.clamp(h @ first.weight.T + first.bias, min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(head(h), by_hand)


@pytest.mark.parametrize("sizes", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)])
def test_projection_head_of_size_0_is_refused(sizes):
    with pytest.raises(SimCLRError, match="at least 1"):
        ProjectionHead(*sizes)


# --- SimCLR


@pytest.fixture
def simclr():
    torch.manual_seed(0)
    encoder = resnet18("fast", width=4)
    return SimCLR(encoder, ProjectionHead(encoder.feature_dim, 16, 8))


def test_simclr_returns_h_and_its_projection_z(simclr):
    simclr.eval()
    images = torch.rand(4, 3, 32, 32)
    h, z = simclr(images)
    assert h.shape == (4, 32)
    assert z.shape == (4, 8)
    assert torch.equal(h, simclr.encoder(images))
    assert torch.equal(z, simclr.projector(h))


def test_classifier_is_the_output_head_on_h():
    encoder = resnet18("fast", width=4).eval()
    head = OutputHead(encoder.feature_dim, 7)
    images = torch.rand(4, 3, 32, 32)
    logits = Classifier(encoder, head)(images)
    assert logits.shape == (4, 7)
    torch.testing.assert_close(logits, encoder(images) @ head.weight.T + head.bias)


def test_both_views_of_a_batch_go_through_the_encoder_in_one_pass(simclr):
    seen = []
    simclr.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    images = torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8)
    objective = contrastive_objective(simclr, images, SimCLRAugment(32), temperature=0.5)
    objective(torch.tensor([3, 1, 7, 19, 4]), seeded(0))
    assert seen == [(10, 3, 32, 32)]


def test_contrastive_objective_is_nt_xent_between_the_two_views_of_each_image(simclr):
    images = torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8)
    augment = SimCLRAugment(32)
    indices = torch.tensor([3, 1, 7, 19, 4, 0])
    loss = contrastive_objective(simclr, images, augment, temperature=0.1)(indices, seeded(0))

    generator = seeded(0)
    view_a, view_b = augment(images[indices], generator), augment(images[indices], generator)
    assert not torch.equal(view_a, view_b)
    _, z = simclr(torch.cat([view_a, view_b]))
    torch.testing.assert_close(loss, nt_xent(z[:6], z[6:], 0.1), rtol=1e-4, atol=1e-5)


def test_one_pass_and_two_passes_differ_by_the_batch_norms_statistics(simclr):
    view_a, view_b = torch.rand(8, 3, 32, 32), 0.3 * torch.rand(8, 3, 32, 32)
    _, together = simclr(torch.cat([view_a, view_b]))
    apart = torch.cat([simclr(view_a)[1], simclr(view_b)[1]])
    assert (together - apart).abs().max() > 0.1
    simclr.eval()  # with frozen statistics the question does not arise
    _, together = simclr(torch.cat([view_a, view_b]))
    apart = torch.cat([simclr(view_a)[1], simclr(view_b)[1]])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_a_step_on_the_contrastive_objective_lowers_it(simclr):
    images = torch.randint(256, (32, 3, 32, 32), dtype=torch.uint8)
    objective = contrastive_objective(simclr, images, SimCLRAugment(32), temperature=0.5)
    optimizer = torch.optim.SGD(simclr.parameters(), lr=0.05)
    before = objective(torch.arange(32), seeded(0))
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in simclr.parameters())
    optimizer.step()
    assert objective(torch.arange(32), seeded(0)) < before


def test_contrastive_objective_refuses_a_temperature_of_0_before_training_starts(simclr):
    with pytest.raises(SimCLRError, match="temperature"):
        contrastive_objective(simclr, torch.zeros(4, 3, 32, 32, dtype=torch.uint8), SimCLRAugment(32), temperature=0.0)


def test_copies_of_an_encoder_do_not_share_weights():
    encoder = resnet18("fast", width=4)
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        twin.conv1.weight.zero_()
    assert encoder.conv1.weight.abs().sum() > 0


# --- gradient caching


def gradients(network, images, **options):
    """Loss and gradients of one step on all images."""
    network.zero_grad()
    objective = contrastive_objective(network, images, SimCLRAugment(16), temperature=0.2, **options)
    loss = objective(torch.arange(len(images)), seeded(0))
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in network.parameters()]


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_gradient_caching_is_exact_for_networks_without_batch_statistics(micro_batch):
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, stride=3), torch.nn.Tanh(), torch.nn.Flatten())
            self.projector = torch.nn.Linear(64, 6)
            self.double()

        def forward(self, views):
            h = self.encoder(views.double())
            return h, self.projector(h)

    network = Plain()
    images = torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8)
    loss, expected = gradients(network, images)
    cached_loss, cached = gradients(network, images, micro_batch=micro_batch)
    torch.testing.assert_close(cached_loss, loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(cached, expected, rtol=1e-9, atol=1e-12)


def test_gradient_caching_keeps_activations_of_one_micro_batch_only(simclr):
    sizes = []
    simclr.encoder.register_forward_hook(lambda _, inputs, __: sizes.append((len(inputs[0]), torch.is_grad_enabled())))
    images = torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8)
    gradients(simclr, images, micro_batch=4)
    assert sizes == [(8, False), (8, False), (8, True), (8, True)]  # both views of four images


def test_gradient_caching_with_batch_norm_takes_the_statistics_of_a_micro_batch(simclr):
    images = torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8)
    whole, _ = gradients(simclr, images)
    all_at_once, _ = gradients(simclr, images, micro_batch=8)
    halves, _ = gradients(simclr, images, micro_batch=4)
    torch.testing.assert_close(all_at_once, whole, rtol=1e-5, atol=1e-6)
    assert (halves - whole).abs() > 1e-4


def test_gradient_caching_lets_running_statistics_see_each_view_once(simclr):
    images = torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8)
    again = copy.deepcopy(simclr)
    gradients(simclr, images)
    gradients(again, images, micro_batch=8)
    for (name, a), b in zip(simclr.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_gradient_caching_works_at_the_precision_of_the_first_pass(simclr):
    seen = []
    simclr.encoder.conv1.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective = contrastive_objective(
            simclr, torch.zeros(4, 3, 16, 16, dtype=torch.uint8), SimCLRAugment(16), temperature=0.5, micro_batch=2
        )
        loss = objective(torch.arange(4), seeded(0))
    loss.backward()
    assert seen == [torch.bfloat16] * 4


@pytest.mark.parametrize("micro_batch", [0, 9])
def test_a_micro_batch_is_a_part_of_the_batch(simclr, micro_batch):
    with pytest.raises(SimCLRError, match="between 1 and 8, the number of images"):
        gradients(simclr, torch.zeros(8, 3, 16, 16, dtype=torch.uint8), micro_batch=micro_batch)
