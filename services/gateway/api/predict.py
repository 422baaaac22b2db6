"""The predict doors: `/predict` for the default model, `/v1/models/{model}/predict` for any."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.bodies import many_texts, one_text
from gateway.call import Call
from gateway.middleware import CALL
from gateway.openapi import HotRoute
from gateway.predictor import Predictor
from gateway.schemas import LabelScore, ModelPredictRequest, PredictAnswer, PredictRequest


def predict_routes(predictor: Predictor) -> list[HotRoute]:
    """Return the predict doors to `predictor`."""

    async def predict(request: Request) -> Response:
        call: Call = request.scope[CALL]
        call.route = "predict"
        text = one_text(await request.body())
        answer = await predictor.predict(call, None, [text])
        prediction = answer.predictions[0]
        manifest = answer.target.manifest
        content = {
            "prediction": prediction.label,
            "confidence": prediction.score,
            "model": manifest.model,
            "version": manifest.version,
        }
        return Response(orjson.dumps(content), media_type="application/json")

    async def predict_model(request: Request) -> Response:
        call: Call = request.scope[CALL]
        call.route = "predict_model"
        texts = many_texts(await request.body())
        answer = await predictor.predict(call, request.path_params["model"], texts)
        content = [{"label": found.label, "score": found.score} for found in answer.predictions]
        return Response(orjson.dumps(content), media_type="application/json")

    return [
        HotRoute("/predict", predict, "Label one text with the default model", PredictRequest, PredictAnswer),
        HotRoute(
            "/v1/models/{model}/predict",
            predict_model,
            "Label one text, many texts or pairs of texts",
            ModelPredictRequest,
            list[LabelScore],
        ),
    ]
