"""Keeping a trained network as a file that every other command reads."""

from pathlib import Path

from torch import nn

from onebyone.errors import WeightsError, first_line
from onebyone.files import replacing
from onebyone.models import Network, save
from onebyone.models.card import card_of
from onebyone.training.state import writing


def keep(network: nn.Module, path: Path) -> None:
    """Write a network to a `.safetensors` file.

    One of the zoo becomes a checkpoint, and so does one whose layers were changed since it was
    built, which tensors alone do not tell. Of others the tensors are kept, as a file of weights:
    `onebyone predict mine.py:make --weights FILE`.

    Raises:
        TrainingError: If the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with writing(path):
        try:
            card = card_of(network)
            if isinstance(network, Network) or (card is not None and card.steps):
                save(network, path)
                return
            tensors = {
                name: t.cpu().contiguous().clone() for name, t in network.state_dict().items()
            }
            with replacing(path) as temporary:
                save_file(tensors, temporary, {"format": "pt"})
        except SafetensorError as error:  # what a full disk is to it
            raise WeightsError(f"cannot write {path} ({first_line(error)}); make room") from error
