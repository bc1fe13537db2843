from __future__ import annotations

import threading

import pytest

from coordinator import Settings, blobs
from coordinator.errors import BatutaError


def test_blob_is_whole_for_its_reader_when_an_equal_one_is_written(tmp_path):
    """Another job's result may be the same: its file is put in place as a whole."""
    folder = tmp_path / "blobs"
    env = {"BROKER_URL": "redis://h/0", "REDIS_URL": "redis://h/1", "COORDINATOR_BLOB_URL": folder.as_uri()}
    settings, text, ended = Settings.from_env(env), f'"{"x" * 3_000_000}"', threading.Event()
    url = blobs.store(settings, text, "a result")

    def store_again() -> None:
        while not ended.is_set():
            blobs.store(settings, text, "a result")

    thread = threading.Thread(target=store_again)
    thread.start()
    try:
        sizes = {len(blobs.fetch(url)) for _ in range(50)}
    finally:
        ended.set()
        thread.join()

    assert sizes == {3_000_000}
    assert [file.as_uri() for file in folder.iterdir()] == [url]


def test_error_says_what_to_look_at_when_a_blob_is_gone(tmp_path):
    """Whoever asks for a result gets a sentence, and no traceback at a terminal."""
    with pytest.raises(BatutaError, match=r"can't be read.*COORDINATOR_BLOB_URL"):
        blobs.fetch((tmp_path / "gone.json").as_uri())
