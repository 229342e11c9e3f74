"""The HTTP edge: one module a resource. Never imports torch; it rings for a worker by queue name."""

from api.app import create_app

__all__ = ["create_app"]
