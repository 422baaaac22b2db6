"""An open-loop sender: what is due is sent, whatever came of earlier requests. Runs in a pod, until its stdin ends.

python -c SENDER HOST RATE SHARE_OVER_GRPC      with the API key in API_KEY; prints one line of JSON

Nothing is sent twice: a request without a good answer is lost. HTTP connections are kept and
reused like a customer's, and one that the server has closed is not used again.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

TEXTS = ("I was charged twice for my order", "where is my parcel?", "the kettle arrived with a crack in it")
TIMEOUT_S = 15.0
MODEL = "support-tickets"


class Sender:
    """The schedule and what came of it."""

    def __init__(self, host: str, rate: float, share_over_grpc: float) -> None:
        self._host, self._rate, self._share = host, rate, share_over_grpc
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._headers = {"authorization": f"Bearer {os.environ['API_KEY']}"}
        self._took_s: list[float] = []
        self._late_s: list[float] = []
        self._lost: Counter[str] = Counter()
        self._first_s: float | None = None

    async def run(self) -> dict[str, Any]:
        """Send until stdin ends; return the figures."""
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        asked: set[asyncio.Task[None]] = set()
        start, number = time.monotonic(), 0
        async with triton.InferenceServerClient(f"{self._host}:8081") as client:
            while not ended.done():
                due = start + number / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self._late_s.append(time.monotonic() - due)
                over_grpc = (number * self._share) % 1.0 >= 1.0 - self._share - 1e-9 if self._share else False
                text = f"{TEXTS[number % len(TEXTS)]} {number}"
                asking = asyncio.create_task(self._ask(due, text, client if over_grpc else None))
                asked.add(asking)
                asking.add_done_callback(asked.discard)
                number += 1
            await asyncio.gather(*asked)
        quantiles = {f"p{share}_ms": quantile_ms(self._took_s, share) for share in (50, 95, 99, 100)}
        return {
            "sent": number,
            "answered": len(self._took_s),
            "lost": dict(self._lost),
            "seconds": round(time.monotonic() - start, 1),
            "first_answer": self._first_s,
            **quantiles,
            "late_p99_ms": quantile_ms(self._late_s, 99),
        }

    async def _ask(self, due: float, text: str, client: Any) -> None:
        door = "HTTP" if client is None else "gRPC"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await (self._over_http(text) if client is None else self._over_grpc(client, text))
        except Exception as error:  # noqa: BLE001 - whatever it was, the customer has no answer
            self._lost[f"{door}: {type(error).__name__}: {str(error)[:120]}"] += 1
        else:
            self._took_s.append(time.monotonic() - due)
            self._first_s = self._first_s or time.time()

    async def _over_grpc(self, client: Any, text: str) -> None:
        sent = triton.InferInput("text", [1, 1], "BYTES")
        sent.set_data_from_numpy(np.array([[text]], dtype=object))
        answer = await client.infer(MODEL, [sent], headers=self._headers)
        if not answer.as_numpy("label").size:
            raise ValueError("no label")

    async def _over_http(self, text: str) -> None:
        reader, writer = await self._connection()
        body = json.dumps({"text": text}).encode()
        head = f"POST /v1/models/{MODEL}/predict HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        body = json.dumps({"inputs": text}).encode()
        head += f"authorization: {self._headers['authorization']}\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
            fields = dict(line.split(": ", 1) for line in lines[1:] if line)
            answer = await reader.readexactly(int(fields["content-length"]))
        except BaseException:
            writer.close()
            raise
        if fields.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        if " 200 " not in f"{lines[0]} " or b"label" not in answer:
            raise ValueError(f"{lines[0]} {answer[:80]!r}")

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop(0)
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, 8080)


def quantile_ms(seconds: list[float], share: int) -> float:
    """Return what this share (in percent) stays below, counted from when each request was due."""
    ordered = sorted(seconds) or [0.0]
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 1)


if __name__ == "__main__":
    host, rate, share = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(Sender(host, float(rate), float(share)).run())) + "\n")
