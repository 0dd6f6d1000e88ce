"""The engine's C functions, as its wheel exports them: the only place that knows their signatures.

Signatures are those of goneonize/main.go of neonize 0.5.2. Every call blocks the calling thread until Go answers, which
may be never: callers run them in threads of their own and bound the waiting. Memory that Go returns is freed here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

TextCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
"""(client id, C string)"""
EventCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
"""(client id, protobuf, its size, event code)"""
LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
"""(protobuf LogEntry, its size)"""

_WRITE_CHUNK: Final = 1 << 20
"""Media goes from Go's buffer to the file in pieces of this size: one write of 60 MiB would hold the page lock long."""
_FIELD_BINARY: Final = 0x0A
_FIELD_ERROR: Final = 0x12
"""Protobuf keys (number << 3 | 2) of DownloadReturnFunction: 1 Binary, 2 Error."""


class _Buffer(ctypes.Structure):
    _fields_ = (("ptr", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Proxy(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_char_p),
        ("no_websocket", ctypes.c_bool),
        ("only_login", ctypes.c_bool),
        ("no_media", ctypes.c_bool),
    )


class EngineError(Exception):
    """The engine reported an error; `text` is its own, without message content."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def write_download(data: memoryview, fd: int) -> int:
    """Write the media in a serialised DownloadReturnFunction to `fd` without copying it; the number of bytes.

    Raises EngineError if it carries an error instead, OSError if writing fails.
    """
    at = written = 0
    while at < len(data):
        key = data[at]
        length, at = _read_varint(data, at + 1)
        if at + length > len(data):
            raise EngineError("the engine returned a truncated answer")
        value = data[at : at + length]
        at += length
        if key == _FIELD_ERROR:
            raise EngineError(bytes(value).decode("utf-8", "replace"))
        if key != _FIELD_BINARY:
            raise EngineError(f"the engine returned an unknown field ({key:#x})")
        while written < length:
            written += os.write(fd, value[written : written + _WRITE_CHUNK])
    return written


class Library:
    """The opened library. One per process; opening it starts Go's runtime and its threads."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        lib = ctypes.CDLL(str(path))
        lib.GetVersion.restype = ctypes.c_char_p
        self.version: str = lib.GetVersion().decode()
        lib.FreeBytesStruct.argtypes = [ctypes.POINTER(_Buffer)]
        lib.FreeBytesStruct.restype = None
        lib.FreeString.argtypes = [ctypes.c_void_p]
        lib.FreeString.restype = None
        text, raw, size = ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int
        for name, arguments in {
            "SendMessage": [text, raw, size, raw, size],
            "Upload": [text, raw, size, ctypes.c_int],
            "GetBlocklist": [text],
            "PairPhone": [text, raw, size],
            "DownloadMediaWithPath": [text, text, raw, size, raw, size, raw, size, size, ctypes.c_int, text],
        }.items():
            function = getattr(lib, name)
            function.argtypes = arguments
            function.restype = ctypes.POINTER(_Buffer)
        for name, arguments in {
            "SendPresence": [text, text],
            "Logout": [text],
            "Neonize": [
                *(text, text, raw, size, ctypes.c_int, text),
                *(TextCallback, TextCallback, EventCallback, LogCallback),
                *(raw, size, raw, size, raw, size, ctypes.POINTER(_Proxy)),
            ],
        }.items():
            function = getattr(lib, name)
            function.argtypes = arguments
            function.restype = ctypes.c_void_p
        for name in ("Stop", "Disconnect"):
            function = getattr(lib, name)
            function.argtypes = [text]
            function.restype = None
        self._lib: Any = lib
        self._kept: list[object] = []

    # ---- calls that return a protobuf message or a string ----

    def call(self, name: str, *arguments: object) -> bytes:
        """Call a function that returns a buffer; its content."""
        answer: bytes = self._with_buffer(getattr(self._lib, name)(*arguments), bytes)
        return answer

    def text_call(self, name: str, *arguments: object) -> str:
        """Call a function that returns an error text; empty when all is well."""
        pointer = getattr(self._lib, name)(*arguments)
        if not pointer:
            return ""
        try:
            return ctypes.string_at(pointer).decode("utf-8", "replace")
        finally:
            self._lib.FreeString(pointer)

    def download(self, fd: int, *arguments: object) -> int:
        """DownloadMediaWithPath into `fd`; the number of bytes. Raises EngineError, OSError."""
        result = self._lib.DownloadMediaWithPath(*arguments)
        written: int = self._with_buffer(result, lambda data: write_download(data, fd))
        return written

    def _with_buffer(self, result: Any, use: Callable[[memoryview], Any]) -> Any:
        if not result:
            return use(memoryview(b""))
        try:
            buffer = result.contents
            if not buffer.ptr or not buffer.size:
                return use(memoryview(b""))
            data = memoryview((ctypes.c_char * buffer.size).from_address(buffer.ptr)).cast("B")
            try:
                return use(data)
            finally:
                data.release()
        finally:
            self._lib.FreeBytesStruct(result)

    # ---- the life of a client ----

    def connect(
        self,
        *,
        client: bytes,
        database: str,
        on_qr: Any,
        on_login: Any,
        on_event: Any,
        on_log: Any,
        subscriptions: bytes,
        device_props: bytes,
        proxy: str | None,
    ) -> str:
        """Connect, and hand over events until `stop`; blocks all the while. The engine's error, or empty.

        The callbacks run in threads of Go. They are kept for good: Go still logs after this call has returned.
        The log level is DEBUG, because only its lines show frames, pings and their answers.
        """
        settings = None if proxy is None else ctypes.byref(_Proxy(proxy.encode()))
        callbacks = (TextCallback(on_qr), TextCallback(on_login), EventCallback(on_event), LogCallback(on_log))
        self._kept.append(callbacks)
        return self.text_call(
            "Neonize",
            *(database.encode(), client, b"", 0, 0, b"DEBUG"),
            *callbacks,
            *(subscriptions, len(subscriptions), device_props, len(device_props), b"", 0, settings),
        )

    def stop(self, client: bytes) -> None:
        """Disconnect and end `connect`. Only for a client that has logged in once: Go would panic on any other."""
        self._lib.Stop(client)

    def disconnect(self, client: bytes) -> None:
        """Close the connection; the engine does not dial again."""
        self._lib.Disconnect(client)


def bytes_at(pointer: int, size: int) -> bytes:
    """What Go passed to a callback, copied."""
    return ctypes.string_at(pointer, size)


def text_at(pointer: int) -> str:
    """The C string that Go passed to a callback, copied."""
    return ctypes.string_at(pointer).decode("utf-8", "replace")
