"""The network: sizes, the published parameter counts, any depth, memory and propagation, ablations."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from core.engine import play, round_inputs, tiny_network
from ichhpinet.errors import InputError
from ichhpinet.networks import HPINet, Memory, ModelConfig, hpinet
from ichhpinet.networks.mpffm import places_of, readout
from ichhpinet.networks.summary import costs

# The paper's sizes as this code builds them; the volume and slice branches are the published ones.
PAPER_PARAMETERS = {
    "vim": 137_427_521,
    "sim": 39_639_745,
    "query_encoder": 13_256_128,
    "memory_encoder": 7_837_043,
    "decoder": 9_140_097,
    "fcm": 922_755,
}


@pytest.fixture(scope="module")
def network() -> HPINet:
    return tiny_network()


# -- configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["paper", "compact", "tiny"])
def test_a_configuration_comes_back_from_plain_values_and_json(name: str) -> None:
    config = ModelConfig.named(name, read_limit=4, use_fusion=False)
    assert config.name == name
    assert (config.read_limit, config.use_fusion) == (4, False)
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ModelConfig.named("huge"), "'huge'; it must be one of paper, compact, tiny"),
        (lambda: ModelConfig.named("tiny", wings=2), "wings is not a field"),
        (lambda: ModelConfig.tiny(volume_only=True, slice_only=True), "at most one"),
        (lambda: ModelConfig.tiny(volume_widths=(4, 6)), "it must have 1"),
        (lambda: ModelConfig.from_dict({"name": "tiny"}), "does not fit this version"),
        (lambda: ModelConfig.from_dict(ModelConfig.tiny().to_dict() | {"wings": 2}), "does not fit this version"),
    ],
)
def test_a_configuration_that_makes_no_network_is_refused_by_name(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_the_paper_has_the_published_sizes_module_by_module() -> None:
    with torch.device("meta"):  # nothing is allocated
        paper = HPINet(ModelConfig.paper())
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in paper.named_children()}
    assert counts == PAPER_PARAMETERS
    assert sum(counts.values()) == 208_223_289
    assert counts["vim"] / 1e6 == pytest.approx(137.4, abs=0.05)
    assert counts["sim"] / 1e6 == pytest.approx(39.6, abs=0.05)


def test_the_paper_runs_from_prompts_to_logits_on_shapes_alone() -> None:
    with torch.device("meta"):
        paper = HPINet(ModelConfig.paper()).eval()
        logits, maps = paper.vim(torch.empty(1, 5, 16, 32, 32), torch.empty(1, 1))
        features = paper.encode(torch.empty(16, 64, 64))
        fused = dict(zip(paper.fused_strides, paper.fcm(maps)))
        masks = torch.empty(16, 1, 64, 64)
        value = paper.memory_encoder(masks, masks, features.coarse)
        decoded = paper.decoder(fused, value, features, masks)
    assert logits.shape == (1, 1, 16, 32, 32)
    assert features.coarse.shape == (16, 1024, 4, 4)
    assert sorted(fused) == [2, 4, 8]
    assert decoded.shape == (16, 1, 64, 64)


@pytest.mark.parametrize("name", ["paper", "compact", "tiny"])
def test_the_summary_counts_what_the_network_has(name: str) -> None:
    with torch.device("meta"):
        network = HPINet(ModelConfig.named(name))
    rows = costs(ModelConfig.named(name), slices=4, pixels=64)
    assert [row.name for row in rows] == ["VIM", "SIM", "FCM", "MPFFM"] + ["border", "correction"] * (name != "paper")
    assert sum(row.millions for row in rows) == pytest.approx(sum(p.numel() for p in network.parameters()) / 1e6)
    assert all((row.gflop > 0) == (row.name != "correction") for row in rows)  # it has no say in a first round


# -- shapes, evaluation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 7, 17])
def test_depths_that_are_a_multiple_of_nothing_work(network: HPINet, depth: int) -> None:
    logits, maps = network.vim(torch.randn(1, 5, depth, 16, 16), torch.zeros(1, 1))
    assert logits.shape == (1, 1, depth, 16, 16)
    assert [tuple(level.shape[2:]) for level in maps] == [(depth, 16, 16), (depth, 8, 8), (depth, 4, 4)]
    outputs = play(network, *round_inputs((depth, 16, 32), touched=(depth // 2,)))
    assert outputs.logits.shape == (1, depth, 16, 32)
    assert torch.isfinite(outputs.logits).all()


def test_evaluation_repeats_exactly_and_changes_no_weight(network: HPINet) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = (play(network, *round_inputs()) for _ in range(2))
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.memory.masks, second.memory.masks)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_volumes_of_a_batch_do_not_see_each_other(network: HPINet) -> None:
    inputs, memory = round_inputs(batch=2, touched=(1, 4))
    inputs.touched[1, 4] = False
    inputs.painted[1, :, 4] = False
    both = play(network, inputs, memory)
    for i in range(2):
        part = type(inputs)(*(value[i : i + 1] for value in inputs))
        alone = play(network, part, type(memory)(*(value[i : i + 1] for value in memory)))
        torch.testing.assert_close(both.logits[i : i + 1], alone.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["image", "previous", "painted", "spacing_mm"])
def test_everything_that_a_round_is_told_moves_its_result(network: HPINet, name: str) -> None:
    inputs, memory = round_inputs()
    other = {
        "image": inputs.image + 0.5,
        "previous": 1 - inputs.previous,
        "painted": inputs.painted.flip(1),
        "spacing_mm": inputs.spacing_mm * torch.tensor([0.5, 1.0, 1.0]),
    }[name]
    changed = play(network, inputs._replace(**{name: other}), memory).logits
    assert (changed - play(network, inputs, memory).logits).abs().max() > 1e-3


def test_the_volume_branch_is_told_the_slice_thickness(network: HPINet) -> None:
    x = torch.randn(1, 5, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    thin, thick = (network.vim(x, torch.full((1, 1), value))[0] for value in (-1.0, 1.0))
    assert (thin - thick).abs().max() > 1e-3


def test_a_stroke_that_grows_takes_effect_though_all_else_stays(network: HPINet) -> None:
    inputs, memory = round_inputs()
    more = inputs.painted.clone()
    more[:, 0, 2, 12:15, 12:15] = True
    more[:, 1] &= ~more[:, 0]
    changed = play(network, inputs._replace(painted=more), memory).logits
    assert not torch.equal(changed, play(network, inputs, memory).logits)


@pytest.mark.parametrize("switch", [{"stroke_reach": "painted"}, {"stroke_reach": "distance"}, {"use_likeness": False}])
def test_what_strokes_say_can_be_made_less_for_comparison(network: HPINet, switch: dict[str, object]) -> None:
    inputs, memory = round_inputs()
    whole = play(network, inputs, memory).logits
    poorer = HPINet(dataclasses.replace(network.config, **switch)).eval()  # type: ignore[arg-type]
    poorer.load_state_dict(network.state_dict())
    assert not torch.equal(play(poorer, inputs, memory).logits, whole)


def test_a_stroke_reach_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="stroke_reach is 'far'; it must be one of geodesic, distance, painted"):
        ModelConfig.tiny(stroke_reach="far")


def chunked(monkeypatch: pytest.MonkeyPatch, network: HPINet, halo: int) -> tuple[Tensor, Tensor]:
    """VIM's logits of 60 slices at once, and in chunks of 16."""
    inputs, _ = round_inputs((60, 16, 16), touched=(7, 40))
    with torch.inference_mode():
        prompts = network._volume_prompts(inputs)
        monkeypatch.setattr(hpinet, "CHUNK_SLICES", 60)
        whole, whole_maps = network._volume(inputs, prompts, lambda _: None)
        monkeypatch.setattr(hpinet, "CHUNK_SLICES", 16)
        monkeypatch.setattr(hpinet, "HALO_SLICES", halo)
        parts, part_maps = network._volume(inputs, prompts, lambda _: None)
    assert [level.shape for level in part_maps] == [level.shape for level in whole_maps]
    return whole[0, 0], parts[0, 0]


