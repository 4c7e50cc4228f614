"""From a request to a response: which verb of which resource it is, and who does it.

Nothing here awaits, so that a write sees no other between its read and its end; what takes time (watches, logs) is
in the response's producer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from k8s.embedded.apiserver import bodies, discovery, reviews
from k8s.embedded.apiserver.catalog import Catalog
from k8s.embedded.apiserver.deletion import DeleteOptions, Deletion
from k8s.embedded.apiserver.errors import (
    StatusError,
    bad_request,
    internal,
    method_not_allowed,
    no_such_path,
    not_found,
    not_implemented,
)
from k8s.embedded.apiserver.kind_rules import rules_of
from k8s.embedded.apiserver.messages import Request, Response, error_response, json_response, success
from k8s.embedded.apiserver.pod_logs import PodLogs
from k8s.embedded.apiserver.reads import Reads, is_true
from k8s.embedded.apiserver.resources import EVENTS, NAMESPACES, PODS, ResourceType
from k8s.embedded.apiserver.routes import Target, target
from k8s.embedded.apiserver.store import Store
from k8s.embedded.apiserver.stored import Stored
from k8s.embedded.apiserver.writes import Writes

log = logging.getLogger(__name__)

_PLAIN_OK: Final = ("/healthz", "/livez", "/readyz")
_UNSERVED: Final = ("attach", "portforward", "proxy", "ephemeralcontainers", "resize", "token", "scale")


class Handlers:
    """Answers requests about the objects of one store."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        logs: PodLogs,
        now: Callable[[], datetime],
        node_name: str | None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._logs = logs
        self._reads = Reads(store, now)
        self._deletion = Deletion(store, catalog, now)
        self._writes = Writes(store, catalog, self._deletion, now, node_name)
        self._deletion.resume()

    def answer(self, request: Request) -> Response:
        """The response to a request, refusals and our own faults included."""
        try:
            found = target(request.path)
            return self._document(request) if found is None else self._resource(request, found)
        except StatusError as error:
            return error_response(error)
        except RecursionError:
            return error_response(bad_request("the request nests values too deeply"))
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            return error_response(internal(f"{type(error).__name__}, see the log of the embedded Kubernetes"))

    def find_pod(self, namespace: str, name: str) -> Stored:
        """The pod of that name. Raises StatusError 404."""
        return self._reads.find(PODS, namespace, name)

    def _document(self, request: Request) -> Response:
        path = request.path.rstrip("/") or "/"
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed() if path.startswith(("/api", "/apis")) else no_such_path()
        if path.startswith(_PLAIN_OK):
            return Response(200, b"ok", "text/plain; charset=utf-8")
        if path in ("/api", "/apis") and discovery.wants_aggregated(request.accept):
            return json_response(discovery.aggregated(self._catalog, path == "/api"), 200, discovery.AGGREGATED_TYPE)
        document = self._discovered(path)
        if document is None:
            raise no_such_path()
        return json_response(document)

    def _discovered(self, path: str) -> object | None:
        parts = path.strip("/").split("/")
        match parts:
            case [""]:
                return {"paths": list(discovery.ROOT_PATHS)}
            case ["version"]:
                return discovery.VERSION
            case ["api"]:
                return discovery.api_versions()
            case ["apis"]:
                return discovery.groups(self._catalog)
            case ["api", version]:
                return discovery.resources(self._catalog, "", version)
            case ["apis", group]:
                return discovery.group(self._catalog, group)
            case ["apis", group, version]:
                return discovery.resources(self._catalog, group, version)
            case ["openapi", "v3"]:
                return discovery.openapi_index(self._catalog)
            case ["openapi", "v3", "api", version]:
                return discovery.openapi(self._catalog, "", version)
            case ["openapi", "v3", "apis", group, version]:
                return discovery.openapi(self._catalog, group, version)
        return None

    def _resource(self, request: Request, found: Target) -> Response:
        resource = self._catalog.find(found.group, found.version, found.plural)
        if resource is None or (found.namespace is not None and not resource.namespaced):
            raise no_such_path()
        if reviews.is_review(resource):
            return reviews.answer(request, resource)
        if found.subresource is not None:
            return self._subresource(request, found, resource)
        if found.name is not None:
            return self._named(request, found, resource)
        match request.method:
            case "GET" | "HEAD":
                read = self._reads.watch if is_true(request.params, "watch") else self._reads.list
                return read(resource, found.namespace, request)
            case "POST":
                return self._create(request, found, resource)
            case "DELETE":
                return self._delete_collection(request, found, resource)
        raise method_not_allowed()

    def _named(self, request: Request, found: Target, resource: ResourceType) -> Response:
        name = found.name or ""
        if resource.namespaced and found.namespace is None:
            raise no_such_path()
        match request.method:
            case "GET" | "HEAD":
                if is_true(request.params, "watch"):
                    return self._watch_one(request, found, resource)
                return self._reads.get(resource, found.namespace, name, request)
            case "PUT":
                return self._update(request, self._reads.find(resource, found.namespace, name), resource)
            case "PATCH":
                return self._patch(request, found, resource)
            case "DELETE":
                return self._delete(request, self._reads.find(resource, found.namespace, name), resource)
        raise method_not_allowed()

    def _watch_one(self, request: Request, found: Target, resource: ResourceType) -> Response:
        selector = f"metadata.name={found.name}"
        params = {**request.params, "fieldSelector": selector}
        return self._reads.watch(resource, found.namespace, Request("GET", request.path, params, accept=request.accept))

    def _shown(
        self, request: Request, resource: ResourceType, stored: Stored, status: int, warnings: Sequence[str] = ()
    ) -> Response:
        body = self._reads.representation(resource, request).encoded(stored)
        headers = tuple((b"warning", f'299 - "{_quoted(text)}"'.encode()) for text in warnings)
        return Response(status, body, headers=headers)

    def _create(self, request: Request, found: Target, resource: ResourceType) -> Response:
        if resource.namespaced and found.namespace is None:
            raise method_not_allowed()
        decoded = bodies.object_body(request, resource)
        stored = self._writes.create(_stored_as(resource), found.namespace, decoded.body, _dry_run(request))
        return self._shown(request, resource, stored, 201, decoded.warnings)

    def _update(
        self, request: Request, stored: Stored, resource: ResourceType, subresource: str | None = None
    ) -> Response:
        decoded = bodies.object_body(request, resource)
        replaced = self._writes.replace(stored, decoded.body, subresource, _dry_run(request))
        return self._shown(request, resource, replaced, 200, decoded.warnings)

    def _patch(
        self, request: Request, found: Target, resource: ResourceType, subresource: str | None = None
    ) -> Response:
        stored = self._store.collection(resource).get(found.namespace or "", found.name or "")
        if stored is None:
            if bodies.media_type(request) != bodies.APPLY_PATCH or subresource is not None:
                raise not_found(resource, found.name or "")
            return self._create_by_apply(request, found, resource)
        old = stored.body()
        decoded = bodies.patched(request, resource, old)
        replaced = self._writes.replace(stored, decoded.body, subresource, _dry_run(request), old)
        return self._shown(request, resource, replaced, 200, decoded.warnings)

    def _create_by_apply(self, request: Request, found: Target, resource: ResourceType) -> Response:
        decoded = bodies.patched(request, resource, None)
        if decoded.body["metadata"].setdefault("name", found.name) != found.name:
            raise bad_request("the name of the object does not match the name on the URL")
        stored = self._writes.create(_stored_as(resource), found.namespace, decoded.body, _dry_run(request))
        return self._shown(request, resource, stored, 201, decoded.warnings)

    def _delete(self, request: Request, stored: Stored, resource: ResourceType) -> Response:
        options = DeleteOptions.of(bodies.options(request), request.params)
        last, gone = self._deletion.delete(stored, options)
        if gone and not rules_of(resource.storage).returns_deleted:
            details = {"name": stored.name, "kind": resource.plural, "uid": stored.uid}
            return success({**details, "group": resource.group} if resource.group else details)
        return self._shown(request, resource, last, 200)

    def _delete_collection(self, request: Request, found: Target, resource: ResourceType) -> Response:
        if (resource.namespaced and found.namespace is None) or "deletecollection" not in resource.verbs:
            raise method_not_allowed()
        options = DeleteOptions.of(bodies.options(request), request.params)
        chosen = self._reads.select(resource, self._reads.filter(resource, found.namespace, request.params))
        with self._store.batch():
            last = [self._deletion.delete(stored, options)[0] for stored in chosen]
        metadata = {"resourceVersion": str(self._store.version)}
        return Response(200, self._reads.representation(resource, request).encoded_list(last, metadata))

    def _subresource(self, request: Request, found: Target, resource: ResourceType) -> Response:
        name, method = found.subresource or "", request.method
        if name not in resource.subresources:
            raise not_implemented(f"{resource.plural}/{name}") if name in _UNSERVED else no_such_path()
        if resource.namespaced and found.namespace is None:
            raise no_such_path()
        stored = self._reads.find(resource, found.namespace, found.name or "")
        match name, method:
            case "status", "GET" | "HEAD":
                return self._shown(request, resource, stored, 200)
            case "status", "PUT":
                return self._update(request, stored, resource, "status")
            case "status", "PATCH":
                return self._patch(request, found, resource, "status")
            case "finalize", "PUT" if resource is NAMESPACES:
                finalized = self._writes.finalize(stored, bodies.object_body(request, resource).body)
                return self._shown(request, resource, finalized, 200)
            case "log", "GET":
                return self._logs.answer(stored, request.params)
            case "binding", "POST":
                return self._bind(request, stored)
            case "eviction", "POST":
                return self._evict(request, stored)
            case "exec", "GET" | "POST":
                raise bad_request("Upgrade request required: exec is served over WebSockets (v5.channel.k8s.io) only")
        raise method_not_allowed()

    def _bind(self, request: Request, stored: Stored) -> Response:
        body = bodies.shaped_body(request, "io.k8s.api.core.v1.Binding")
        target_name = (body.get("target") or {}).get("name")
        if not target_name:
            raise bad_request("Binding: target.name: Required value")
        self._writes.bind(stored, target_name)
        return success(status=201)

    def _evict(self, request: Request, stored: Stored) -> Response:
        body = bodies.shaped_body(request, "io.k8s.api.policy.v1.Eviction")
        self._deletion.delete(stored, DeleteOptions.of(body.get("deleteOptions") or {}, request.params))
        return success(status=201)


def _stored_as(resource: ResourceType) -> ResourceType:
    return EVENTS if resource.storage == EVENTS.storage else resource


def _dry_run(request: Request) -> bool:
    asked = request.params.get("dryRun", "")
    if asked not in ("", "All"):
        raise bad_request(f'dryRun: Unsupported value: "{asked}": supported values: "All"')
    return asked == "All"


def _quoted(text: str) -> str:
    return text.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
