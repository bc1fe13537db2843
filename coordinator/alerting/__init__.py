"""From an alert in Redis to the people who must know it.

``rules``: which channel wants which alert. ``relay``: makes a job of each delivery.
``delivery``: the step that sends. ``channels``: Apprise. ``stalls``: jobs that stand still. ``rounds``: the
reconciler calls it.
"""

from coordinator.alerting.rounds import Alerting

__all__ = ["Alerting"]
