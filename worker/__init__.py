"""The Celery side: queues, thin tasks, the schedule, and the process that holds the model."""
