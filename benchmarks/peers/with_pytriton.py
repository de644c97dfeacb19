"""PyTriton: NVIDIA Triton around a Python function, batches of up to 256 rows, waiting 2 ms."""

import sys

import numpy as np
from numpy.typing import NDArray
from pairs import Pairs
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

pairs = Pairs()


@batch
def predict(subjects: NDArray[np.bytes_], objects: NDArray[np.bytes_]) -> list[NDArray[np.float64]]:
    """One batch."""
    columns = ([name.decode() for name in column[:, 0]] for column in (subjects, objects))
    return [np.array(pairs(*columns)).reshape(-1, 1)]


if __name__ == "__main__":
    port = int(sys.argv[1])
    config = TritonConfig(http_port=port, grpc_port=port + 1, metrics_port=port + 2)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="pairs",
            infer_func=predict,
            inputs=[
                Tensor(name="subjects", dtype=bytes, shape=(1,)),
                Tensor(name="objects", dtype=bytes, shape=(1,)),
            ],
            outputs=[Tensor(name="p", dtype=np.float64, shape=(1,))],
            config=ModelConfig(
                max_batch_size=256, batcher=DynamicBatcher(max_queue_delay_microseconds=2000)
            ),
        )
        triton.serve()
