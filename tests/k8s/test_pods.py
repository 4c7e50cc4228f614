import re
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from engine.arn import Scope
from engine.container_definition import (
    ContainerDefinition,
    ContainerDependency,
    HealthCheck,
    HostEntry,
    KernelCapabilities,
    KeyValuePair,
    LinuxParameters,
    MountPoint,
    PortMapping,
    SystemControl,
    Tmpfs,
    Ulimit,
    VolumeFrom,
)
from engine.overrides import ContainerOverride, TaskOverride
from engine.task import Task
from engine.task_definition import TaskDefinition
from engine.volume import HostVolumeProperties, Volume
from k8s import names, pods
from k8s.embedded import driver, pod_spec
from k8s.pod_containers import escaped

_SCOPE = Scope()
_TASK = Task(
    task_arn=_SCOPE.task_arn("Shop_1", "0123456789abcdef" * 2),
    cluster_arn=_SCOPE.cluster_arn("Shop_1"),
    task_definition_arn=_SCOPE.task_definition_arn("web", 3),
)
_WEB = ContainerDefinition(name="web", image="nginx:1")


def _definition(*containers: ContainerDefinition, **members: Any) -> TaskDefinition:
    return TaskDefinition(_TASK.task_definition_arn, "web", 3, containers, **members)


def _pod(*containers: ContainerDefinition, task: Task = _TASK, **members: Any) -> dict[str, Any]:
    return pods.pod(task, _definition(*containers, **members), "default")


