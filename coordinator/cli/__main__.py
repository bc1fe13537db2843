"""``python -m coordinator.cli``."""

from coordinator.cli.program import main

main()
