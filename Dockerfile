# The server with its starter model. The base, the accelerator and pip's sources are arguments:
#   podman build --format docker -t soft-verifier .
#   podman build --format docker -t soft-verifier:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
#   podman build --format docker --build-arg BASE=localhost/base:debian --secret id=pip,src=pip.conf --build-arg TORCH_INDEX= .
# BASE is a Debian (or one like it) with Python 3.11 or newer, its venv module, and apt or tini.
# TORCH_INDEX empty takes torch from where pip takes the rest. The secret `pip` is a pip.conf that
# this build reads and no layer keeps: an index of one's own, its certificate, its password.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PATH=/opt/soft-verifier/bin:$PATH
RUN command -v tini-static \
 || { apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*; }
RUN python3 -m venv /opt/soft-verifier
WORKDIR /build
COPY constraints.txt pyproject.toml deploy/requirements.py deploy/slim.py ./
COPY client/pyproject.toml client/
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=
# What we need, before what we are: a change of our code leaves this layer as it is. torch first:
# whatever else asks for it must find the one that was chosen. Then what only builds and tests read
# goes (headers, static libraries, the packages' own tests), and what is left is compiled, on all
# cores: nothing can be written beside the sources later. A few files are for newer Pythons only.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip install --no-compile -c constraints.txt torch==2.13.0 ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} \
 && python requirements.py ${EXTRAS} > requirements.txt \
 && pip install --no-compile -c constraints.txt -r requirements.txt \
 && python slim.py /opt/soft-verifier \
 && { python -m compileall -qq -j 0 /opt/soft-verifier/lib || true; }
# What writes the bill of materials, in an environment that stays in this stage; SBOM empty: none.
ARG SBOM=cyclonedx-bom==7.5.0
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    [ -z "${SBOM}" ] || { python3 -m venv /opt/sbom && /opt/sbom/bin/pip install "${SBOM}"; }
COPY README.md LICENSE ./
COPY client client
COPY service service
COPY worldmodels worldmodels
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps ./client . && pip check \
 && python -W ignore -m worldmodels.expression.starter /opt/soft-verifier/models/starter \
 && pip uninstall --yes --quiet pip \
 && { [ -z "${SBOM}" ] || /opt/sbom/bin/cyclonedx-py environment /opt/soft-verifier/bin/python \
      --of JSON --output-file /opt/soft-verifier/sbom.json; }

FROM ${BASE}
LABEL org.opencontainers.image.title="soft-verifier" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /usr/bin/tini-static /usr/bin/tini-static
COPY --from=build /opt/soft-verifier /opt/soft-verifier
COPY deploy/healthcheck.py /opt/soft-verifier/healthcheck.py
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp verifier \
 && install -d -o verifier -g verifier /models /data /work
# The root file system may be read-only: what is written goes to /tmp, /data (audit) or /models.
ENV PATH=/opt/soft-verifier/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp XDG_CACHE_HOME=/tmp/cache NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    SOFT_VERIFIER_SERVER__HOST=0.0.0.0 \
    SOFT_VERIFIER_STARTER__PATH=/opt/soft-verifier/models/starter
WORKDIR /work
VOLUME ["/models", "/data"]
USER 10001:10001
EXPOSE 8080 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-S", "/opt/soft-verifier/healthcheck.py"]
# tini is process 1: it passes signals on, also before the server takes them, and reaps orphans.
ENTRYPOINT ["/usr/bin/tini-static", "--", "soft-verifier"]
CMD ["serve"]
