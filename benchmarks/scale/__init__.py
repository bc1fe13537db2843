"""How far one RabbitMQ and one Redis go: measure what a step costs, then simulate a cluster.

``python -m benchmarks.scale.measure`` and ``… .alone`` fill ``benchmarks/results/scale.json``;
``python -m benchmarks.scale.page`` makes the tables and pictures of docs/explanation/scale.md of it.
"""
