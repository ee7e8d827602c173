"""What a round leaves behind: packed arrays and the state that the next round is computed from."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ichhpinet.errors import InputError
from ichhpinet.memory import Packed, RoundState, from_bytes, to_bytes

MIB = 1024 * 1024


def state_of(
    native: tuple[int, int, int], probability: torch.Tensor, corrected: tuple[int, ...], foreground: np.ndarray
) -> RoundState:
    """A round with these arrays and nothing painted background."""
    nothing = Packed.of(np.zeros(native, bool))
    depth, height, width = probability.shape
    strokes = np.zeros((2, depth, height, width), bool)
    return RoundState(
        number=1,
        parent=None,
        seconds=0.1,
        volume_ml=1.0,
        foreground=Packed.of(foreground),
        background=nothing,
        new_foreground=Packed.of(foreground),
        new_background=nothing,
        painted=Packed.of(strokes),
        probability=to_bytes(probability),
        uncertainty=to_bytes(probability[:, ::2, ::2]),
        corrected=corrected,
        masks=to_bytes(probability[list(corrected)]),
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_packed_array_comes_back_as_it_was(shape: list[int], bits: bool, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    array = values > 127 if bits else values
    packed = Packed.of(array)
    back = packed.array()
    assert (packed.kind, packed.shape) == ("bool" if bits else "uint8", tuple(shape))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_an_array_that_is_a_view_is_packed_in_its_own_order() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 0, 1)[:, ::-1]
    assert np.array_equal(Packed.of(array).array(), array)
    assert np.array_equal(Packed.of(array % 3 == 0).array(), array % 3 == 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"no zlib", zlib.compress(b"x" * 99), zlib.compress(b"x" * 101), zlib.compress(b"x" * 100)[:-3]],
)
def test_content_that_does_not_fill_the_shape_exactly_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="the stored array"):
        Packed((10, 10), "uint8", content).array()


def test_content_that_swells_beyond_its_shape_is_refused_without_being_unpacked() -> None:
    bomb = Packed((10, 10), "uint8", zlib.compress(bytes(32 * MIB), 1))
    tracemalloc.start()
    with pytest.raises(InputError):
        bomb.array()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MIB


def test_probabilities_are_kept_to_half_a_step_and_the_ends_and_the_threshold_exactly() -> None:
    probability = torch.linspace(0, 1, 1001)
    back = from_bytes(to_bytes(probability))
    assert float((back - probability).abs().max()) <= 0.5 / 255 + 1e-6
    assert (float(back[0]), float(back[-1])) == (0.0, 1.0)
    assert torch.equal(from_bytes(to_bytes(back)), back)
    assert bool((from_bytes(to_bytes(torch.tensor([0.5, 0.499]))) >= 0.5).tolist() == [True, False])


def test_the_network_memory_is_rebuilt_slice_by_slice() -> None:
    probability = torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(0))
    state = state_of((6, 8, 8), probability, (1, 4), np.zeros((6, 8, 8), bool))
    memory = state.memory(torch.device("cpu"))
    assert memory.corrected[0].tolist() == [False, True, False, False, True, False]
    torch.testing.assert_close(memory.masks[0, [1, 4]], probability[[1, 4]], atol=0.002, rtol=0)
    assert not memory.masks[0, [0, 2, 3, 5]].any()


def test_a_state_with_no_corrected_slice_gives_an_empty_memory() -> None:
    state = state_of((6, 8, 8), torch.rand(6, 16, 16), (), np.zeros((6, 8, 8), bool))
    memory = state.memory(torch.device("cpu"))
    assert not memory.corrected.any() and not memory.masks.any()


def test_a_round_of_a_full_ct_costs_less_than_eight_mib_even_if_its_probability_is_noise() -> None:
    rng = np.random.default_rng(0)
    strokes = np.zeros((32, 512, 512), bool)
    for z in range(32):  # a stroke on every slice
        y, x = rng.integers(50, 400, 2)
        strokes[z, y : y + 4, x : x + 60] = True
    noise = torch.from_numpy(rng.random((32, 256, 256), dtype=np.float32))  # 1 mm working pixels
    state = state_of((32, 512, 512), noise, tuple(range(32)), strokes)
    assert state.nbytes <= 8 * MIB
    assert state.nbytes == sum(len(getattr(state, name).content) for name in RoundState.PACKED)
