"""The documents' code blocks, and a shell that runs them one after the other, as a reader would.

A block is run unless a comment before it gives a reason: ``<!-- not run: … -->``. Other comments say what to
expect of it: ``exits: 3``, ``until: words`` (run it again until they are seen), ``then: URL`` (it answers).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.waiting import wait_until

BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^\n]+?) -->\n)?^```(?P<language>\w*)(?P<attributes>[^\n]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMAND = re.compile(
    r"^\$ (?P<command>(?:[^\n]*\\\n)*[^\n]*)\n?(?P<output>(?:(?!\$ )[^\n]*\n?)*)", re.MULTILINE
)
#: Programs that run until they are ended: a reader gives them a terminal of their own.
PART = re.compile(r"^(?:batuta|python manage\.py) (?:worker|flower|api|dev)\b[^&]*$")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    place: str  # page and line, for messages
    language: str
    title: str  # the file that it is, if it is one
    body: str
    note: str  # the comment before it, "" if none

    @property
    def is_run(self) -> bool:
        return not self.note.startswith("not run: ")

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """The commands of a console block, each with the lines that it is said to print."""
        return [(match["command"], match["output"].splitlines()) for match in COMMAND.finditer(self.body)]

    def noted(self, word: str) -> str:
        """What the comment says after a word, "" if nothing."""
        return self.note.removeprefix(f"{word}: ") if self.note.startswith(f"{word}: ") else ""


def blocks_of(page: Path) -> Iterator[Block]:
    """Return the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        title = re.search(r'title="([^"]+)"', match["attributes"])
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(
            f"{page.name}:{line}",
            match["language"],
            title[1] if title else "",
            match["body"],
            match["note"] or "",
        )


class Shell:
    """One bash in one folder; what it starts is gone when it is closed."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._log = folder / "shell.log"
        self._count = 0
        with self._log.open("wb") as log:
            self._bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._send("set -m")  # jobs, as in a terminal

    def run(self, command: str) -> tuple[int, str]:
        """Run a command to its end; return its exit code and what it printed."""
        self._count += 1
        start = self._log.stat().st_size
        mark = f"\x1e{self._count} "
        # Braces would make one job of it; a terminal's stdin is not this script.
        self._send(f"{command} </dev/null\nprintf '\\036%s %s\\n' {self._count} $?")
        text = wait_until(
            lambda: found if mark in (found := self._read(start)) and found.endswith("\n") else "",
            timeout_s=TIMEOUT_S,
            what=f"the end of {command!r}",
        )
        printed, _, code = text.rpartition(mark)
        return int(code.split()[0]), printed

    def close(self) -> None:
        started = psutil.Process(self._bash.pid).children(recursive=True)
        for process in started:
            if process.is_running():
                process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(started, timeout=10)
        for process in left:
            process.kill()
        self._bash.kill()
        self._bash.wait()
        if self._bash.stdin:
            self._bash.stdin.close()

    def _send(self, line: str) -> None:
        assert self._bash.stdin
        self._bash.stdin.write(f"{line}\n".encode())
        self._bash.stdin.flush()

    def _read(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")


@dataclass
class Reader:
    """Does what a page says."""

    folder: Path
    shell: Shell
    instead: Mapping[str, str]  # what stands in a page → what is meant here, such as addresses

    @classmethod
    def in_folder(cls, folder: Path, env: Mapping[str, str], instead: Mapping[str, str]) -> Reader:
        """Return a reader whose ``batuta`` and ``python`` are those of this environment."""
        programs = folder / ".bin"
        programs.mkdir()
        batuta = programs / "batuta"
        batuta.write_text(f"#!{sys.executable}\nfrom coordinator.cli import main\n\nmain()\n")
        batuta.chmod(0o755)
        path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
        return cls(folder, Shell(folder, {**env, "PATH": path, "COLUMNS": "120"}), instead)

    def follow(self, block: Block) -> None:
        """Write the block's file, or run it and compare.

        Raises:
            AssertionError: naming the page and line.
        """
        body = block.body
        for text, meant in self.instead.items():
            body = body.replace(text, meant)
        if block.title:
            (self.folder / block.title).write_text(body)
        elif block.language == "python":
            (self.folder / "block.py").write_text(body)
            code, printed = self.shell.run("python block.py")
            assert code == 0, f"{block.place}: {printed}"
        elif block.language == "console":
            for command, output in Block(block.place, "console", "", body, block.note).commands:
                self._try(block, command, output)
        else:
            raise AssertionError(
                f"{block.place}: expected python, console or a title, got {block.language!r}"
            )

    def _try(self, block: Block, command: str, output: list[str]) -> None:
        expected = int(block.noted("exits") or 0)
        if PART.match(command):
            command = f"{command.partition(' # ')[0]} > part.log 2>&1 &"
        if words := block.noted("until"):
            wait_until(lambda: is_told(self.shell.run(command)[1], [words]), what=f"{block.place}: {words}")
            return
        code, printed = self.shell.run(command)
        assert code == expected, f"{block.place}: {command!r} ended with {code}, not {expected}:\n{printed}"
        assert is_told(printed, output), f"{block.place}: expected {output}, got:\n{printed}"
        if url := block.noted("then"):
            for text, meant in self.instead.items():
                url = url.replace(text, meant)
            wait_until(lambda: answers(url), timeout_s=60, what=f"{block.place}: an answer of {url}")


def is_told(printed: str, lines: list[str]) -> bool:
    """Whether all lines were printed, in that order; ``…`` stands for anything, spaces for any of them."""
    pattern = "(?s:.*?)".join(
        "(?s:.*?)".join(r"\s+".join(re.escape(word) for word in part.split()) for part in line.split("…"))
        for line in lines
    )
    return re.search(pattern, printed) is not None


def answers(url: str) -> bool:
    """Whether a page is there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  loopback
            return bool(answer.status == 200)
    except OSError:
        return False
