"""All that is asked of Lightning Fabric: devices, processes, precision.

Nothing else knows the package, so that another engine could take its place.
"""

import logging
import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from onebyone.errors import TrainingError, first_line
from onebyone.packages import require
from onebyone.training.recipe import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


class Engine:
    """One of the processes that train a network together; most often the only one.

    Attributes:
        rank: Which process this is, from 0.
        world: Number of processes.
        device: What this process computes on.
    """

    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric
        self.rank: int = fabric.global_rank
        self.world: int = fabric.world_size
        self.device: torch.device = fabric.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def launch(self) -> None:
        """Start the other processes, if nobody has yet: each runs the program from its start."""
        self._fabric.launch()

    def setup(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Return what to call and what to step: gradients are averaged over the processes."""
        return self._fabric.setup(network, optimizer)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss."""
        try:
            self._fabric.backward(loss)
        except RuntimeError as error:
            raise self._explained(error) from error

    def clip(self, network: nn.Module, optimizer: Optimizer, norm: float) -> None:
        """Scale all gradients down to a norm together."""
        # A step that is not finite is found by its loss, with a line of ours.
        self._fabric.clip_gradients(network, optimizer, max_norm=norm, error_if_nonfinite=False)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the precision that was asked for, where no network was set up for it."""
        return self._fabric.autocast()

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of the processes' tensors; all have to ask for it."""
        return self._reduced(tensor, "mean")

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of the processes' tensors; all have to ask for it."""
        return self._reduced(tensor, "sum")

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self._fabric.barrier()

    def scale(self) -> dict[str, Any]:
        """Return the state of float16's scaling of losses; empty in other precisions."""
        return self._fabric.strategy.precision.state_dict()

    def set_scale(self, state: dict[str, Any]) -> None:
        """Go on with a state that `scale` returned."""
        if state:
            self._fabric.strategy.precision.load_state_dict(state)

    def _reduced(self, tensor: Tensor, how: str) -> Tensor:
        if self.world == 1:
            return tensor
        try:
            reduced = self._fabric.all_reduce(tensor, reduce_op=how)
        except RuntimeError as error:
            raise self._explained(error) from error
        assert isinstance(reduced, Tensor)
        return reduced

    def _explained(self, error: RuntimeError) -> Exception:
        if self.world == 1:
            return error
        return TrainingError(
            f"process {self.rank} lost the others ({first_line(error)}); one of them ended, and "
            "says why; go on with --resume"
        )


def make_engine(*, devices: int = 1, precision: Precision = "32") -> Engine:
    """Return this process's engine: on CUDA if there is any, else on the CPU.

    Under torchrun or SLURM there are as many processes as those have started, and `devices` is not
    asked.

    Args:
        devices: Processes to train with, one a device.
        precision: What the multiplications are done in.

    Raises:
        MissingPackageError: If Lightning Fabric is not installed.
        TrainingError: If there are not so many devices.
    """
    require("training", "lightning_fabric")
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    cuda = torch.cuda.device_count()
    local, nodes = _processes(devices)
    if cuda and local > cuda:
        raise TrainingError(f"`devices` (={local}) is more than this machine has: {cuda}")
    fabric = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=local,
        num_nodes=nodes,
        strategy="ddp" if local * nodes > 1 else "auto",
        precision=_PRECISIONS[precision],  # pyright: ignore[reportArgumentType]
    )
    return Engine(fabric)


def _processes(devices: int) -> tuple[int, int]:
    """Return the processes on each machine, and the machines."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    if SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return devices, 1
