"""The use cases. No Flask, no Celery, no torch."""
