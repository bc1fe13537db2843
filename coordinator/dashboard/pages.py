"""The pages and JSON of the Jobs tab, as handlers in Flower's own Tornado application.

Owns who may see and who may steer. Invariant: no read of Redis and no publish runs
in the event loop; whoever may see Flower's pages may see jobs, and steering asks
for what ``access.py`` says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from flower.views import BaseHandler
from tornado.web import HTTPError, StaticFileHandler, authenticated

from coordinator.coordinator import Coordinator
from coordinator.dashboard import access, view
from coordinator.dashboard.templates import prefix_of
from coordinator.errors import BatutaError, IllegalTransition, JobNotFound, StateUnreachable
from coordinator.state.overview import Cursor
from coordinator.states import State

STATIC = Path(__file__).parent / "static"
MOST_ROWS = 200
T = TypeVar("T")


class JobHandler(BaseHandler):
    """What all our handlers share: the coordinator, the executor, and errors as words."""

    @property
    def coordinator(self) -> Coordinator:
        parts = getattr(self.capp, "parts", None)
        if parts is None:  # Flower was started on an app that is not ours, in a project that uses us
            from coordinator.app import app

            parts = app.parts
        return Coordinator(parts)

    async def off_the_loop(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call in Flower's threads.

        Raises:
            HTTPError: 404, 409 or 503, with what went wrong in words.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self.application.executor, call, *args)
        except JobNotFound as error:
            raise HTTPError(404, str(error)) from error
        except IllegalTransition as error:
            raise HTTPError(409, str(error)) from error
        except (StateUnreachable, BatutaError) as error:
            raise HTTPError(503, str(error)) from error

    def show(self, template: str, **values: Any) -> None:
        """Render a page of ours."""
        why_not = access.why_not_steer(self)
        self.render(
            template,
            prefix=prefix_of(self.application.options),
            version=view.ASSETS_VERSION,
            may_steer=why_not is None,
            why_not=why_not,
            **values,
        )


class JsonHandler(JobHandler):
    """Answers with JSON, its errors too."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        words = error.get_message() if isinstance(error, HTTPError) else "Flower's log has the reason"
        if status_code == 401:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        self.finish({"message": words})


class JobsPage(JobHandler):
    """The list of jobs; its rows come by ``JobsList``."""

    @authenticated
    def get(self) -> None:
        self.show("jobs.html", states=list(State), kinds=view.kinds())


class JobsList(JsonHandler):
    """A page of rows as JSON."""

    @authenticated
    async def get(self) -> None:
        state, kind, prefix = (
            self.get_argument(name, "", escape=False) for name in ("state", "kind", "prefix")
        )
        limit = self.get_argument("limit", 50, type=int)
        cursor = self.get_argument("cursor", "", escape=False)
        if state and state not in list(State):
            raise HTTPError(400, f"state: expected one of {', '.join(State)}")
        try:
            place = Cursor.read(cursor) if cursor else None
        except ValueError as error:
            raise HTTPError(400, f"cursor: {error}") from error
        limit = min(max(limit, 1), MOST_ROWS)
        call = view.jobs_page
        self.write(
            await self.off_the_loop(call, self.coordinator, state or None, kind or None, prefix, limit, place)
        )


class JobPage(JobHandler):
    """One job; what moves on it comes by ``JobLive``."""

    @authenticated
    async def get(self, job: str) -> None:
        shown = await self.off_the_loop(view.job_view, self.coordinator, job)
        self.show("job.html", job=shown["job"], first=json.dumps(shown).replace("<", "\\u003c"))


class JobLive(JsonHandler):
    """How one job stands, as JSON; pictures that the page has already are left out."""

    @authenticated
    async def get(self, job: str) -> None:
        known = self.get_argument("known", "", escape=False)
        self.write(await self.off_the_loop(view.job_view, self.coordinator, job, known))


class Steer(JsonHandler):
    """Cancel, pause, resume or retry a job."""

    def check_xsrf_cookie(self) -> None:
        access.check_same_origin(self)

    @authenticated
    async def post(self, verb: str, job: str) -> None:
        why_not = access.why_not_steer(self)
        if why_not:
            raise HTTPError(403, why_not)
        call = getattr(self.coordinator, verb)
        args = (job, "cancelled in Flower") if verb == "cancel" else (job,)
        status = await self.off_the_loop(call, *args)
        self.write({"message": f"Job {job} is {status.state}.", "state": status.state})


class Assets(StaticFileHandler):
    """Our script and style; Flower's own are elsewhere."""

    def initialize(self, path: str = str(STATIC), *args: Any, **options: Any) -> None:
        super().initialize(path, *args, **options)
