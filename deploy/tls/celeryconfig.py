"""Celery settings of a host that reaches RabbitMQ by TLS; stands where its processes start.

BATUTA_TLS names the folder of ``ca.pem``, and of ``client.pem`` and ``client.key`` where
RabbitMQ asks for a client's certificate; RABBITMQ_HOST is the name in the server's certificate.
"""

import os
import ssl
from pathlib import Path

_folder = Path(os.environ.get("BATUTA_TLS", "/etc/batuta/tls"))

broker_use_ssl = {
    "ca_certs": str(_folder / "ca.pem"),
    "cert_reqs": ssl.CERT_REQUIRED,  # without it the server's certificate is not looked at
    "server_hostname": os.environ["RABBITMQ_HOST"],
}
if (_folder / "client.pem").exists():
    broker_use_ssl["certfile"] = str(_folder / "client.pem")
    broker_use_ssl["keyfile"] = str(_folder / "client.key")
