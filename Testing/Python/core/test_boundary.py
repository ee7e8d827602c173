"""The boundary head: its local contrasts, the box that it looks at, and that it starts as no correction."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ichhpinet.networks import boundary
from ichhpinet.networks.boundary import CONTRAST_GAIN, MARGIN, BoundaryHead, contrasts
from ichhpinet.networks.context import neighbours


def random_head(channels: int = 4, seed: int = 0) -> BoundaryHead:
    """A head whose correction is not nothing."""
    torch.manual_seed(seed)
    head = BoundaryHead(5, channels, (6, 8)).eval()
    assert head.context is not None
    torch.nn.init.normal_(head.last.weight)
    starts_as_nothing = head.context.out, head.context.whole.second, *(mix.out for mix in head.context.mix)
    for layer in starts_as_nothing:  # which would hide them
        torch.nn.init.normal_(layer.weight, std=0.3)
    return head


def correct(
    head: BoundaryHead, prompts: torch.Tensor, said: torch.Tensor, *between: Callable[[], None]
) -> torch.Tensor:
    """`head` on one volume with slices of 5 mm."""
    return head(prompts[None], said[None], torch.tensor([5.0]), *between)[0]


def square(size: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, size, size) brain at 35 HU and blood at 60 HU, normalised, and where the blood is."""
    blood = torch.zeros(1, size, size)
    blood[:, 16:32, 16:32] = 1
    return (35 + 25 * blood - 40) / 40, blood


def test_contrasts_are_the_differences_of_local_means() -> None:
    image, blood = square()
    less_blood, less_tissue, between = contrasts(image, blood, 9)[0]
    gap = CONTRAST_GAIN * 25 / 40
    inside, border = (24, 24), (15, 20)  # well within, and in brain beside it
    assert less_blood[border].item() == pytest.approx(-gap, abs=0.05)
    assert less_tissue[border].item() == pytest.approx(0.0, abs=1e-3)
    assert between[border].item() == pytest.approx(gap, abs=0.05)
    assert less_blood[inside].item() == pytest.approx(0.0, abs=0.02)


def test_bone_and_air_do_not_enter_a_local_mean() -> None:
    image, blood = square()
    image[:, :, 33:] = 2.25  # bone beside the blood
    image[:, 34:, :] = -1.75  # air under it
    less_tissue = contrasts(image, blood, 9)[0, 1]
    assert less_tissue[24, 32].item() == pytest.approx(0.0, abs=0.01)  # brain between blood and bone
    assert torch.isfinite(contrasts(torch.full_like(image, -1.75), blood, 9)).all()


def test_where_no_blood_is_near_the_contrast_is_the_prior() -> None:
    image, _ = square()
    between = contrasts(image, torch.zeros_like(image), 9)[0, 2]
    assert (between > 0).all() and torch.allclose(between, between[0, 0])


def test_the_head_starts_as_no_correction_at_all() -> None:
    head = BoundaryHead(5, 4, (6, 8))
    assert not correct(head, torch.randn(3, 5, 16, 16), torch.randn(3, 2, 16, 16)).any()


def test_the_head_hears_every_channel() -> None:
    head = random_head()
    prompts, said = torch.rand(1, 5, 16, 16), torch.randn(1, 2, 16, 16)
    before = correct(head, prompts, said)
    for channel in range(7):
        told = [prompts.clone(), said.clone()]
        told[channel >= 5][:, channel % 5] += 0.5
        assert not torch.equal(correct(head, *told), before), channel


def test_slices_and_plane_far_from_anything_likely_are_left_alone() -> None:
    head = random_head()
    said = torch.full((4, 2, 96, 112), -9.0)
    said[2, :, 40:44, 60:70] = 3.0
    correction = correct(head, torch.rand(4, 5, 96, 112), said)
    assert correction[2].any() and not correction[[0, 1, 3]].any()
    rows, columns = (torch.nonzero(correction[2].any(axis)).flatten() for axis in (1, 0))
    assert rows.min() >= 40 - MARGIN - boundary.PLANE and rows.max() < 44 + MARGIN + boundary.PLANE
    assert columns.min() >= 60 - MARGIN - boundary.PLANE and columns.max() < 70 + MARGIN + boundary.PLANE


