"""Where ``dev`` looks for changes."""

from __future__ import annotations

from coordinator import registry
from coordinator.cli.dev import job_folders


def test_folder_is_that_of_the_shipped_jobs_when_nothing_is_called_tasks(tmp_path, monkeypatch):
    """Installed, with nothing configured, ``dev`` looked for a module that no wheel brings."""
    shipped = tmp_path / registry.SHIPPED
    shipped.mkdir()
    (shipped / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "is_missing", lambda name: name == registry.DEFAULT)

    assert job_folders((registry.DEFAULT,)) == [shipped]
