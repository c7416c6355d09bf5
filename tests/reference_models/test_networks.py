"""Networks: shapes, ranges, and results that do not depend on what else is in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reference_models import architectures
from reference_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator, PixelNorm, ResizeConv
from reference_models.networks.patchgan import PatchDiscriminator
from reference_models.networks.phantom_net import PhantomNet
from reference_models.networks.resnet import ResNetTranslator
from reference_models.networks.unet import UNetSegmenter, UNetTranslator

TRANSLATORS = [
    (ResNetTranslator, {"width": 8, "blocks": 1}, (32, 32)),
    (ResNetTranslator, {"width": 8, "blocks": 3}, (34, 46)),
    (UNetTranslator, {"width": 4, "depth": 2}, (32, 32)),
    (UNetTranslator, {"width": 4, "depth": 4}, (32, 48)),
    (UNetTranslator, {"width": 4, "depth": 5}, (64, 32)),
]


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def seeded(kind: type[nn.Module], **config: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(**config)


@pytest.mark.parametrize(("kind", "config", "size"), TRANSLATORS)
def test_translators_keep_the_size_and_stay_in_range(kind, config, size) -> None:
    net = seeded(kind, channels_in=2, channels_out=3, **config).eval()
    with torch.no_grad():
        out = net(noise(2, 2, *size))
    assert out.shape == (2, 3, *size)
    assert out.dtype == torch.float32
    assert out.abs().max() <= 1
    assert out.std() > 0


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (40, 32), (7, 9)])
@pytest.mark.parametrize("depth", [1, 3])
def test_segmenter_takes_any_size(size, depth) -> None:
    net = seeded(UNetSegmenter, width=4, depth=depth).eval()
    with torch.no_grad():
        assert net(noise(2, 1, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize(("channels", "layers", "size"), [(1, 1, 16), (1, 2, 8), (2, 3, 4)])
def test_discriminator_gives_one_logit_a_patch(channels, layers, size) -> None:
    net = PatchDiscriminator(channels=channels, width=4, layers=layers)
    assert net(noise(2, channels, 32, 32)).shape == (2, 1, size, size)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (ResNetTranslator, {"width": 8, "blocks": 2}),
        (UNetTranslator, {"width": 8, "depth": 3}),
        (UNetSegmenter, {"width": 4, "depth": 2}),
        (PhantomNet, {"width": 4}),
    ],
)
def test_an_image_does_not_depend_on_its_batch(kind, config) -> None:
    net, x = seeded(kind, **config).eval(), noise(5, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[3:4], net(x[3:4]), rtol=1e-4, atol=1e-5)


def test_spectral_norm_bounds_every_layer() -> None:
    net = seeded(PatchDiscriminator, width=8).train()
    for _ in range(30):  # one power iteration a pass
        net(noise(1, 1, 16, 16))
    bound = [torch.linalg.matrix_norm(m.weight.flatten(1), 2) for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(bound) == 4
    torch.testing.assert_close(torch.stack(bound), torch.ones(4), rtol=0.05, atol=0)


def test_dropout_is_random_in_training_alone() -> None:
    net, x = seeded(UNetTranslator, width=4, depth=2, dropout=0.5), noise(2, 1, 16, 16)
    with torch.no_grad():
        assert not torch.equal(net.train()(x), net(x))
        assert torch.equal(net.eval()(x), net(x))


def test_architectures_are_built_from_a_checkpoints_name_and_configuration() -> None:
    known = architectures()
    assert {"dcgan-generator", "phantom-net", "resnet-translator", "unet-translator", "unet-segmenter"} <= set(known)
    first, again = known["resnet-translator"](width=8, blocks=1), known["resnet-translator"](width=8, blocks=1)
    again.load_state_dict(first.state_dict())
    assert torch.equal(first(noise(1, 1, 16, 16)), again(noise(1, 1, 16, 16)))


@pytest.mark.parametrize(("size", "width", "channels"), [(8, 1, 1), (32, 4, 2), (64, 6, 1)])
def test_generator_turns_latent_vectors_into_images_in_range(size: int, width: int, channels: int) -> None:
    net = seeded(DCGANGenerator, latent_dim=5, size=size, width=width, channels_out=channels)
    with torch.no_grad():
        out = net(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (3, channels, size, size)
    assert out.abs().max() <= 1
    assert (out[0] - out[1]).abs().max() > 1e-3


@pytest.mark.parametrize("train", [True, False])
def test_a_sample_does_not_depend_on_its_batch(train: bool) -> None:
    net = seeded(DCGANGenerator, latent_dim=8, size=32, width=4).train(train)
    z = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(z)[4:5], net(z[4:5]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(z).flip(0), net(z.flip(0)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [4, 48, 100])
def test_sizes_that_no_halving_ends_at_four_are_refused(size: int) -> None:
    for kind in (DCGANGenerator, DCGANDiscriminator):
        with pytest.raises(ValueError, match="power of two"):
            kind(size=size)


def test_resize_convolution_is_doubling_then_convolution() -> None:
    net, x = seeded(ResizeConv, inner=3, outer=5), noise(2, 3, 7, 6)
    with torch.no_grad():
        net.bias.copy_(noise(5))  # type: ignore[operator]  # a parameter
        expected = nn.functional.conv2d(nn.functional.interpolate(x, scale_factor=2), net.weight, net.bias, padding=1)
        torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)


def test_pixel_norm_leaves_unit_mean_square() -> None:
    x = noise(2, 6, 4, 4) * 7
    torch.testing.assert_close(PixelNorm()(x).square().mean(1), torch.ones(2, 4, 4), rtol=1e-4, atol=0)
    torch.testing.assert_close(PixelNorm()(x), PixelNorm()(3 * x), rtol=1e-4, atol=1e-6)


def test_discriminator_sees_the_spread_of_its_batch_only_where_it_is_told_to() -> None:
    x = noise(8, 1, 32, 32)
    same = x[:1].expand(8, -1, -1, -1)
    for spread, depends in ((True, True), (False, False)):
        net = seeded(DCGANDiscriminator, size=32, width=4, spread=spread)
        with torch.no_grad():
            alone, among = net(same)[0], net(torch.cat([x[:1], x[1:]]))[0]
        assert net(x).shape == (8, 1)
        assert (not torch.allclose(alone, among, atol=1e-4)) == depends


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
def test_discriminator_takes_any_batch(n: int) -> None:
    out = seeded(DCGANDiscriminator, size=16, width=4)(noise(n, 1, 16, 16))
    assert out.shape == (n, 1)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (33, 71), (128, 128), (200, 96)])
def test_features_of_any_size_have_one_length(size: tuple[int, int]) -> None:
    net = seeded(PhantomNet, width=4).eval()
    with torch.no_grad():
        assert net.features(noise(2, 1, *size)).shape == (2, 128)
        assert net(noise(2, 1, *size)).shape == (2, 2)


def test_features_know_images_by_what_they_show_and_not_by_their_size() -> None:
    net = seeded(PhantomNet, width=4).eval()
    low = nn.functional.interpolate(noise(2, 1, 8, 8), size=(64, 64), mode="bicubic")
    with torch.no_grad():
        here = net.features(low)
        there = net.features(nn.functional.interpolate(low, size=(128, 128), mode="bilinear", align_corners=False))
    assert (here - there).norm() < 0.2 * (here[0] - here[1]).norm()


def test_the_head_reads_the_features() -> None:
    net, x = seeded(PhantomNet, width=4).eval(), noise(3, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(net.head(net.features(x)), net(x))  # type: ignore[operator]  # modules


def test_images_too_small_for_features_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 pixels"):
        seeded(PhantomNet)(noise(1, 1, 64, 31))