def test_within_its_box_the_head_says_what_it_says_of_the_whole_plane() -> None:
    head = random_head()
    prompts, said = torch.rand(1, 5, 96, 112), torch.full((1, 2, 96, 112), -9.0)
    said[:, :, 40:44, 60:70] = 3.0
    boxed, whole = correct(head, prompts, said), head.correct(prompts, said, torch.tensor([5.0]), [1])
    torch.testing.assert_close(boxed[:, 40:44, 60:70], whole[:, 40:44, 60:70], rtol=0.01, atol=0.02)


def test_with_nothing_likely_there_is_no_correction() -> None:
    ticks: list[int] = []
    nothing = torch.full((3, 2, 16, 16), -9.0)
    correction = correct(random_head(), torch.rand(3, 5, 16, 16), nothing, lambda: ticks.append(1))
    assert not correction.any() and not ticks


def test_slices_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    head, ticks = random_head(), []
    prompts, said = torch.rand(11, 5, 16, 16), torch.randn(11, 2, 16, 16)
    whole = correct(head, prompts, said)
    monkeypatch.setattr(boundary, "SLICES", 3)
    torch.testing.assert_close(correct(head, prompts, said, lambda: ticks.append(1)), whole)
    assert len(ticks) == 4 + 1 + 4


def test_gradients_reach_every_weight() -> None:
    head = random_head().train()
    correct(head, torch.rand(2, 5, 16, 16), torch.randn(2, 2, 16, 16)).square().sum().backward()
    missed = [name for name, weight in head.named_parameters() if weight.grad is None or not weight.grad.any()]
    residuals = (
        "middle.first",
        "joined.first",
        "coarse.0.first",
        "coarse.1.first",
    )  # reached once their second is not 0
    assert {name.removeprefix("context.").rsplit(".", 1)[0] for name in missed} <= set(residuals)


def test_volumes_of_a_batch_do_not_hear_each_other() -> None:
    head = random_head()
    prompts, said = torch.rand(2, 4, 5, 16, 16), torch.randn(2, 4, 2, 16, 16)
    both = head(prompts, said, torch.tensor([5.0, 2.5]))
    for volume, spacing in enumerate((5.0, 2.5)):
        alone = head(prompts[volume : volume + 1], said[volume : volume + 1], torch.tensor([spacing]))
        torch.testing.assert_close(both[volume : volume + 1], alone)
    flat = prompts.flatten(0, 1), said.flatten(0, 1), torch.tensor([5.0] * 4 + [2.5] * 4)
    torch.testing.assert_close(head.correct(*flat, [4, 4]).view_as(both), both)


def test_a_slice_is_told_what_three_slices_on_either_side_show() -> None:
    head = random_head()
    torch.nn.init.zeros_(head.context.whole.second.weight)  # type: ignore[union-attr]
    prompts, said = torch.rand(9, 5, 16, 16), torch.randn(9, 2, 16, 16)
    other = prompts.clone()
    other[0] += 0.5
    changed = (correct(head, prompts, said) != correct(head, other, said)).flatten(1).any(1)
    assert changed.tolist() == [True] * 4 + [False] * 5


def test_every_slice_is_told_of_the_whole_bleed_and_none_of_what_is_far_from_it() -> None:
    head = random_head()
    prompts, said = torch.rand(9, 5, 48, 48), torch.full((9, 2, 48, 48), -30.0)
    said[:, :, 20:24, 20:24] = 3.0
    before = correct(head, prompts, said)
    near, far = prompts.clone(), prompts.clone()
    near[0, :, 20:24, 20:24] += 0.5
    far[0, :, 44:, 44:] += 0.5
    assert (correct(head, near, said)[8] != before[8]).any()
    torch.testing.assert_close(correct(head, far, said)[8], before[8], rtol=1e-4, atol=1e-5)


def test_without_context_every_slice_is_by_itself() -> None:
    torch.manual_seed(0)
    head = BoundaryHead(5, 4).eval()
    torch.nn.init.normal_(head.last.weight)
    prompts, said = torch.rand(3, 5, 16, 16), torch.randn(3, 2, 16, 16)
    single = torch.cat([head.correct(prompts[i : i + 1], said[i : i + 1], torch.ones(1), [1]) for i in range(3)])
    torch.testing.assert_close(head.correct(prompts, said, torch.ones(3), [3]), single)


def test_neighbours_stay_within_their_stack() -> None:
    above, below = neighbours([3, 1, 2])
    assert above.tolist() == [0, 0, 1, 3, 4, 4] and below.tolist() == [1, 2, 2, 3, 5, 5]
