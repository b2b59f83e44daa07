"""The master's HTTP endpoints for monitoring, and the delivery of webhooks."""
