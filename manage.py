#!/usr/bin/env python3
"""Batuta's command line: ``python manage.py --help``."""

import sys

try:
    from coordinator.cli import main
except ModuleNotFoundError as missing:
    sys.exit(
        f"error: {missing.name} is not installed for {sys.executable}; do: pip install -r requirements.txt"
    )

if __name__ == "__main__":
    main()
