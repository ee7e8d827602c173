"""The correction head: what it is told, where it has a say, and that it starts as no correction."""

from __future__ import annotations

import pytest
import torch

from core.engine import tiny_network
from ichhpinet import corrections
from ichhpinet.corrections import TAKEN_AWAY, Correction, listened
from ichhpinet.errors import Cancelled
from ichhpinet.networks.correction import FULL_MM, MAPS, NONE_MM, CorrectionHead, correction_maps, faded
from ichhpinet.regions import FAR_MM, far_mm

SPACING = (5.0, 1.0, 1.0)
SHAPE = (9, 64, 96)
PLACE, BESIDE = (4, 20, 30), (4, 20, 31)  # of the stroke


def random_head(seed: int = 0) -> CorrectionHead:
    """A head whose correction is not nothing."""
    torch.manual_seed(seed)
    head = CorrectionHead(4).eval()
    torch.nn.init.normal_(head.last.weight)
    return head


def one_stroke(kind: int) -> torch.Tensor:
    """A voxel painted, as foreground 0 or background 1."""
    new = torch.zeros(2, *SHAPE, dtype=torch.bool)
    new[(kind, *PLACE)] = True
    return new


def hear(head: CorrectionHead, probability: torch.Tensor, previous: float, kind: int) -> torch.Tensor:
    """A round with that stroke alone, in a noisy image."""
    image = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    new = one_stroke(kind)
    with torch.inference_mode():
        return listened(probability, Correction(torch.full(SHAPE, previous), new, new, SPACING), head, image)


def away_mm() -> torch.Tensor:
    """(d, h, w): how far from the stroke."""
    axes = (torch.arange(n) - middle for n, middle in zip(SHAPE, PLACE))
    z, y, x = torch.meshgrid(*(axis * step for axis, step in zip(axes, SPACING)), indexing="ij")
    return (z**2 + y**2 + x**2).sqrt()


def test_a_new_head_corrects_nothing() -> None:
    assert not CorrectionHead(4)(torch.randn(2, MAPS, 3, 16, 24)).any()
    probability = torch.rand(SHAPE)
    torch.testing.assert_close(hear(CorrectionHead(4), probability, 0.0, 0), probability, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "previous"), [(0, 0.0), (1, 1.0)])
def test_the_head_has_a_say_about_a_stroke_that_contradicts_and_not_beyond(kind: int, previous: float) -> None:
    probability = torch.full(SHAPE, 0.5)
    made = hear(random_head(), probability, previous, kind)
    assert torch.equal(made[away_mm() >= NONE_MM], probability[away_mm() >= NONE_MM])
    assert (made[away_mm() < FULL_MM] != 0.5).float().mean() > 0.9


@pytest.mark.parametrize(("kind", "previous"), [(0, 1.0), (1, 0.0)])
def test_a_stroke_that_agrees_says_nothing_to_the_head(kind: int, previous: float) -> None:
    probability = torch.rand(SHAPE)
    assert torch.equal(hear(random_head(), probability, previous, kind), probability)


def test_nothing_painted_moves_and_nothing_else_than_what_the_head_changes() -> None:
    probability, new = torch.full(SHAPE, 1e-9), one_stroke(0)
    painted = new.clone()
    painted[1, 4, 22:26, 30] = True  # an older stroke
    given = Correction(torch.zeros(SHAPE), new, painted, SPACING)
    still, image = CorrectionHead(4).eval(), torch.randn(SHAPE)
    with torch.inference_mode():
        assert torch.equal(listened(probability, given, still, image), probability)
        made = listened(probability, given, random_head(), image)
    assert torch.equal(made[painted.any(0)], probability[painted.any(0)])
    assert (made != probability).sum() > 1000


def test_the_box_that_is_looked_at_changes_nothing() -> None:
    head, probability, new = random_head(), torch.rand(SHAPE), one_stroke(0)
    image, previous = torch.randn(SHAPE), torch.zeros(SHAPE)
    distance = torch.stack([far_mm(kind, SPACING) for kind in new])
    with torch.inference_mode():
        whole = (image, torch.logit(probability, 1e-6), previous, new, new, distance, torch.tensor(SPACING[0]))
        change = head(correction_maps(*(part[None] for part in whole)))[0] * faded(distance[None])[0]
        change = torch.where(change < 0, TAKEN_AWAY * change, change)
        made = listened(probability, Correction(previous, new, new, SPACING), head, image)
    near = (away_mm() < 15) & ~new[0]  # nothing beyond the box is in the sight of what lies so near
    torch.testing.assert_close(torch.logit(made, 1e-6)[near], (whole[1] + change)[near], atol=1e-3, rtol=1e-3)


