"""Weight files: whole, ours and for this preprocessing, or refused by name; loading never runs code."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core.engine import play, round_inputs, small_ct, tiny_checkpoint, tiny_network
from ichhpinet import checkpoint as module
from ichhpinet.checkpoint import Checkpoint, fold_batch_norm, load_checkpoint, save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import HPINet, ModelConfig
from ichhpinet.predictor import Predictor


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    save_checkpoint(path, tiny_checkpoint())
    return path


def forge(path: Path, **changes: Any) -> None:
    """Rewrite some entries of a weight file; its SHA-256 goes with it."""
    entry = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in (entry | changes).items() if value is not None}, path)
    path.with_suffix(".sha256").unlink(missing_ok=True)


def test_weights_come_back_as_half_floats_with_their_record_and_digest(saved: Path) -> None:
    given, loaded = tiny_checkpoint(), load_checkpoint(saved)
    assert loaded.config == given.config
    assert (loaded.training, loaded.temperature) == ({"seed": 1}, 1.0)
    assert loaded.digest == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert saved.with_suffix(".sha256").read_text().split() == [loaded.digest, "weights.pt"]
    assert loaded.weights.keys() == given.weights.keys()
    for name, value in given.weights.items():
        kept = loaded.weights[name]
        assert kept.dtype == value.dtype
        wanted = value.half().float() if value.is_floating_point() and value.ndim > 1 else value
        assert torch.equal(kept, wanted), name
    assert not loaded.network().training


def test_the_same_file_gives_the_same_round_and_the_temperature_counts(saved: Path, tmp_path: Path) -> None:
    warm = Checkpoint(**(vars(tiny_checkpoint()) | {"temperature": 4.0}))
    save_checkpoint(tmp_path / "warm.pt", warm)
    first, again, calm = (
        Predictor.load(path, "cpu").open(small_ct()).propose().probability
        for path in (saved, saved, tmp_path / "warm.pt")
    )
    assert (first == again).all()
    assert abs(calm - 0.5).max() < abs(first - 0.5).max()


def test_saving_leaves_no_other_file_behind(saved: Path) -> None:
    assert sorted(p.name for p in saved.parent.iterdir()) == ["weights.pt", "weights.sha256"]


def test_what_ships_is_below_fourteen_megabytes(tmp_path: Path) -> None:
    network = HPINet(ModelConfig.compact())
    save_checkpoint(tmp_path / "compact.pt", Checkpoint(network.config, network.state_dict()))
    assert (tmp_path / "compact.pt").stat().st_size <= 14e6


def test_a_file_that_is_not_the_one_of_its_sha256_is_refused(saved: Path) -> None:
    for record in (f"{'0' * 64}  weights.pt\n", "", "\xff\xfe"):
        saved.with_suffix(".sha256").write_text(record, encoding="latin-1")
        with pytest.raises(InputError, match="SHA-256"):
            load_checkpoint(saved)
    saved.with_suffix(".sha256").unlink()
    load_checkpoint(saved)


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt") as caught:
        Predictor.load(tmp_path / "none.pt")
    assert str(tmp_path) not in str(caught.value)


def test_truncated_weights_are_refused(saved: Path) -> None:
    content = saved.read_bytes()
    saved.with_suffix(".sha256").unlink()
    for share in (0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999):
        saved.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(InputError):
            load_checkpoint(saved)


def test_a_flipped_byte_is_refused_or_changes_nothing(saved: Path) -> None:
    content, whole = saved.read_bytes(), load_checkpoint(saved)
    saved.with_suffix(".sha256").unlink()
    rng = random.Random(0)
    places = [rng.randrange(len(content)) for _ in range(40)] + [rng.randrange(2000) for _ in range(40)]
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        saved.write_bytes(bytes(damaged))
        try:
            found = load_checkpoint(saved)
        except InputError:
            refused += 1
            continue
        assert found.config == whole.config and found.training == whole.training
        assert all(torch.equal(value, whole.weights[name]) for name, value in found.weights.items())
    assert refused > 10


def test_with_its_sha256_any_flipped_byte_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(bytes(content))
    with pytest.raises(InputError, match="SHA-256"):
        load_checkpoint(saved)


class Malice:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def test_a_file_that_carries_code_is_refused_and_the_code_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for content in (Malice(str(trap)), {"format": module.FORMAT, "weights": Malice(str(trap))}):
        torch.save(content, tmp_path / "evil.pt")
        with pytest.raises(InputError):
            load_checkpoint(tmp_path / "evil.pt")
        assert not trap.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "another 3"}, "another program"),
        ({"preprocessing": module.PREPROCESSING_VERSION + 1}, "trained with preprocessing"),
        ({"preprocessing": None}, "damaged"),
        ({"weights": None}, "damaged"),
        ({"weights": {"a": "text"}}, "damaged"),
        ({"weights": 3}, "damaged"),
        ({"model": None}, "damaged"),
        ({"model": 7}, "damaged"),
        ({"model": {"name": "tiny"}}, "configuration does not fit"),
        ({"temperature": "hot"}, "damaged"),
        ({"training": 3}, "damaged"),
    ],
)
def test_a_file_with_other_contents_is_refused_by_name(saved: Path, changes: dict[str, Any], said: str) -> None:
    forge(saved, **changes)
    with pytest.raises(InputError, match=said):
        load_checkpoint(saved)


def test_a_file_that_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="another program"):
        load_checkpoint(tmp_path / "list.pt")


@pytest.mark.parametrize("change", [{"volume_widths": (4, 6, 8, 9)}, {"slice_block": "cube"}, {"key_widths": ()}])
def test_weights_of_another_size_than_their_configuration_are_refused(change: dict[str, Any]) -> None:
    config = ModelConfig.tiny(**change)
    with pytest.raises(InputError, match="do not fit"):
        Checkpoint(config, tiny_checkpoint().weights).network()


def test_folding_the_batch_norm_leaves_the_function_as_it_was() -> None:
    plain, folded = tiny_network(), fold_batch_norm(tiny_network())
    kinds = {type(part) for part in folded.modules()}
    assert not kinds & {torch.nn.BatchNorm2d, torch.nn.BatchNorm3d}
    before, after = (play(network, *round_inputs(touched=(1, 3))) for network in (plain, folded))
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(after.volume_logits, before.volume_logits, atol=1e-4, rtol=1e-3)


def test_the_bundled_weights_are_whole_if_there_are_any() -> None:
    try:
        predictor = Predictor.load(device="cpu")
    except FileNotFoundError:
        pytest.skip("no weights are bundled yet")
    assert predictor.config.name == "compact"
