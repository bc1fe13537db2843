"""Celery settings of this deployment, read by ``coordinator.app`` and by Flower.

Set here what you would tune: prefetch, time limits, routes, pools. What the
guarantees rest on (late acks, JSON only, …) is set in ``coordinator.app`` and can't
be changed here; where the broker and Redis are comes from BROKER_URL and REDIS_URL.
"""

#: One step at a time for each process: a slow step never holds back others behind it.
worker_prefetch_multiplier = 1

#: Flower needs the workers' events.
worker_send_task_events = True
