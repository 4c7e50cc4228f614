"""The embedded Kubernetes: an API server and one node, in a process of their own."""
