"""What networks are trained on: one file a source, and one table of their names."""

from onebyone.training.data.data import Batch, Data, Split
from onebyone.training.data.photos import Reading
from onebyone.training.data.sources import SOURCES, Source, has_photos, read_data

__all__ = ["SOURCES", "Batch", "Data", "Reading", "Source", "Split", "has_photos", "read_data"]
