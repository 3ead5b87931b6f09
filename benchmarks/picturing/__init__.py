"""What `benchmarks/compiler_pictures.py` is made of: what is drawn, read from a plan, and drawing.

Imports are relative: the script finds this folder beside itself, and tests from the root.
"""
