"""Requests on their way to a worker: tickets, bounded queues, batches, whose turn it is."""
