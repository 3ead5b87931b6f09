"""The same network without its 1x1 convolutions, or with something else in their place."""
