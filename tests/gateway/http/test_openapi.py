"""OpenAPI shows the hot routes as what they are."""

import re
from collections.abc import Iterator
from typing import Any

import httpx

HOT = (
    "/predict",
    "/v1/models/{model}/predict",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
)


def references(value: Any) -> Iterator[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


async def test_hot_routes_are_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for path in HOT:
        operation = document["paths"][path]["post"]
        assert {"200", "400", "404", "413", "429", "503", "504"} <= set(operation["responses"])
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert "$ref" in operation["requestBody"]["content"]["application/json"]["schema"]
    assert schemas["PredictRequest"]["required"] == ["text"]
    assert {"prediction", "confidence", "model", "version"} <= set(schemas["PredictAnswer"]["required"])
    assert schemas["ModelPredictRequest"]["properties"]["inputs"]["anyOf"][0]["type"] == "string"
    many = document["paths"]["/v1/models/{model}/predict"]["post"]["responses"]["200"]["content"]
    assert many["application/json"]["schema"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/LabelScore"},
    }
    assert "/readyz" in document["paths"]


async def test_every_reference_leads_somewhere(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"], reference
    operations = [way["operationId"] for path in document["paths"].values() for way in path.values()]
    assert len(set(operations)) == len(operations)


async def test_the_answers_are_as_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    answer = (await client.post("/predict", json={"text": "good"})).json()
    assert set(answer) == set(document["components"]["schemas"]["PredictAnswer"]["properties"])
    (found,) = (await client.post("/v1/models/tiny/predict", json={"inputs": "good"})).json()
    assert set(found) == set(document["components"]["schemas"]["LabelScore"]["properties"])


async def test_the_docs_page_takes_everything_it_shows_from_the_gateway(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(asset.endswith("swagger-ui-bundle.js") for asset in assets)
    for asset in assets:
        assert asset.startswith("/"), f"{asset} is somewhere else"
        assert (await client.get(asset)).status_code == 200
