"""Rewrites: what the compiler does to a graph before it plans. One file for each."""

from onebyone.compiler.rewrites.rewrite import REWRITES, rewrite_graph

__all__ = ["REWRITES", "rewrite_graph"]
