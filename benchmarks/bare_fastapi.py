"""What the server is compared with: FastAPI routes that validate their body and do no work.

``/predict`` takes a gene pair; ``/score`` takes the very body that ours gets and answers in the
same shape, with an invented number: what a reward costs before anything is verified.
"""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Pair(BaseModel):
    """A question about two genes."""

    perturbation: str
    gene: str


class Task(BaseModel):
    """The task of an item."""

    type: str
    perturbation: str
    gene: str
    cell_line: str


class Item(BaseModel):
    """A completion with its task."""

    id: str
    completion: str
    task: Task
    keywords: list[str] | None = None


class Request(BaseModel):
    """A batch of completions."""

    profile: str
    items: list[Item]


class Result(BaseModel):
    """A reward."""

    id: str
    status: str
    reward: float


class Response(BaseModel):
    """A batch of rewards."""

    results: list[Result]


@app.post("/predict")
async def predict(pair: Pair) -> dict[str, float]:
    """Answer at once."""
    return {"probability": 0.5 if pair.gene else 0.0}


@app.post("/score")
async def score(request: Request) -> Response:
    """Answer at once."""
    return Response(results=[Result(id=item.id, status="ok", reward=0.5) for item in request.items])


@app.get("/ready")
async def ready() -> dict[str, bool]:
    """Say that the server is up."""
    return {"ready": True}