def test_distances_end_at_a_limit_and_are_that_where_nothing_is_painted() -> None:
    distance = far_mm(one_stroke(0)[0], SPACING)
    torch.testing.assert_close(distance, away_mm().clamp(max=FAR_MM))
    assert (far_mm(one_stroke(0)[1], SPACING) == FAR_MM).all()


def test_every_map_is_told_apart() -> None:
    torch.manual_seed(0)
    head, maps = random_head(), torch.rand(1, MAPS, 3, 16, 16)
    for number in range(MAPS):
        other = maps.clone()
        other[:, number] += 1
        assert not torch.allclose(head(maps), head(other)), number


def test_maps_show_densities_beside_those_painted_on() -> None:
    image = torch.full((1, 3, 16, 16), 0.5)
    image[..., 8:] = 0.0
    wrong = torch.zeros(1, 2, 3, 16, 16, dtype=torch.bool)
    wrong[0, 0, 1, 4, 4] = True
    distance = torch.full(wrong.shape, FAR_MM)
    maps = correction_maps(image, 0 * image, 0 * image, wrong, wrong, distance, torch.tensor([5.0]))
    unlike = maps[0, 9]  # the first of two, after image, logits, previous, four distances and two kinds of strokes
    assert not unlike[..., :8].any() and (unlike[..., 8:] < 0).all()
    assert not maps[0, 10].any()  # none of the other kind


@pytest.mark.parametrize("calls", [0, 2, 4, 9])
def test_a_cancel_is_noticed_before_the_head_is_asked_and_between_its_slices(
    calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "SLICES", 4)
    left = [calls]

    def stop() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Cancelled("cancelled")

    new, nothing = one_stroke(0), torch.zeros(SHAPE)
    with pytest.raises(Cancelled):
        listened(nothing, Correction(nothing, new, new, SPACING, stop), random_head(), nothing)


def test_a_few_slices_at_a_time_are_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    probability = torch.rand(SHAPE)
    whole = hear(random_head(), probability, 0.0, 0)
    monkeypatch.setattr(corrections, "SLICES", 2)
    torch.testing.assert_close(hear(random_head(), probability, 0.0, 0), whole, atol=1e-4, rtol=0)


def test_what_the_head_lowers_counts_less_than_what_it_raises() -> None:
    head = CorrectionHead(4)
    assert head.last.bias is not None
    for said, counted in ((1.0, 1.0), (-1.0, TAKEN_AWAY)):
        torch.nn.init.constant_(head.last.bias, said)
        made = hear(head, torch.full(SHAPE, 0.5), 0.0, 0)
        assert torch.logit(made[BESIDE]).item() == pytest.approx(said * counted, abs=1e-3)


def test_a_network_without_the_head_has_none() -> None:
    assert tiny_network(correction_channels=0).correction is None
    assert isinstance(tiny_network().correction, CorrectionHead)


def test_strokes_far_apart_are_not_looked_at_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (40, 96, 96)
    new = torch.zeros(2, *shape, dtype=torch.bool)
    new[0, 2, 8, 8] = new[0, 37, 88, 88] = True
    seen: list[int] = []
    forward = CorrectionHead.forward

    def counted(self: CorrectionHead, maps: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(maps[0, 0].numel())
        return forward(self, maps, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CorrectionHead, "forward", counted)
    probability = torch.full(shape, 0.5)
    with torch.inference_mode():
        given = Correction(torch.zeros(shape), new, new, SPACING)
        made = listened(probability, given, random_head(), torch.randn(shape))
    assert sum(seen) < 0.5 * probability.numel()
    assert (made[2, 6:12, 10:14] != 0.5).all() and (made[37, 84:90, 84:86] != 0.5).all()
    assert torch.equal(made[20], probability[20])
