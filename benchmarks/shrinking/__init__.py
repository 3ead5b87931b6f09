"""What `benchmarks/shrink.py` is made of: networks, rivals, times, and the tables of them."""
