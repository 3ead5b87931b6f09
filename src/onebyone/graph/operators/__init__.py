"""Operators that have a kind of node: a table, operator -> function that adds its nodes."""

from onebyone.graph.operators.images import IMAGES
from onebyone.graph.operators.layers import LAYERS
from onebyone.graph.operators.parts import PARTS
from onebyone.graph.operators.pointwise import POINTWISE
from onebyone.graph.operators.site import Converter, Site
from onebyone.graph.operators.views import VIEWS

CONVERTERS = {**VIEWS, **PARTS, **LAYERS, **POINTWISE, **IMAGES}

__all__ = ["CONVERTERS", "Converter", "Site"]
