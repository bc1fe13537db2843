"""The edges of an image, by overlapping tiles: a chord."""

from examples.edges.workflow import Edges, edges

__all__ = ["Edges", "edges"]
