"""The HTTP API: one module a resource. Never imports torch; it wakes workers by queue name."""

from api.app import create_app

__all__ = ["create_app"]
