"""FastAPI: a validated route that computes where it is called. No batching, as it comes."""

import sys

import uvicorn
from fastapi import FastAPI
from pairs import Pairs
from pydantic import BaseModel

app = FastAPI()
pairs = Pairs()


class Columns(BaseModel):
    """Gene pairs."""

    subjects: list[str]
    objects: list[str]


@app.post("/predict")
async def predict(asked: Columns) -> dict[str, list[float]]:
    """Their probabilities."""
    return {"p": pairs(asked.subjects, asked.objects)}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
