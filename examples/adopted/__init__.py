"""A project of before, made durable by one line."""
