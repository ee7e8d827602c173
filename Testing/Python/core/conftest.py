"""Fixtures of the core's tests: one tiny predictor for all, and sessions on a small CT."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from core.engine import small_ct, tiny_predictor
from ichhpinet.predictor import Predictor
from ichhpinet.session import Session
from ichhpinet.volume import CTVolume


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Arrays here are small: threads cost more than they do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """Random weights; never changed by a test (patch with monkeypatch)."""
    return tiny_predictor()


@pytest.fixture(scope="session")
def ct() -> CTVolume:
    """(5, 16, 16), brain with noise and a clot."""
    return small_ct()


@pytest.fixture
def session(predictor: Predictor, ct: CTVolume) -> Session:
    """A fresh session on `ct`."""
    return predictor.open(ct)
