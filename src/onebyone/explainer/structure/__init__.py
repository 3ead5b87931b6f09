"""How the layers of a network hang together, and what each 1x1 is for in it."""
