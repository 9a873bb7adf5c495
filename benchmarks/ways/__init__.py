"""Measured tasks: each function prepares a task and returns a callable that runs it."""
