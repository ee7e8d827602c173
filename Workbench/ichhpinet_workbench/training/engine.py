"""Where a step runs: one device plainly, or several devices and machines through Lightning Fabric. No data, no loss."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from ichhpinet.errors import InputError
from ichhpinet.networks import Memory, RoundInputs, RoundOutputs

PRECISIONS = ("bf16", "32")  # bf16: mixed, weights stay float32; half floats need no gradient scaler that way
PATIENCE = timedelta(days=7)  # the others wait while the first trains the small heads, for hours perhaps


class RoundStep(nn.Module):
    """A training round as one forward pass, so that what wraps it for several devices sees every weight at once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: RoundInputs, memory: Memory) -> RoundOutputs:
        """inputs, memory: of B crops on the network's device."""
        features = self.network.encode(inputs.image.flatten(0, 1))  # type: ignore[operator]
        return self.network(inputs, features, memory)


class Engine:
    """device: of this process. rank, world: which process of how many. fabric: None where there is one."""

    def __init__(self, device: str | torch.device = "cpu", precision: str = "bf16", fabric: Any = None) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"the precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
        self.fabric = fabric
        self.device = torch.device(device) if fabric is None else fabric.device
        self.precision = precision
        self.rank, self.world = (0, 1) if fabric is None else (int(fabric.global_rank), int(fabric.world_size))

    @property
    def is_first(self) -> bool:
        """The process that writes."""
        return self.rank == 0

    @property
    def is_half(self) -> bool:
        """Mixed precision is asked for."""
        return self.precision == "bf16"

    def wrapped(self, network: nn.Module) -> nn.Module:
        """What a training round is asked of. Weights that a round does not reach are no fault: some have no strokes."""
        step = RoundStep(network)
        return step if self.fabric is None else self.fabric.setup_module(step)

    def backward(self, loss: Tensor) -> None:
        """Gradients, averaged over all processes."""
        if self.fabric is None:
            loss.backward()
        else:
            self.fabric.backward(loss)

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision, where it is asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_half)

    def agreed(self, value: float) -> float:
        """The first process's value, in all of them: whoever decides alone decides otherwise."""
        return value if self.fabric is None else float(self.fabric.broadcast(value))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.fabric is not None:
            self.fabric.barrier()


def launched(device: str = "cpu", precision: str = "bf16", devices: int = 1, nodes: int = 1) -> Engine:
    """The engine of this process; with several devices the others are started, or torchrun has started them already.

    Raises InputError: Fabric is needed and not installed, or the devices are not there.
    """
    if devices * nodes == 1 and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Engine(device, precision)
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError as error:
        raise InputError(
            "several devices need the package lightning-fabric; install the extra 'workbench' of ichhpinet"
        ) from error
    here = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    accelerator = torch.device(device).type
    if accelerator == "cuda" and torch.cuda.device_count() < here:
        raise InputError(f"devices is {here}; this machine has {torch.cuda.device_count()} GPUs")
    strategy = DDPStrategy(find_unused_parameters=True, timeout=PATIENCE)
    fabric = Fabric(accelerator=accelerator, devices=here, num_nodes=_nodes(nodes, here), strategy=strategy)
    fabric.launch()
    return Engine(fabric=fabric, precision=precision)


def _nodes(nodes: int, here: int) -> int:
    """As told, or as torchrun says."""
    return max(nodes, int(os.environ.get("WORLD_SIZE", here)) // here)
