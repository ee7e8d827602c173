"""Fixtures of the core's tests: one tiny predictor for all, and sessions on a small CT."""

from __future__ import annotations

import pytest
import torch

from core.engine import small_ct, tiny_predictor
from ichhpinet.predictor import Predictor
from ichhpinet.session import Session
from ichhpinet.volume import CTVolume

torch.set_num_threads(1)  # arrays here are small: threads cost more than they do


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
