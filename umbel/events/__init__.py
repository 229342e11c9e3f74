"""Events: the log of what happened, in one order for all readers, and its delivery to webhooks.

log.py writes, publishes and reads events; webhooks.py holds addresses, deliveries.py what is on its way to them,
signatures.py and sending.py the request that brings it, handler.py the worker's part.
"""
