"""What an instance leaves in a Kubernetes that is not its own, removed when the instance is destroyed."""

from __future__ import annotations

from cli.instances import Instance, InstanceError, Settings


def clear(instance: Instance, settings: Settings) -> None:
    """Delete the instance's pods, namespaces and node. Raises InstanceError when the cluster does not let it."""
    import trio

    from engine.port_errors import PortError
    from k8s.client import KubeError
    from k8s.embedded.node_status import remove_node
    from k8s.kr8s_client import Kr8sClient
    from k8s.orchestrator import KubernetesOrchestrator

    async def remove() -> None:
        async with Kr8sClient.connect(settings.kubeconfig, context=settings.context) as client:
            await KubernetesOrchestrator(client, instance.name).remove_everything()
            if settings.effective_driver != "none":
                await remove_node(client, instance.node_name)

    try:
        trio.run(remove)
    except (PortError, KubeError) as failure:
        raise InstanceError(
            f"The pods of `{instance.name}` could not be removed from its cluster: {failure.message} "
            "Make the cluster reachable and try again, or leave them there with --force."
        ) from failure
