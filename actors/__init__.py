"""Turns: mailboxes, supervision and the actors that own clusters, services and task definitions."""
