"""Kubernetes: the orchestrator port on kr8s, and the embedded Kubernetes."""
