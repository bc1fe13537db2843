from __future__ import annotations

import threading

from coordinator import Settings, blobs


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
