"""Batuta beside its rivals, on one machine in the same minutes."""
