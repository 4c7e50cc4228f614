"""The API server half of the embedded Kubernetes: the objects, and the API that kubectl, kr8s and client-go speak.

It knows what Kubernetes' API server knows (objects, versions, rules of kinds) and nothing of containers: logs and exec
it asks of the node through `k8s.embedded.gateway`.
"""

from k8s.embedded.apiserver.journal import JournalError
from k8s.embedded.apiserver.server import ApiServer

__all__ = ["ApiServer", "JournalError"]
