"""The scanner: what beam hardening and thick slabs do to a head."""

from __future__ import annotations

import torch

from ichhpinet_workbench.phantom.fields import Dice
from ichhpinet_workbench.phantom.scanner import Optics, thick_slabs, veil

SPACING = (4.0, 2.0, 2.0)
ALWAYS, NEVER = Optics(veil_chance=1.0, overlap_chance=1.0), Optics(veil_chance=0.0, overlap_chance=0.0)


def dice(seed: int) -> Dice:
    """A stream of draws."""
    return Dice(seed, "test", torch.device("cpu"))


def box_head() -> torch.Tensor:
    """(12, 60, 60) HU: brain of 35 in a box of bone, closed on top; air around."""
    hu = torch.full((12, 60, 60), -1000.0)
    hu[:11, 10:50, 10:50] = 900.0
    hu[:9, 14:46, 14:46] = 35.0
    return hu


def test_brain_brightens_beside_bone_and_most_below_the_vault() -> None:
    rims, vaults = [], []
    for seed in range(30):
        added = veil(dice(seed), ALWAYS, box_head(), SPACING) - box_head()
        assert torch.all(added[box_head() > 200] == 0) and torch.all(added[box_head() < -500] == 0)
        rims.append(float(added[2, 14, 30] - added[2, 30, 30]))
        vaults.append(float(added[8, 30, 30] - added[2, 30, 30]))
    assert min(rims) >= -2 and sorted(rims)[15] > 10
    assert sorted(vaults)[15] > 10


def test_a_slab_thicker_than_its_step_mixes_neighbours_and_keeps_the_sum() -> None:
    hu = torch.zeros(5, 4, 4)
    hu[2] = 90.0
    blood = (hu > 0).float()[None]
    mixed, share = thick_slabs(dice(0), ALWAYS, hu, blood)
    assert float(mixed[1, 0, 0]) == float(mixed[3, 0, 0]) > 0
    torch.testing.assert_close(mixed.sum(), hu.sum())
    torch.testing.assert_close(share[0] * 90.0, mixed)
    assert float(mixed[0].abs().sum()) == 0


def test_a_scanner_without_them_changes_nothing() -> None:
    head = box_head()
    assert torch.equal(veil(dice(0), NEVER, head, SPACING), head)
    assert thick_slabs(dice(0), NEVER, head)[0] is head
