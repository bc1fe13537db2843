"""The interface as a Flask blueprint, and as an application of its own.

Invariant: mounted in another application it changes nothing there: its errors
are answered by its own views. Paths and methods that nobody serves are that
application's to answer; in ``create_app`` they are problems too.
"""

from __future__ import annotations

from flask import Blueprint, Flask
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from coordinator.coordinator import Coordinator
from coordinator.web import jobs, service
from coordinator.web.operations import JOB_ID, RESERVED, Api
from coordinator.web.problems import answer_for
from coordinator.web.settings import WebSettings

NAME = "batuta"


class JobConverter(BaseConverter):
    """A job's id in a path: it may hold slashes."""

    regex = JOB_ID
    part_isolating = False
    weight = 200


class JobAloneConverter(JobConverter):
    """A job's id at the end of a path, where the last words of other paths are not part of one."""

    regex = rf"(?!.+/(?:{'|'.join(RESERVED)})$){JOB_ID}"


def make_blueprint(coordinator: Coordinator | None = None, settings: WebSettings | None = None) -> Blueprint:
    """Return the interface, to be registered on any Flask application.

    Args:
        coordinator: the façade; that of the environment if None.
        settings: who may use it; those of the environment if None.

    Raises:
        SettingsError: nobody could use it: there are no tokens, and it is not open.
    """
    settings = WebSettings.from_env() if settings is None else settings
    api = Api(Coordinator.from_settings() if coordinator is None else coordinator, settings)
    blueprint = Blueprint(NAME, __name__)
    blueprint.record(_add_converters)
    for operation in (*jobs.OPERATIONS, *service.OPERATIONS):
        blueprint.add_url_rule(
            operation.rule,
            operation.name,
            operation.view(api),
            methods=[operation.method],
            provide_automatic_options=False,
            strict_slashes=True,
            merge_slashes=False,
        )
    return blueprint


def create_app(coordinator: Coordinator | None = None, settings: WebSettings | None = None) -> Flask:
    """Return the interface as an application of its own: for gunicorn, ``coordinator.web:create_app()``.

    Args:
        coordinator: the façade; that of the environment if None.
        settings: who may use it; those of the environment if None.

    Raises:
        SettingsError: nobody could use it: there are no tokens, and it is not open.
    """
    app = Flask("batuta", static_folder=None)
    app.url_map.merge_slashes = False
    app.register_blueprint(make_blueprint(coordinator, settings))
    app.register_error_handler(Exception, answer_for)
    return app


def _add_converters(setup: BlueprintSetupState) -> None:
    setup.app.url_map.converters["batuta_job"] = JobConverter
    setup.app.url_map.converters["batuta_job_alone"] = JobAloneConverter
