# The server with its starter model. Build arguments choose the base and where torch comes from:
#   podman build -t soft-verifier --build-arg BASE=python:3.12-slim .
#   podman build -t soft-verifier:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
ARG BASE=docker.io/library/python:3.12-slim
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY constraints.txt ./
RUN pip install -c constraints.txt torch==2.13.0 ${TORCH_INDEX:+--index-url ${TORCH_INDEX}}
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY service service
COPY worldmodels worldmodels
RUN pip install -c constraints.txt './client[grpc]' . \
 && python -W ignore -m worldmodels.expression.starter models/starter \
 && useradd --system --uid 10001 verifier
USER 10001
ENV SOFT_VERIFIER_SERVER__HOST=0.0.0.0
EXPOSE 8080 50051
STOPSIGNAL SIGTERM
ENTRYPOINT ["soft-verifier"]
CMD ["serve"]
