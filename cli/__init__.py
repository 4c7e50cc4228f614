"""The `kecs` command: instances, their processes, and the composition root."""
