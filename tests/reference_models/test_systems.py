"""Systems: what one step changes, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from reference_models.data import FACTS, Batch
from reference_models.systems import DCGAN, SYSTEMS, CycleGAN, PhantomFacts, Pix2Pix, Segmenter
from reference_models.systems.base import trainable
from reference_models.systems.cyclegan import HistoryPool
from reference_models.systems.dcgan import r1_penalty
from reference_models.systems.phantom_net import AGE_YEARS
from reference_models.systems.segmenter import jitter, soft_dice_loss


def batch(n: int = 3, size: int = 16) -> Batch:
    g = torch.Generator().manual_seed(5)
    source, target = (torch.rand((n, 1, size, size), generator=g) * 2 - 1 for _ in range(2))
    facts = torch.rand((n, len(FACTS)), generator=g)
    return Batch(source, target, (target > 0.5).float(), facts)


def make(kind: type[nn.Module], **options) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind(**options).train()


def snapshot(nets: Iterable[nn.Module]) -> list[Tensor]:
    return [p.detach().clone() for net in nets for p in net.parameters()]


def all_changed(before: list[Tensor], nets: Iterable[nn.Module]) -> bool:
    return all(not torch.equal(a, b) for a, b in zip(before, snapshot(nets), strict=True))


def none_changed(before: list[Tensor], nets: Iterable[nn.Module]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, snapshot(nets), strict=True))


def before_step(optimizer: torch.optim.Optimizer, look: Callable[[], None]) -> None:
    """Have `look` called each time just before the optimizer changes its parameters."""
    optimizer.register_step_pre_hook(lambda *_: look())


def cyclegan() -> tuple[CycleGAN, list[nn.Module], list[nn.Module]]:
    system = make(CycleGAN, width=8, blocks=1, d_width=8)
    assert isinstance(system, CycleGAN)
    generators = [system.forward_generator, system.backward_generator]
    return system, generators, [system.target_critic, system.source_critic]


def test_cyclegan_step_trains_generators_and_critics_each_by_its_own_optimizer() -> None:
    system, generators, critics = cyclegan()
    g_before, d_before = snapshot(generators), snapshot(critics)
    seen = []

    def generators_turn() -> None:
        # The critics are frozen, so that the generators' loss leaves them neither a gradient nor a change.
        assert all(not p.requires_grad and p.grad is None for net in critics for p in net.parameters())
        seen.append("g")

    def critics_turn() -> None:
        assert none_changed(d_before, critics)
        assert all_changed(g_before, generators)
        g_before[:] = snapshot(generators)
        seen.append("d")

    before_step(system.optimizers["g"], generators_turn)
    before_step(system.optimizers["d"], critics_turn)
    losses = system.step(batch())
    assert seen == ["g", "d"]
    assert none_changed(g_before, generators)  # the critics' update is not theirs
    assert all_changed(d_before, critics)
    assert all(p.requires_grad for net in (*generators, *critics) for p in net.parameters())
    assert all(torch.isfinite(torch.tensor(v)) for v in losses.values())
    assert {"d", "g", "cycle"} <= set(losses)


def test_cyclegan_exports_the_source_to_target_generator() -> None:
    system, (forward, _), _ = cyclegan()
    assert system.exported is forward


def test_cyclegan_extra_state_is_the_two_pools() -> None:
    system, _, _ = cyclegan()
    system.step(batch())
    other, _, _ = cyclegan()
    other.load_extra_state(system.extra_state())
    for name, pool in system.history.items():
        assert other.history[name].draws == pool.draws == 3
        assert all(torch.equal(a, b) for a, b in zip(other.history[name].images, pool.images, strict=True))


def test_pix2pix_trains_both_sides_in_every_step() -> None:
    system = make(Pix2Pix, width=8, depth=3, d_width=8)
    assert isinstance(system, Pix2Pix)
    for _ in range(2):
        generator, discriminator = snapshot([system.generator]), snapshot([system.discriminator])
        losses = system.step(batch())
        assert all_changed(generator, [system.generator])
        assert all_changed(discriminator, [system.discriminator])
        assert set(losses) == {"d", "g", "l1"}


def test_pix2pix_discriminator_is_left_alone_by_the_generators_turn() -> None:
    system = make(Pix2Pix, width=8, depth=3, d_width=8)
    assert isinstance(system, Pix2Pix)
    after_its_own: list[list[Tensor]] = []
    system.optimizers["d"].register_step_post_hook(lambda *_: after_its_own.append(snapshot([system.discriminator])))
    gradients = []
    before_step(
        system.optimizers["g"],
        lambda: gradients.append([p.grad.clone() for p in system.discriminator.parameters() if p.grad is not None]),
    )
    before_step(
        system.optimizers["d"],
        lambda: gradients.append([p.grad.clone() for p in system.discriminator.parameters() if p.grad is not None]),
    )
    system.step(batch())
    assert none_changed(after_its_own[0], [system.discriminator])
    for own, later in zip(*gradients, strict=True):
        assert torch.equal(own, later)


def test_segmenter_learns_a_batch() -> None:
    system = make(Segmenter, width=4, depth=2, lr=1e-2)
    assert isinstance(system, Segmenter)
    losses = [system.step(batch()) for _ in range(25)]
    assert losses[-1]["bce"] < 0.7 * losses[0]["bce"]


def dcgan(**options: float) -> DCGAN:
    system = make(DCGAN, **{"latent_dim": 4, "size": 16, "width": 4, "d_width": 4, **options})
    assert isinstance(system, DCGAN)
    return system


def test_dcgan_step_trains_both_sides_each_by_its_own_optimizer() -> None:
    system = dcgan()
    g_before, d_before = snapshot([system.generator]), snapshot([system.discriminator])
    d_after: list[Tensor] = []
    system.optimizers["d"].register_step_post_hook(lambda *_: d_after.extend(snapshot([system.discriminator])))
    before_step(system.optimizers["d"], lambda: seen.append(none_changed(g_before, [system.generator])))
    seen: list[bool] = []
    losses = system.step(batch(8))
    assert seen == [True]
    assert all_changed(g_before, [system.generator])
    assert all_changed(d_before, [system.discriminator])
    assert none_changed(d_after, [system.discriminator])  # the generator's turn is not its own
    assert set(losses) == {"d", "g", "real_logit", "fake_logit"}
    assert all(torch.isfinite(torch.tensor(v)) for v in losses.values())


def test_dcgan_discriminator_learns_to_tell_noise_from_a_frozen_generator() -> None:
    system = dcgan(g_lr=0.0, d_lr=1e-2, r1_gamma=0.1)
    losses = [system.step(batch(8)) for _ in range(30)]

    def late(name: str) -> float:
        """Mean over the last 20 steps: a single one may jump, and which one depends on the processor."""
        return sum(step[name] for step in losses[-20:]) / 20

    assert late("d") < 0.5 * losses[0]["d"]
    assert late("real_logit") > late("fake_logit")


def test_r1_penalty_of_a_linear_discriminator_is_its_squared_weight() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    penalty = r1_penalty(linear, batch(5, 8).target)
    torch.testing.assert_close(penalty, linear[1].weight.square().sum())
    penalty.backward()
    torch.testing.assert_close(linear[1].weight.grad, 2 * linear[1].weight)


def test_r1_falls_due_every_few_steps_also_in_a_resumed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import reference_models.systems.dcgan as module

    due: list[int] = []
    current = dcgan(r1_every=3)
    monkeypatch.setattr(module, "r1_penalty", lambda net, x: due.append(int(current.calls)) or r1_penalty(net, x))
    for _ in range(5):
        current.step(batch(4))
    resumed = dcgan(r1_every=3)
    resumed.load_state_dict(current.state_dict())
    current = resumed
    for _ in range(3):
        current.step(batch(4))
    assert due == [0, 3, 6]


def test_no_penalty_is_computed_without_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    import reference_models.systems.dcgan as module

    monkeypatch.setattr(module, "r1_penalty", lambda *_: pytest.fail("computed"))
    dcgan(r1_gamma=0.0).step(batch(4))


def test_phantom_facts_learn_a_batch() -> None:
    system = make(PhantomFacts, width=2, lr=1e-2)
    assert isinstance(system, PhantomFacts)
    known = batch(8, 32)
    known.facts[:, FACTS.index("tumour")] = torch.arange(8) % 2
    known.facts[:, FACTS.index("age_years")] = torch.linspace(30, 80, 8)
    first, *_, last = [system.step(known) for _ in range(60)]
    assert last["tumour"] < 0.3 * first["tumour"]
    assert last["age"] < 0.3 * first["age"]
    assert last["side"] < first["side"]
    with torch.no_grad():
        logit, age = system.network(known.target).unbind(1)
    assert ((logit > 0) == (known.facts[:, 0] > 0)).all()
    years = age * AGE_YEARS[1] + AGE_YEARS[0]
    assert (years - known.facts[:, FACTS.index("age_years")]).abs().mean() < 10


def test_side_weight_zero_leaves_the_side_head_alone() -> None:
    system = make(PhantomFacts, width=2, side_weight=0.0)
    assert isinstance(system, PhantomFacts)
    system.step(batch(4, 32))
    assert not any(p.grad.any() for p in system.side_head.parameters() if p.grad is not None)


def test_every_system_declares_what_a_checkpoint_says_of_it() -> None:
    for kind in SYSTEMS.values():
        system = kind()
        assert isinstance(system.architecture, str)
        assert system.config
        assert any(net is system.exported for net in system.children())


def test_trainable_freezes_and_thaws() -> None:
    net = nn.Linear(2, 2)
    trainable(net, yes=False)
    assert not any(p.requires_grad for p in net.parameters())
    trainable(net, yes=True)
    assert all(p.requires_grad for p in net.parameters())


def numbered(start: int, n: int) -> Tensor:
    """Images that hold their own number."""
    return torch.arange(start, start + n, dtype=torch.float32).reshape(n, 1, 1, 1).expand(n, 1, 2, 2)


def test_history_pool_passes_images_through_until_it_is_full() -> None:
    pool = HistoryPool(4, "test")
    assert torch.equal(pool.exchange(numbered(0, 4)), numbered(0, 4))
    assert len(pool.images) == 4


def test_history_pool_gives_back_as_many_images_and_half_of_them_old() -> None:
    pool = HistoryPool(10, "test")
    pool.exchange(numbered(0, 10))
    old, seen = 0, list(range(10))
    for k in range(100):
        fresh = numbered(10 + 4 * k, 4)
        out = pool.exchange(fresh)
        assert out.shape == fresh.shape
        assert len(pool.images) == 10
        seen += [int(v) for v in fresh[:, 0, 0, 0]]
        back = [int(v) for v in out[:, 0, 0, 0]]
        assert set(back) <= set(seen)
        old += sum(number < 10 + 4 * k for number in back)
    # 400 exchanges: 200 expected, standard deviation 10; an image of the same batch can come back too.
    assert 150 < old < 240


def test_history_pool_is_named_detached_and_optional() -> None:
    one, same, other = HistoryPool(3, "a"), HistoryPool(3, "a"), HistoryPool(3, "b")
    outs = [torch.cat([pool.exchange(numbered(4 * k, 4)) for k in range(20)]) for pool in (one, same, other)]
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    assert not one.exchange(numbered(0, 2).clone().requires_grad_()).requires_grad


@pytest.mark.parametrize(("logit", "expected"), [(30.0, 0.0), (-30.0, 1.0)])
def test_soft_dice_loss_runs_from_all_found_to_none(logit: float, expected: float) -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 8:40, 8:40] = 1
    assert float(soft_dice_loss(logit * (2 * mask - 1), mask)) == pytest.approx(expected, abs=1e-3)


def test_jitter_changes_style_and_keeps_the_scene() -> None:
    images = torch.full((8, 1, 32, 32), -0.6)
    images[:, :, 8:24, 8:24] = 0.6
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = jitter(images)
    assert out.shape == images.shape
    assert torch.isfinite(out).all()
    inside, outside = out[:, :, 10:22, 10:22].mean((1, 2, 3)), out[:, :, :6].mean((1, 2, 3))
    assert (inside - outside > 0.5).all()
    assert inside.std() > 0.02  # each image has a style of its own
