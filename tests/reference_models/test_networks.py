"""Networks: shapes, ranges, and results that do not depend on what else is in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reference_models import architectures
from reference_models.networks.patchgan import PatchDiscriminator
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
    assert {"resnet-translator", "unet-translator", "unet-segmenter"} <= set(known)
    first, again = known["resnet-translator"](width=8, blocks=1), known["resnet-translator"](width=8, blocks=1)
    again.load_state_dict(first.state_dict())
    assert torch.equal(first(noise(1, 1, 16, 16)), again(noise(1, 1, 16, 16)))
