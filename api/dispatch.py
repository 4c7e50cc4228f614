"""From an HTTP request to an answer: which operation, whose request, valid or not, and what becomes of errors.

One `Endpoint` serves an instance. The front and the Quart app both call it, so they cannot differ in what they answer.
It knows nothing of sockets, and holds no state but caches and figures.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

from actors.mailbox import ActorStopped, DeadlineExceeded, Overloaded
from api.ecs.context import Context, Read, Write
from api.ecs.operations import READS, WRITES
from api.ecs.rendering import Renderer
from api.ecs.shapes import classes
from api.metrics import RequestFigures
from api.protocol import faults, json_protocol, model
from api.protocol.credentials import Credentials, credentials_of
from api.protocol.faults import Answer
from api.protocol.validation import Validation
from engine.arn import Scope
from engine.errors import AwsError, unsupported

if TYPE_CHECKING:
    from actors.instance import ControlPlane


BODY_LIMIT: Final = 4 * 1024 * 1024
"""The longest request body, in bytes. ECS's own limits are far below."""

_OWN_PAGES = re.compile(r"https?://(localhost|[a-z0-9.-]+\.localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.ASCII)
_log = logging.getLogger(__name__)
_FORM = "application/x-www-form-urlencoded"
_UNKNOWN = "Unknown"
_KEPT_CONTEXTS = 1000


@frozen
class Request:
    """What of an HTTP request decides its answer. Header values are as they arrived, empty when absent."""

    method: str
    path: str
    target: str
    authorization: str
    content_type: str
    body: bytes
    origin: str = ""

    @property
    def is_query(self) -> bool:
        """Whether a client of a query protocol sent this: it understands XML only."""
        return not self.target and self.path == "/" and self.content_type.lower().startswith(_FORM)


@frozen
class _Operation:
    name: str
    read_input: Callable[[Any], dict[str, Any]]
    read: Read | None = None
    write: Write | None = None


Outcome: TypeAlias = "Answer | Awaitable[Answer]"


class Endpoint:
    """The AWS endpoint of one control plane."""

    def __init__(self, control_plane: ControlPlane, figures: RequestFigures | None = None) -> None:
        self._control_plane = control_plane
        self._views = control_plane.views
        self._model = model.load("ecs")
        self._renderer = Renderer(self._model, control_plane.views)
        self._validation = Validation(self._model, classes(self._model))
        self._operations: dict[str, _Operation] = {}
        self._contexts: dict[Scope, Context] = {}
        self.figures = figures or RequestFigures()

    def answer(self, request: Request) -> Outcome:
        """The answer: at once for reads and refusals, an awaitable for writes. Neither raises."""
        started = perf_counter()
        request_id = faults.new_request_id()
        name = _UNKNOWN
        try:
            if request.origin:
                _refuse_foreign_pages(request.origin)
            credentials = credentials_of(request.authorization)
            name = self._named(request, credentials)
            operation = self._operation(name)
            members = operation.read_input(json_protocol.parse(request.body))
            context = self._context(credentials.scope)
            if operation.read is None:
                return self._wait_for(operation, context, members, request_id, started)
            answer = Answer(200, operation.read(context, members), request_id)
        except Exception as error:  # the boundary: whatever went wrong is answered, and a bug of ours is logged
            answer = self._fault(error, request_id, name, request.is_query)
        self.figures.observe(name, answer.code, perf_counter() - started)
        return answer

    def refuse(self, error: AwsError) -> Answer:
        """The answer to a request that could not even be read; the connection ends after it."""
        answer = faults.fault(error, faults.new_request_id(), close=True)
        self.figures.observe(_UNKNOWN, answer.code, 0.0)
        return answer

    async def _wait_for(
        self, operation: _Operation, context: Context, members: dict[str, Any], request_id: str, started: float
    ) -> Answer:
        assert operation.write is not None
        try:
            answer = Answer(200, await operation.write(context, members), request_id)
        except Exception as error:  # the boundary, as above
            answer = self._fault(error, request_id, operation.name, xml=False)
        self.figures.observe(operation.name, answer.code, perf_counter() - started)
        return answer

    def _context(self, scope: Scope) -> Context:
        context = self._contexts.get(scope)
        if context is None:
            if len(self._contexts) >= _KEPT_CONTEXTS:
                self._contexts.clear()
            context = Context(self._control_plane, self._views, self._renderer, scope)
            self._contexts[scope] = context
        return context

    def _named(self, request: Request, credentials: Credentials) -> str:
        """The name of the operation that is asked for, known or not. Raises AwsError when it is not one of ECS."""
        if request.path.startswith("/v1/"):
            return request.path[4:]
        prefix, dot, name = request.target.partition(".")
        if prefix == self._model.target_prefix:
            return name
        if dot:
            raise faults.other_service(prefix.partition("_")[0], request.target)
        if credentials.service and credentials.service != "ecs":
            raise faults.other_service(credentials.service, request.target)
        if request.is_query:
            raise faults.other_service("a service of the Query protocol", "")
        if not request.target:
            raise faults.RequestError("MissingTargetException", "The request has no X-Amz-Target header.")
        raise faults.unknown_operation(request.target)

    def _operation(self, name: str) -> _Operation:
        """The operation, compiled at first use. Raises UnknownOperationException, UnsupportedFeatureException."""
        operation = self._operations.get(name)
        if operation is None:
            if name not in self._model.operations:
                raise faults.unknown_operation(name)
            if name not in READS and name not in WRITES:
                raise unsupported(f"The operation {name}")
            operation = _Operation(name, self._validation.reader(name), READS.get(name), WRITES.get(name))
            self._operations[name] = operation
        return operation

    def _fault(self, error: Exception, request_id: str, name: str, xml: bool) -> Answer:
        match error:
            case AwsError():
                refusal = error
            case Overloaded():
                refusal = faults.throttled()
            case DeadlineExceeded():
                refusal = faults.unavailable("The request took too long. It may still be carried out.")
            case ActorStopped():
                refusal = faults.unavailable("The resource is being restarted. Try again.")
            case _:
                _log.error("request %s (%s) failed", request_id, name, exc_info=error)
                refusal = faults.internal(request_id)
        return faults.fault(refusal, request_id, xml=xml)


def _refuse_foreign_pages(origin: str) -> None:
    """Raise AccessDeniedException for a request that a web page from elsewhere made in the user's browser.

    Requests are not authenticated, and tasks are programs: no page that somebody visits may start one.
    """
    if _OWN_PAGES.fullmatch(origin) is None:
        raise AwsError("AccessDeniedException", "Requests of web pages from other hosts are refused.", 403)
