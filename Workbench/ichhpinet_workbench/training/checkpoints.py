"""A training run's state on disk: written whole, in parts of at most 15 MiB, read without executing code."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch

from ichhpinet.errors import InputError
from ichhpinet.paths import written_whole

PART_BYTES = 15 * 1024 * 1024


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) as part files, then the index that makes them the current one."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    names = []
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        names.append(f"state-{digest[:8]}-{number:02d}.part")
        _write(folder / names[-1], content[start : start + PART_BYTES])
    _write(folder / "state.json", json.dumps({"sha256": digest, "parts": names}).encode())
    for old in folder.glob("state-*.part"):
        if old.name not in names:
            old.unlink()


def load_state(folder: Path) -> dict[str, Any] | None:
    """The last state saved in `folder`, or None. Raises: InputError where parts are missing or damaged."""
    index = folder / "state.json"
    if not index.exists():
        return None
    try:
        entry = json.loads(index.read_text())
        names, digest = [str(name) for name in entry["parts"]], entry["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"state.json in {folder.name} is damaged; it must name the checkpoint's parts") from error
    try:
        content = b"".join((folder / name).read_bytes() for name in names)
    except OSError as error:
        raise InputError(f"a part of the checkpoint in {folder.name} is missing; it must have {names}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(f"the checkpoint in {folder.name} is damaged: its SHA-256 is not the one in state.json")
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return state


def _write(path: Path, content: bytes) -> None:
    with written_whole(path) as beside:
        beside.write_bytes(content)
