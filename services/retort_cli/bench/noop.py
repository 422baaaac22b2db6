"""`python -m retort_cli.bench.noop`: a FastAPI route that reads /predict's request and does nothing with it."""

import os

import uvicorn
from fastapi import FastAPI, Response

from gateway.http.schemas import PredictRequest

ANSWER = b'{"prediction":"nothing","confidence":1.0,"model":"none","version":0}'
PORT = "RETORT_BENCH_NOOP_PORT"

app = FastAPI()


@app.post("/predict")
async def predict(asked: PredictRequest) -> Response:
    """Answer at once; a ready Response, so that the route costs no more than reading the request."""
    del asked
    return Response(ANSWER, media_type="application/json")


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Answer that the process answers."""
    return {"ready": True}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ[PORT]), access_log=False, log_level="warning")
