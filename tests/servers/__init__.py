"""Private servers and workers as child processes of the test session, never the machine's own.

Each has its own ports, folder and password, and can be stopped, killed with
SIGKILL and started again, with the same data or with none.
"""

from tests.servers.cluster import RedisCluster
from tests.servers.process import MissingServer, Process, ServerFailed, free_port
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.running import running
from tests.servers.worker import Fleet, Worker

__all__ = [
    "Fleet",
    "MissingServer",
    "Process",
    "RabbitMQ",
    "Redis",
    "RedisCluster",
    "ServerFailed",
    "Worker",
    "free_port",
    "running",
]
