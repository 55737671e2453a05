# One image for every role: `serve` (all in one), or `worker` and the API apart (docker-compose.yml).
#   CPU:  docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu -t darefine .
#   GPU:  docker build -t darefine .        (the PyPI build of torch carries its CUDA libraries)
# The demo's model cards and weights are in the package; for your own mount a folder and set DAREFINE_WEIGHTS_DIR to it.
FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
WORKDIR /src
RUN python -m venv /venv
COPY requirements.lock requirements-torch.lock ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements-torch.lock
COPY pyproject.toml README.md LICENSE hatch_build.py package.json package-lock.json ./
COPY darefine darefine
COPY service service
COPY workers workers
COPY model model
COPY wsi wsi
COPY weights weights
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 darefine && install -d -o darefine -g darefine /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAREFINE_DATA_DIR=/data
USER darefine
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["darefine", "serve", "--host", "0.0.0.0"]
