"""A prediction over HTTP and one over gRPC, as `helm test` makes them. Exit status 0 when both answered and agree."""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import tritonclient.grpc as triton

TEXT = "I was charged twice for my order last week"
WAIT_S = 120.0  # a model server that was scaled to zero has to start


def over_http(url, headers, certificate):
    """Return the answer of `/predict`."""
    context = None
    if certificate:
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False  # the certificate is for the world's name, we ask by the Service's
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    request = urllib.request.Request(
        f"{url}/predict", json.dumps({"text": TEXT}).encode(), {"content-type": "application/json", **headers}
    )
    end_s = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code not in (503, 504) or time.monotonic() > end_s:
                raise SystemExit(f"HTTP: {error.code} {error.read().decode()}") from error
            time.sleep(1)


def over_grpc(address, headers, certificate, model):
    """Return the label that a stock client gets."""
    options = {}
    if certificate:
        options = {"ssl": True, "root_certificates": certificate, "channel_args": [override(certificate)]}
    text = triton.InferInput("text", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([[TEXT]], dtype=object))
    with triton.InferenceServerClient(address, **options) as client:
        answer = client.infer(model, [text], headers=headers, client_timeout=30)
    return answer.as_numpy("label").flatten()[0].decode()


def override(certificate):
    """Return the option that has gRPC expect the name that the certificate is for."""
    context = ssl.create_default_context(cafile=certificate)
    host, port = os.environ["HTTP"].removeprefix("https://").split(":")
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with ssl.create_connection((host, int(port))) as plain, context.wrap_socket(plain) as secured:
        name = secured.getpeercert()["subjectAltName"][0][1]
    return ("grpc.ssl_target_name_override", name.replace("*", "any"))


def main():
    """Ask both doors."""
    key, certificate = os.environ.get("API_KEY"), os.environ.get("CERTIFICATE")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = over_http(os.environ["HTTP"], headers, certificate)
    print("HTTP:", answer)
    label = over_grpc(os.environ["GRPC"], headers, certificate, os.environ.get("MODEL") or answer["model"])
    print("gRPC:", label)
    if label != answer["prediction"]:
        sys.exit("the two doors disagree")


main()
