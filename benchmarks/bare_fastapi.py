"""The floor that the server is compared with: one FastAPI route, one pydantic model, no work."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Pair(BaseModel):
    """A question about two genes."""

    perturbation: str
    gene: str


@app.post("/predict")
async def predict(pair: Pair) -> dict[str, float]:
    """Answer at once."""
    return {"probability": 0.5 if pair.gene else 0.0}


@app.get("/ready")
async def ready() -> dict[str, bool]:
    """Say that the server is up."""
    return {"ready": True}
