"""The jobs that are shipped. The app imports this module, which registers their kinds."""

from .process_data import workflow as workflow