def test_many_slices_in_chunks_are_the_slices_at_once(network: HPINet, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = chunked(monkeypatch, network, hpinet.HALO_SLICES)  # as far as VIM sees along z
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-4)


def test_without_a_halo_chunks_would_differ(network: HPINet, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = chunked(monkeypatch, network, 0)
    assert float((whole - parts).abs().max()) > 1e-4


def test_four_hundred_slices_take_the_chunked_way(network: HPINet) -> None:
    ticks: list[float] = []
    inputs, memory = round_inputs((400, 16, 16), touched=(10, 200))
    with torch.inference_mode():
        features = network.encode(inputs.image[0])
        outputs = network(inputs, features, memory, ticks.append)
    assert outputs.logits.shape == (1, 400, 16, 16)
    assert torch.isfinite(outputs.logits).all()
    assert ticks == sorted(ticks) and len(ticks) > 50
    assert 0 <= ticks[0] and ticks[-1] <= 1


# -- memory ----------------------------------------------------------------------------------------------------------


def keys_and_values(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """key_r (2, 3, 4, 6), value_r (2, 3, 5, 6), key_k (2, 4, 6), valid (2, 3) with one entry barred."""
    rng = torch.Generator().manual_seed(seed)
    shapes = ((2, 3, 4, 6), (2, 3, 5, 6), (2, 4, 6))
    key_r, value_r, key_k = (torch.randn(shape, generator=rng) for shape in shapes)
    return key_r, value_r, key_k, torch.tensor([[True, True, True], [True, True, False]])


def affinity(key_r: Tensor, key_k: Tensor, valid: Tensor) -> Tensor:
    """A of equations 3 and 4, not shortened, (N, M * P, Q): softmax over the memory of -|K_r - K_k|^2 / sqrt(d)."""
    n, m, c, p = key_r.shape
    flat = key_r.transpose(2, 3).reshape(n, m * p, c)
    distance = (flat[:, :, None] - key_k.transpose(1, 2)[:, None]).square().sum(3)
    barred = ~valid.repeat_interleave(p, 1)[:, :, None]
    return torch.softmax((-distance / c**0.5).masked_fill(barred, float("-inf")), 1)


def test_a_read_is_value_times_affinity() -> None:
    key_r, value_r, key_k, valid = keys_and_values()
    for mask in (valid, torch.ones_like(valid)):
        joined = value_r.transpose(2, 3).reshape(2, 18, 5)
        wanted = joined.transpose(1, 2) @ affinity(key_r, key_k, mask)
        torch.testing.assert_close(readout(key_r, value_r, key_k, mask), wanted, atol=1e-5, rtol=1e-4)


def test_what_is_read_where_each_place_stands_for_itself_is_the_affinity() -> None:
    key_r, _, key_k, valid = keys_and_values()
    places = torch.eye(18).view(18, 3, 6).transpose(0, 1)[None].expand(2, -1, -1, -1)
    weights = readout(key_r, places, key_k, valid)
    torch.testing.assert_close(weights, affinity(key_r, key_k, valid), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 6))
    assert torch.all(weights[1, 12:] == 0)


def test_places_weigh_each_position_by_a_gaussian_of_its_distance() -> None:
    key_r, _, key_k, valid = keys_and_values()  # six positions, two rows of three
    everything = torch.eye(18).view(18, 3, 6).transpose(0, 1)[None].expand(2, -1, -1, -1)
    near = readout(key_r, everything, key_k, valid, places_of(2, 3, 0.7, torch.device("cpu")))
    y, x = torch.arange(6) // 3, torch.arange(6) % 3
    distance2 = (y[:, None] - y).square() + (x[:, None] - x).square()
    wanted = affinity(key_r, key_k, valid) * torch.exp(-distance2 / (2 * 0.7**2)).repeat(3, 1)
    torch.testing.assert_close(near, wanted / wanted.sum(1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_a_short_reach_reads_what_lies_in_its_own_place_and_a_long_one_anywhere() -> None:
    key_r, value_r, key_k, valid = keys_and_values()
    one = value_r[:, :1], key_r[:, :1], valid[:, :1]
    own = readout(one[1], one[0], key_k, one[2], places_of(2, 3, 0.05, torch.device("cpu")))
    torch.testing.assert_close(own, value_r[:, 0])
    far = readout(key_r, value_r, key_k, valid, places_of(2, 3, 1e4, torch.device("cpu")))
    torch.testing.assert_close(far, readout(key_r, value_r, key_k, valid), atol=1e-4, rtol=1e-3)


def test_an_entry_that_is_not_valid_gives_nothing() -> None:
    key_r, value_r, key_k, valid = keys_and_values()
    before = readout(key_r, value_r, key_k, valid)
    value_r[1, 2] = 1e6
    key_r[1, 2] = key_k[1]
    torch.testing.assert_close(readout(key_r, value_r, key_k, valid), before)


def test_a_corrected_slice_enters_the_memory_with_its_strokes_and_the_others_stay(network: HPINet) -> None:
    inputs, memory = round_inputs(touched=(1, 3))
    after = play(network, inputs, memory).memory
    assert after.corrected[0].tolist() == [False, True, False, True, False]
    assert torch.all(after.masks[:, [0, 2, 4]] == 0)
    for z in (1, 3):
        assert torch.all(after.masks[0, z][inputs.painted[0, 0, z]] == 1)
        assert torch.all(after.masks[0, z][inputs.painted[0, 1, z]] == 0)
        assert 0 < float(after.masks[0, z].mean()) < 1
    assert not memory.corrected.any() and not memory.masks.any()  # the memory before is not written to


def test_a_slice_scribbled_again_replaces_its_entry_and_no_other(network: HPINet) -> None:
    inputs, memory = round_inputs(touched=(1, 3))
    first = play(network, inputs, memory).memory
    inputs.painted[0, 0, 3, 12:14, 2:4] = True
    inputs.touched[0] = torch.tensor([False, False, False, True, False])
    second = play(network, inputs, first).memory
    assert torch.equal(second.corrected, first.corrected)
    assert torch.equal(second.masks[0, 1], first.masks[0, 1])
    assert not torch.equal(second.masks[0, 3], first.masks[0, 3])


def test_what_the_memory_holds_of_another_slice_moves_the_result(network: HPINet) -> None:
    inputs, memory = round_inputs(touched=(4,))
    known = Memory(memory.corrected.clone(), memory.masks.clone())
    known.corrected[0, 0] = True
    known.masks[0, 0] = 1.0
    assert (play(network, inputs, known).logits - play(network, inputs, memory).logits).abs()[0, 1].max() > 1e-4


def spy(monkeypatch: pytest.MonkeyPatch, network: HPINet) -> tuple[dict[int, list[int]], list[Tensor]]:
    """What each slice read, and every image that was decoded."""
    read: dict[int, list[int]] = {}
    decoded: list[Tensor] = []
    entries, decode = network._entries, network.decoder.forward

    def reading(index: int, *rest: Any) -> list[int]:
        assert index not in read
        read[index] = entries(index, *rest)
        return read[index]

    def decoding(fused: Any, value: Tensor, features: Any, image: Tensor) -> Tensor:
        decoded.extend(image[:, 0])
        return decode(fused, value, features, image)

    monkeypatch.setattr(network, "_entries", reading)
    monkeypatch.setattr(network.decoder, "forward", decoding)
    return read, decoded


@pytest.mark.parametrize("touched", [(0,), (20,), (3, 4, 33), ()])
def test_propagation_reaches_every_slice_exactly_once(
    network: HPINet, monkeypatch: pytest.MonkeyPatch, touched: tuple[int, ...]
) -> None:
    read, decoded = spy(monkeypatch, network)
    inputs, memory = round_inputs((40, 16, 16), touched)
    play(network, inputs, memory)
    assert sorted(read) == list(range(40))
    found = [torch.nonzero((inputs.image[0] == image).flatten(1).all(1)).item() for image in decoded]
    assert sorted(found) == list(range(40))


def test_a_second_lesion_beyond_an_empty_gap_is_reached(network: HPINet, monkeypatch: pytest.MonkeyPatch) -> None:
    read, decoded = spy(monkeypatch, network)
    silent = torch.full((1, 1, 16, 16), -50.0)
    decode = network.decoder.forward
    monkeypatch.setattr(network.decoder, "forward", lambda *given: decode(*given) * 0 + silent)  # empty everywhere
    outputs = play(network, *round_inputs((30, 16, 16), touched=(2,)))
    assert len(decoded) == 30 and len(read) == 30
    assert outputs.logits.shape == (1, 30, 16, 16)


def test_a_slice_reads_the_nearest_corrected_slices_and_its_neighbour_on_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = tiny_network(wave_slices=1)
    read, _ = spy(monkeypatch, network)
    play(network, *round_inputs((20, 16, 16), touched=(4, 12)))
    assert read[4] == [4, 12] and read[12] == [12, 4]  # the slice itself first
    assert read[5] == [4, 12] and read[3] == [4, 12]
    assert read[6] == [5, 4, 12]
    assert read[1] == [2, 4, 12]
    assert read[11] == [12, 4]
    assert read[19] == [18, 12, 4]


def test_in_waves_of_several_slices_the_furthest_of_the_wave_before_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network(wave_slices=3)
    read, _ = spy(monkeypatch, network)
    play(network, *round_inputs((20, 16, 16), touched=(4, 12)))
    assert [read[z] for z in (5, 6, 1)] == [[4, 12]] * 3  # within three slices: the corrected ones alone
    assert read[0] == [1, 4, 12]
    assert [read[z] for z in (16, 17, 18)] == [[15, 12, 4]] * 3
    assert read[19] == [18, 12, 4]


@pytest.mark.parametrize("wave_slices", [1, 2, 3, 5])
@pytest.mark.parametrize("touched", [(0,), (3, 16), (9,), ()])
def test_whatever_a_slice_reads_was_computed_before(
    monkeypatch: pytest.MonkeyPatch, wave_slices: int, touched: tuple[int, ...]
) -> None:
    network = tiny_network(wave_slices=wave_slices)
    read, decoded = spy(monkeypatch, network)
    inputs, memory = round_inputs((17, 16, 16), touched)
    play(network, inputs, memory)
    assert sorted(read) == list(range(17)) and len(decoded) == 17


def test_the_cost_of_a_read_is_bounded_however_many_slices_are_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network(read_limit=3)
    read, _ = spy(monkeypatch, network)
    widths: list[int] = []
    real = hpinet.readout
    monkeypatch.setattr(hpinet, "readout", lambda key_r, *rest: widths.append(key_r.shape[1]) or real(key_r, *rest))
    outputs = play(network, *round_inputs((24, 16, 16), touched=range(20)))
    assert int(outputs.memory.corrected.sum()) == 20  # all are kept
    assert max(widths) <= 3 + 1
    assert read[10] == [10, 9, 11] and read[23] == [22, 19, 18, 17]


def test_with_no_strokes_propagation_starts_where_the_volume_branch_sees_most(
    network: HPINet, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, _ = spy(monkeypatch, network)
    outputs = play(network, *round_inputs((9, 16, 16), touched=()))
    seen = torch.sigmoid(outputs.volume_logits[0, 0]).sum((1, 2))
    best = int(seen.argmax())
    assert read[best] == [best]
    assert not outputs.memory.corrected.any()  # what no user has painted is not kept
    assert len(outputs.touched_logits) == 0


# -- ablations: by the configuration alone ---------------------------------------------------------------------------


def same_weights(**switches: Any) -> HPINet:
    """The tiny network, switched, with the weights of the one that is not."""
    network = HPINet(ModelConfig.tiny(**switches)).eval()
    network.load_state_dict(tiny_network().state_dict())
    return network


def test_volume_only_is_the_volume_branch_interpolated_and_nothing_is_propagated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = same_weights(volume_only=True)
    read, decoded = spy(monkeypatch, network)
    outputs = play(network, *round_inputs())
    wanted = torch.nn.functional.interpolate(outputs.volume_logits[:, 0], (16, 16), mode="bilinear")
    assert torch.equal(outputs.logits, wanted)
    assert not read and not decoded


def test_the_result_is_the_mean_of_what_the_slices_and_the_volume_say(monkeypatch: pytest.MonkeyPatch) -> None:
    network = same_weights()
    network.boundary = None
    given = round_inputs((6, 16, 16), touched=(2,))
    with torch.no_grad():
        outputs = play(network, *given)
        slices: list[Tensor] = []
        propagate = network._propagate
        monkeypatch.setattr(network, "_propagate", lambda *args: slices.append(propagate(*args)) or slices[0])
        play(network, *given)
    assert outputs.volume_logits is not None
    volume = torch.nn.functional.interpolate(outputs.volume_logits[:, 0], (16, 16), mode="bilinear")
    far = [0, 1, 3, 4, 5]  # on the slice painted on, SIM has a say too
    torch.testing.assert_close(outputs.logits[:, far], 0.5 * (slices[0] + volume)[:, far])
    on_it = 0.5 * (0.5 * (slices[0][:, 2] + outputs.touched_logits) + volume[:, 2])
    torch.testing.assert_close(outputs.logits[:, 2], on_it)


def test_the_boundary_head_corrects_the_joined_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    given = round_inputs((6, 16, 16), touched=(2,))
    with_head = play(network, *given).logits
    monkeypatch.setattr(network, "boundary", None)
    assert not torch.equal(play(network, *given).logits, with_head)


def test_slice_only_never_runs_the_volume_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    network = same_weights(slice_only=True)

    def refuse(*_: Any) -> Any:
        raise RuntimeError("the volume branch ran")

    monkeypatch.setattr(network.vim, "forward", refuse)
    monkeypatch.setattr(network.fcm, "forward", refuse)
    for touched in ((2,), ()):
        outputs = play(network, *round_inputs(touched=touched))
        assert outputs.volume_logits is None and outputs.converted_logits == []
        assert outputs.logits.shape == (1, 5, 16, 16)


def test_without_memory_only_the_slice_just_painted_is_carried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    network = same_weights(use_memory=False, wave_slices=1)
    read, _ = spy(monkeypatch, network)
    play(network, *round_inputs((20, 16, 16), touched=(4, 12)))
    assert {z: read[z] for z in (3, 4, 5, 6, 7, 11, 19)} == {
        3: [4], 4: [4], 5: [4], 6: [5], 7: [6], 11: [12], 19: [18],
    }  # fmt: skip


def test_without_affinity_the_nearest_value_is_taken_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    network = same_weights(use_affinity=False, wave_slices=1)
    monkeypatch.setattr(hpinet, "readout", None)  # would fail if it were asked
    coded: list[Tensor] = []
    taken: list[Tensor] = []
    encode, decode = network.memory_encoder.forward, network.decoder.forward
    monkeypatch.setattr(network.memory_encoder, "forward", lambda *given: coded.append(encode(*given)) or coded[-1])
    monkeypatch.setattr(network.decoder, "forward", lambda *given: taken.append(given[1]) or decode(*given))
    play(network, *round_inputs(touched=(2,)))
    assert torch.equal(taken[0][0], coded[0][0])  # slice 2 itself
    assert torch.equal(taken[1][0], coded[0][0]) and torch.equal(taken[1][1], coded[0][0])  # its neighbours
    assert torch.equal(taken[2][0], coded[1][0]) and torch.equal(taken[2][1], coded[1][1])  # and theirs


def test_without_fusion_the_volume_branch_reaches_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    network = same_weights(use_fusion=False)
    given: list[dict[int, Tensor]] = []
    decode = network.decoder.forward
    monkeypatch.setattr(network.decoder, "forward", lambda fused, *rest: given.append(fused) or decode(fused, *rest))
    outputs = play(network, *round_inputs())
    assert given and not any(given)
    assert outputs.converted_logits == [] and outputs.volume_logits is not None


@pytest.mark.parametrize(
    "switch", [{"use_memory": False}, {"use_affinity": False}, {"use_fusion": False}, {"slice_only": True}]
)
def test_each_switch_changes_the_result_and_the_state_keeps_its_names(switch: dict[str, bool]) -> None:
    given = round_inputs((8, 16, 16), touched=(1, 6))
    assert not torch.equal(play(same_weights(**switch), *given).logits, play(same_weights(), *given).logits)
