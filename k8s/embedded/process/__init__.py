"""The process driver: pods whose containers are processes of this machine's own file system, in their own namespaces.

`driver` is the port to the node. `zygote` is a small program of its own, of the standard library alone, that forks
keepers; a keeper owns the namespaces and containers of a few dozen pods and outlives the node. What they share is a
directory of state files, so whoever is killed, the next one goes on. Nothing here knows the Kubernetes API or ECS.
"""
