"""The predict doors: `/predict` for the default model, `/v1/models/{model}/predict` for any."""

import orjson

from gateway.http.api.bodies import many_texts, one_text
from gateway.http.hot import Asked, HotRoute, Reply
from gateway.http.schemas import LabelScore, ModelPredictRequest, PredictAnswer, PredictRequest
from gateway.serving.predictor import Predictor


def predict_routes(predictor: Predictor) -> list[HotRoute]:
    """Return the predict doors to `predictor`."""

    async def predict(asked: Asked) -> Reply:
        text = one_text(asked.body)
        answer = await predictor.predict(asked.call, None, [text])
        prediction = answer.predictions[0]
        manifest = answer.target.manifest
        content = {
            "prediction": prediction.label,
            "confidence": prediction.score,
            "model": manifest.model,
            "version": manifest.version,
        }
        return Reply(orjson.dumps(content))

    async def predict_model(asked: Asked) -> Reply:
        texts = many_texts(asked.body)
        answer = await predictor.predict(asked.call, asked.path["model"], texts)
        content = [{"label": found.label, "score": found.score} for found in answer.predictions]
        return Reply(orjson.dumps(content))

    return [
        HotRoute(
            "/predict", "predict", predict, "Label one text with the default model", PredictRequest, PredictAnswer
        ),
        HotRoute(
            "/v1/models/{model}/predict",
            "predict_model",
            predict_model,
            "Label one text, many texts or pairs of texts",
            ModelPredictRequest,
            list[LabelScore],
        ),
    ]
