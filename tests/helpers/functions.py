"""Every activation function, with parameters where it has any."""

from onebyone.graph import Function
from onebyone.graph.functions import FUNCTIONS

NUMBERS = (0.25, 1.5, 0.75)
"""Parameters to try: a slope, two bounds, ..."""

EXAMPLES = [Function(name, NUMBERS[: len(row.parameters)]) for name, row in FUNCTIONS.items()]
"""One of each row."""
