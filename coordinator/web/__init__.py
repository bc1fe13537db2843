"""The HTTP interface: ``create_app`` for an application of its own, ``make_blueprint`` for yours.

``jobs`` and ``service`` hold the endpoints, ``operations`` the way of a request,
``openapi`` the schema. Needs the extra ``api``.
"""

from coordinator.web.blueprint import create_app, make_blueprint
from coordinator.web.settings import WebSettings

__all__ = ["WebSettings", "create_app", "make_blueprint"]
