"""Chunked request bodies (RFC 9112, section 7.1), decoded strictly and within a limit.

The front reads them itself because httptools does not say where in its input a message ends, and the bytes after it
may belong to another server.
"""

from __future__ import annotations

import re

from api.protocol import faults

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n\0]*)?", re.ASCII)
_LINE_LIMIT = 1024
_TRAILER_LIMIT = 8 * 1024


class MalformedChunkError(Exception):
    """The bytes are not a chunked body."""


class ChunkedBody:
    """One body as it arrives. After `feed` has returned True, `body` is all of it and `rest` what followed it."""

    def __init__(self, limit: int) -> None:
        self.rest = b""
        self._limit = limit
        self._waiting = bytearray()
        self._found = bytearray()
        self._need = 0  # bytes of the present chunk still to come, with its line end; 0 between chunks
        self._in_trailers = False

    @property
    def body(self) -> bytes:
        """What has been decoded."""
        return bytes(self._found)

    def feed(self, data: bytes) -> bool:
        """Take more bytes; whether the body is complete. Raises MalformedChunkError, and AwsError past the limit."""
        self._waiting += data
        while True:
            if self._in_trailers:
                return self._end_of_trailers()
            if not self._need and not self._chunk_begins():
                return False
            if self._in_trailers:
                continue
            if not self._chunk_ends():
                return False

    def _chunk_begins(self) -> bool:
        line, found, rest = self._waiting.partition(b"\r\n")
        if not found:
            if len(self._waiting) > _LINE_LIMIT:
                raise MalformedChunkError("The line that begins a chunk is too long.")
            return False
        match = _SIZE.fullmatch(line)
        if match is None:
            raise MalformedChunkError("The line that begins a chunk is malformed.")
        size = int(match[1], 16)
        if len(self._found) + size > self._limit:
            raise faults.too_large(self._limit)
        self._waiting = rest
        self._in_trailers = size == 0
        self._need = size + 2
        return True

    def _chunk_ends(self) -> bool:
        if len(self._waiting) < self._need:
            return False
        if self._waiting[self._need - 2 : self._need] != b"\r\n":
            raise MalformedChunkError("A chunk is longer than it says.")
        self._found += self._waiting[: self._need - 2]
        del self._waiting[: self._need]
        self._need = 0
        return True

    def _end_of_trailers(self) -> bool:
        """Trailers are read and dropped."""
        while (end := self._waiting.find(b"\r\n")) > 0:
            del self._waiting[: end + 2]
        if end < 0 and len(self._waiting) > _TRAILER_LIMIT:
            raise MalformedChunkError("The trailers are too long.")
        if end == 0:
            self.rest = bytes(self._waiting[2:])
        return end == 0
