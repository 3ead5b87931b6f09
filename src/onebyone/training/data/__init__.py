"""What networks are trained on: one file a source, and one table of their names."""

from onebyone.training.data.data import Batch, Data, Split
from onebyone.training.data.sources import SOURCES, Source, read_data

__all__ = ["SOURCES", "Batch", "Data", "Source", "Split", "read_data"]