def _container(definition: ContainerDefinition, task: Task = _TASK, **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = _pod(definition, task=task, **members)["spec"]["containers"][0]
    return found


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"]}


def test_a_pod_never_restarts_and_inherits_nothing_of_kubernetes() -> None:
    spec = _pod(_WEB)["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    assert spec["dnsPolicy"] == "Default"
    assert spec["terminationGracePeriodSeconds"] == 30


def test_a_pod_stays_until_its_end_is_recorded() -> None:
    assert _pod(_WEB)["metadata"]["finalizers"] == ["kecs.dev/task-record"]


def test_a_pod_tells_whose_it_is() -> None:
    task = evolve(_TASK, service_arn=_SCOPE.service_arn("Shop_1", "front_end-"))
    metadata = _pod(_WEB, task=task)["metadata"]
    assert metadata["labels"][names.INSTANCE] == "default"
    assert metadata["labels"][names.MANAGED_BY] == "kecs"
    assert metadata["labels"][names.TASK_ID] == task.task_id
    assert metadata["labels"][names.FAMILY] == "web"
    assert metadata["labels"][names.SERVICE] == names.label_value("front_end-")
    assert metadata["annotations"][names.TASK_ARN] == task.task_arn
    assert metadata["annotations"][names.SERVICE_ARN] == task.service_arn


def test_containers_with_names_that_kubernetes_forbids_are_found_again() -> None:
    pod = _pod(evolve(_WEB, name="Web_1"), evolve(_WEB, name="web"))
    recorded = orjson.loads(pod["metadata"]["annotations"][names.CONTAINER_NAMES])
    assert [recorded[one["name"]] for one in pod["spec"]["containers"]] == ["Web_1", "web"]


def test_entry_point_and_command_become_command_and_args() -> None:
    container = _container(
        evolve(_WEB, entry_point=("/bin/sh", "-c"), command=("echo", "hi"), working_directory="/srv")
    )
    assert container["command"] == ["/bin/sh", "-c"]
    assert container["args"] == ["echo", "hi"]
    assert container["workingDir"] == "/srv"


def test_without_entry_point_and_command_the_image_decides() -> None:
    assert not {"command", "args"} & _container(_WEB).keys()


def test_what_kubernetes_would_expand_is_escaped() -> None:
    container = _container(evolve(_WEB, command=("$(A) $$ $B",), environment=(KeyValuePair("X", "$(A)"),)))
    assert container["args"] == ["$$(A) $$$$ $$B"]
    assert _environment(container)["X"] == "$$(A)"
    assert _container(evolve(_WEB, command=("$HOME",)))["args"] == ["$HOME"]


def _expanded(text: str) -> str:
    """As Kubernetes expands it where no variable is defined (k8s.io/kubernetes/third_party/forked/golang/expansion)."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else found[0], text)


@given(st.text("$()A ", max_size=30))
def test_kubernetes_passes_on_what_ecs_was_given(text: str) -> None:
    assert _expanded(escaped(text)) == text
    assert "$(A)" not in re.sub(r"\$\$", "", escaped(text))


def test_fargate_tasks_know_their_region() -> None:
    fargate = _environment(_container(_WEB, task=evolve(_TASK, launch_type="FARGATE")))
    assert fargate["AWS_REGION"] == fargate["AWS_DEFAULT_REGION"] == "us-east-1"
    assert fargate["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    assert _environment(_container(_WEB)) == {"AWS_EXECUTION_ENV": "AWS_ECS_EC2"}


def test_overrides_replace_the_command_and_merge_the_environment() -> None:
    definition = evolve(_WEB, command=("a",), environment=(KeyValuePair("A", "1"), KeyValuePair("B", "2")), cpu=1)
    override = ContainerOverride(
        name="web", command=("b", "c"), environment=(KeyValuePair("B", "3"), KeyValuePair("C", "4")), cpu=1024, memory=9
    )
    other = evolve(_WEB, name="other")
    task = evolve(_TASK, overrides=TaskOverride(container_overrides=(override,)))
    web, untouched = _pod(definition, other, task=task)["spec"]["containers"]
    assert web["args"] == ["b", "c"]
    assert _environment(web) == {"AWS_EXECUTION_ENV": "AWS_ECS_EC2", "A": "1", "B": "3", "C": "4"}
    assert web["resources"] == {"limits": {"memory": "9Mi"}, "requests": {"cpu": "1000m", "memory": "9Mi"}}
    assert "args" not in untouched


@pytest.mark.parametrize(
    ("container", "task", "expected"),
    [
        ({}, {}, {"requests": {"cpu": "0m", "memory": "0Mi"}}),
        ({"memory": 64}, {}, {"limits": {"memory": "64Mi"}, "requests": {"cpu": "0m", "memory": "64Mi"}}),
        (
            {"memory": 64, "memory_reservation": 32, "cpu": 128},
            {},
            {"limits": {"memory": "64Mi"}, "requests": {"cpu": "125m", "memory": "32Mi"}},
        ),
        (
            {"cpu": 128},
            {"cpu": "256", "memory": "512"},
            {"limits": {"cpu": "250m", "memory": "512Mi"}, "requests": {"cpu": "125m", "memory": "0Mi"}},
        ),
    ],
)
def test_sizes(container: dict[str, Any], task: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _container(evolve(_WEB, **container), **task)["resources"] == expected


def test_host_ports_are_taken_only_where_bridge_mode_fixes_them() -> None:
    mapped = evolve(_WEB, port_mappings=(PortMapping(80, 8080), PortMapping(53, 0, "udp")))
    fixed, free = {"containerPort": 80, "protocol": "TCP", "hostPort": 8080}, {"containerPort": 53, "protocol": "UDP"}
    assert _container(mapped)["ports"] == [fixed, free]
    assert _container(mapped, network_mode="awsvpc")["ports"][0] == {"containerPort": 80, "protocol": "TCP"}


def test_host_networking_and_shared_processes() -> None:
    assert _pod(_WEB, network_mode="host")["spec"]["hostNetwork"] is True
    assert _pod(_WEB, pid_mode="task")["spec"]["shareProcessNamespace"] is True
    assert "hostNetwork" not in _pod(_WEB, network_mode="awsvpc")["spec"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("CMD-SHELL", "curl -f localhost || exit 1"), ["/bin/sh", "-c", "curl -f localhost || exit 1"]),
        (("CMD", "check", "$(me)"), ["check", "$(me)"]),
    ],
)
def test_a_health_check_is_a_readiness_probe(command: tuple[str, ...], expected: list[str]) -> None:
    probe = _container(evolve(_WEB, health_check=HealthCheck(command, interval=7, timeout=2, retries=9)))[
        "readinessProbe"
    ]
    assert probe["exec"]["command"] == expected
    assert (probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) == (7, 2, 9)


def test_no_health_check_no_probe() -> None:
    assert "readinessProbe" not in _container(_WEB)
    assert "readinessProbe" not in _container(evolve(_WEB, health_check=HealthCheck(("NONE",))))


def test_dependencies_stop_timeouts_ulimits_init_and_users_are_annotations() -> None:
    app = evolve(
        _WEB,
        name="App",
        depends_on=(ContainerDependency("DB", "HEALTHY"),),
        stop_timeout=90,
        ulimits=(Ulimit("nofile", 10, 20),),
        linux_parameters=LinuxParameters(init_process_enabled=True),
        user="nobody",
    )
    pod = _pod(app, evolve(_WEB, name="DB"))
    annotations = {key: value for key, value in pod["metadata"]["annotations"].items() if value[0] in "{["}
    read = {key: orjson.loads(value) for key, value in annotations.items()}
    k8s_app, k8s_db = names.label("App"), names.label("DB")
    assert read[names.DEPENDS_ON] == {k8s_app: [{"container": k8s_db, "condition": "HEALTHY"}]}
    assert read[names.STOP_TIMEOUTS] == {k8s_app: 90, k8s_db: 30}
    assert read[names.ULIMITS] == {k8s_app: [{"name": "nofile", "softLimit": 10, "hardLimit": 20}]}
    assert read[names.INIT_PROCESS] == [k8s_app]
    assert read[names.USERS] == {k8s_app: "nobody"}
    assert pod["spec"]["terminationGracePeriodSeconds"] == 90


def test_what_kubernetes_has_no_field_for_arrives_at_the_node() -> None:
    app = evolve(
        _WEB,
        name="App",
        depends_on=(ContainerDependency("DB", "HEALTHY"),),
        start_timeout=40,
        stop_timeout=90,
        ulimits=(Ulimit("nofile", 10, 20),),
        linux_parameters=LinuxParameters(init_process_enabled=True),
        docker_security_options=("no-new-privileges",),
        user="nobody",
    )
    pod = _pod(app, evolve(_WEB, name="DB", health_check=HealthCheck(("CMD", "true"))))
    pod["metadata"]["uid"] = "u"
    read = pod_spec.parse_pod(pod).containers[0]
    assert read.spec.ulimits == (driver.Ulimit("nofile", 10, 20),)
    assert read.spec.init_process
    assert read.spec.user == "nobody"
    assert read.spec.no_new_privileges
    assert read.start_timeout_s == 40
    assert (read.stop_timeout_s, [one.container for one in read.depends_on]) == (90, [names.label("DB")])


def test_labels_for_the_simulated_driver_become_annotations_and_others_do_not() -> None:
    annotations = _pod(evolve(_WEB, docker_labels={"simulated.kecs.dev/exit-code": "3", "team": "x"}))["metadata"][
        "annotations"
    ]
    assert annotations["simulated.kecs.dev/exit-code"] == "3"
    assert "team" not in annotations


def test_volumes_and_mounts() -> None:
    web = evolve(_WEB, mount_points=(MountPoint("Data_1", "/data", True), MountPoint("scratch", "/tmp")))
    reader = evolve(_WEB, name="reader", volumes_from=(VolumeFrom("web", True), VolumeFrom("reader")))
    spec = _pod(web, reader, volumes=(Volume("Data_1", HostVolumeProperties("/srv/data")), Volume("scratch")))["spec"]
    data = names.label("Data_1")
    assert spec["volumes"] == [
        {"name": data, "hostPath": {"path": "/srv/data"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    first, second = (one["volumeMounts"] for one in spec["containers"])
    assert first == [
        {"name": data, "mountPath": "/data", "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},
    ]
    assert second == [
        {"name": data, "mountPath": "/data", "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp", "readOnly": True},
    ]


def test_containers_that_take_volumes_from_each_other_end() -> None:
    one = evolve(_WEB, volumes_from=(VolumeFrom("two"),), mount_points=(MountPoint("v", "/1"),))
    two = evolve(_WEB, name="two", volumes_from=(VolumeFrom("web"),), mount_points=(MountPoint("v", "/2"),))
    first, second = (one["volumeMounts"] for one in _pod(one, two, volumes=(Volume("v"),))["spec"]["containers"])
    assert {mount["mountPath"] for mount in first} == {mount["mountPath"] for mount in second} == {"/1", "/2"}


def test_tmpfs_and_shared_memory_are_memory_volumes() -> None:
    linux = LinuxParameters(tmpfs=(Tmpfs("/cache", 5),), shared_memory_size=64)
    spec = _pod(evolve(_WEB, linux_parameters=linux))["spec"]
    sizes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"]}
    mounted = {mount["mountPath"]: sizes[mount["name"]] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounted == {"/cache": "5Mi", "/dev/shm": "64Mi"}


def test_security() -> None:
    linux = LinuxParameters(capabilities=KernelCapabilities(add=("NET_ADMIN",)))
    container = _container(
        evolve(_WEB, user="1000:50", readonly_root_filesystem=True, privileged=True, linux_parameters=linux)
    )
    assert container["securityContext"] == {
        "runAsUser": 1000,
        "runAsGroup": 50,
        "readOnlyRootFilesystem": True,
        "privileged": True,
        "capabilities": {"add": ["NET_ADMIN"]},
    }
    assert "securityContext" not in _container(evolve(_WEB, user="nobody"))


def test_hosts_names_and_system_controls_are_the_pods() -> None:
    web = evolve(
        _WEB,
        hostname="Front_End",
        extra_hosts=(HostEntry("db.local", "10.0.0.9"),),
        links=("cache:redis",),
        dns_servers=("10.0.0.2",),
        dns_search_domains=("corp",),
        system_controls=(SystemControl("net.core.somaxconn", "9"),),
        interactive=True,
        pseudo_terminal=True,
    )
    spec = _pod(web)["spec"]
    assert spec["hostname"] == names.label("Front_End")
    assert spec["hostAliases"] == [
        {"ip": "10.0.0.9", "hostnames": ["db.local"]},
        {"ip": "127.0.0.1", "hostnames": ["cache", "redis"]},
    ]
    assert spec["dnsPolicy"] == "None"
    assert spec["dnsConfig"] == {"nameservers": ["10.0.0.2"], "searches": ["corp"]}
    assert spec["securityContext"] == {"sysctls": [{"name": "net.core.somaxconn", "value": "9"}]}
    assert spec["containers"][0]["stdin"] is True
    assert spec["containers"][0]["tty"] is True
