"""A prediction over HTTP and one over gRPC, as `helm test` makes them. Exit status 0 when both answered and agree."""

import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import tritonclient.grpc as triton

TEXT = "I was charged twice for my order last week"
WAIT_S = 120.0  # a model server that was scaled to zero has to start


def main() -> None:
    """Ask both doors."""
    url, certificate = os.environ["HTTP"], os.environ.get("CERTIFICATE")
    headers = {"authorization": f"Bearer {key}"} if (key := os.environ.get("API_KEY")) else {}
    context = trusting(certificate) if certificate else None
    answer = over_http(url, headers, context)
    sys.stdout.write(f"HTTP: {answer}\n")
    options = (
        {"ssl": True, "root_certificates": certificate, "channel_args": [expecting(url, context)]} if context else {}
    )
    label = over_grpc(os.environ["GRPC"], headers, os.environ.get("MODEL") or answer["model"], options)
    sys.stdout.write(f"gRPC: {label}\n")
    if label != answer["prediction"]:
        sys.exit("the two doors disagree")


def over_http(url: str, headers: Mapping[str, str], context: ssl.SSLContext | None) -> Any:
    """Return the answer of `/predict`."""
    body = json.dumps({"text": TEXT}).encode()
    request = Request(f"{url}/predict", body, {"content-type": "application/json", **headers})  # noqa: S310
    end_s = time.monotonic() + WAIT_S
    while True:
        try:
            with urlopen(request, timeout=30, context=context) as response:  # noqa: S310  # the chart wrote the URL
                return json.load(response)
        except HTTPError as error:
            if error.code not in (503, 504) or time.monotonic() > end_s:
                sys.exit(f"HTTP: {error.code} {error.read().decode()}")
            time.sleep(1)


def over_grpc(address: str, headers: Mapping[str, str], model: str, options: Mapping[str, Any]) -> str:
    """Return the label that a stock client gets."""
    text = triton.InferInput("text", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([[TEXT]], dtype=object))
    with triton.InferenceServerClient(address, **options) as client:
        answer = client.infer(model, [text], headers=headers, client_timeout=30)
    return str(answer.as_numpy("label").flatten()[0].decode())


def trusting(certificate: str) -> ssl.SSLContext:
    """Return a context that trusts this certificate alone, whatever its name: it is the world's, we ask the Service."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def expecting(url: str, context: ssl.SSLContext) -> tuple[str, str]:
    """Return the option that has gRPC expect the name that the certificate is for."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as plain, context.wrap_socket(plain) as secured:
        known: Any = secured.getpeercert()
    return "grpc.ssl_target_name_override", known["subjectAltName"][0][1].replace("*", "any")


main()
