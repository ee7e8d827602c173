"""The boundary head: its local contrasts, the box that it looks at, and that it starts as no correction."""

from __future__ import annotations

import pytest
import torch

from ichhpinet.networks import boundary
from ichhpinet.networks.boundary import CONTRAST_GAIN, MARGIN, BoundaryHead, contrasts


def random_head(channels: int = 4, seed: int = 0) -> BoundaryHead:
    """A head whose correction is not nothing."""
    torch.manual_seed(seed)
    head = BoundaryHead(5, channels).eval()
    torch.nn.init.normal_(head.last.weight)
    return head


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
    head = BoundaryHead(5, 4)
    assert not head(torch.randn(3, 5, 16, 16), torch.randn(3, 2, 16, 16)).any()


def test_the_head_hears_every_channel() -> None:
    head = random_head()
    prompts, said = torch.rand(1, 5, 16, 16), torch.randn(1, 2, 16, 16)
    before = head(prompts, said)
    for channel in range(7):
        told = [prompts.clone(), said.clone()]
        told[channel >= 5][:, channel % 5] += 0.5
        assert not torch.equal(head(*told), before), channel


def test_slices_and_plane_far_from_anything_likely_are_left_alone() -> None:
    head = random_head()
    said = torch.full((4, 2, 96, 112), -9.0)
    said[2, :, 40:44, 60:70] = 3.0
    correction = head(torch.rand(4, 5, 96, 112), said)
    assert correction[2].any() and not correction[[0, 1, 3]].any()
    rows, columns = (torch.nonzero(correction[2].any(axis)).flatten() for axis in (1, 0))
    assert rows.min() >= 40 - MARGIN - boundary.PLANE and rows.max() < 44 + MARGIN + boundary.PLANE
    assert columns.min() >= 60 - MARGIN - boundary.PLANE and columns.max() < 70 + MARGIN + boundary.PLANE


def test_within_its_box_the_head_says_what_it_says_of_the_whole_plane() -> None:
    head = random_head()
    prompts, said = torch.rand(1, 5, 96, 112), torch.full((1, 2, 96, 112), -9.0)
    said[:, :, 40:44, 60:70] = 3.0
    boxed, whole = head(prompts, said), head.correct(prompts, said)
    torch.testing.assert_close(boxed[:, 40:44, 60:70], whole[:, 40:44, 60:70], rtol=0.01, atol=1e-3)


def test_with_nothing_likely_there_is_no_correction() -> None:
    ticks: list[int] = []
    correction = random_head()(torch.rand(3, 5, 16, 16), torch.full((3, 2, 16, 16), -9.0), lambda: ticks.append(1))
    assert not correction.any() and not ticks


def test_slices_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    head, ticks = random_head(), []
    prompts, said = torch.rand(7, 5, 16, 16), torch.randn(7, 2, 16, 16)
    whole = head(prompts, said)
    monkeypatch.setattr(boundary, "SLICES", 3)
    torch.testing.assert_close(head(prompts, said, lambda: ticks.append(1)), whole)
    assert len(ticks) == 3


def test_gradients_reach_every_weight() -> None:
    head = random_head().train()
    head(torch.rand(2, 5, 16, 16), torch.randn(2, 2, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in head.parameters())
