"""A network becomes narrower, and keeps its job."""
