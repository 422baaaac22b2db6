"""The channel between the supervisor and one worker: both ends may tell, and ask; a line of JSON a message."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import orjson

from gateway.errors import SettingsError

MAX_LINE_BYTES = 64 << 20  # the figures of a worker with many models

Answer = Callable[[str, Any], Awaitable[Any]]


class Channel:
    """`open` on the running loop, then `run` for as long as the other end lives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._ended = False
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        """Take the socket."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._end, limit=MAX_LINE_BYTES)

    def close(self) -> None:
        """Let the other end know."""
        self._writer.close()

    def tell(self, what: str, value: Any = None) -> None:
        """Send, and expect no answer; whatever is told to a process that is gone is lost."""
        self._send({"what": what, "value": value})

    async def ask(self, what: str, value: Any = None, *, timeout_s: float) -> Any:
        """Return the other end's answer; raises the SettingsError that it met, TimeoutError, ConnectionError."""
        if self._ended:
            raise ConnectionError("the other process is gone")
        number = next(self._numbers)
        answered = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"what": what, "value": value, "ask": number})
            async with asyncio.timeout(timeout_s):
                return await answered
        finally:
            del self._asked[number]

    async def run(self, answer: Answer) -> None:
        """Answer with `answer(what, value)` until the other end is gone; questions are answered side by side."""
        try:
            while line := await self._reader.readline():
                message = orjson.loads(line)
                if "what" in message:
                    task = asyncio.create_task(self._answer(answer, message))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)
                elif (asked := self._asked.get(message["answers"])) and not asked.done():
                    if (error := message.get("error")) is not None:
                        asked.set_exception(SettingsError(error))
                    else:
                        asked.set_result(message["value"])
        except ConnectionError:
            pass  # gone without a goodbye
        finally:
            self._ended = True
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(ConnectionError("the other process is gone"))

    async def _answer(self, answer: Answer, message: dict[str, Any]) -> None:
        reply: dict[str, Any]
        try:
            reply = {"value": await answer(message["what"], message["value"])}
        except SettingsError as error:
            reply = {"error": str(error)}
        if (number := message.get("ask")) is not None:
            self._send({"answers": number, **reply})

    def _send(self, message: dict[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps(message) + b"\n")
