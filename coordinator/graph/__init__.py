"""Pictures of a job: its plan folded (``fold``), laid out (``layout``) and drawn (``svg``). Pure."""

from coordinator.graph.fold import Graph, Node, fold
from coordinator.graph.svg import Tally, draw

__all__ = ["Graph", "Node", "Tally", "draw", "fold"]
