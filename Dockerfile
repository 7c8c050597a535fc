# docker build -t mlcnn . && docker run --rm -v "$PWD:/work" mlcnn check new.onnx --baseline old.onnx --no-more bytes
FROM python:3.13-slim

# `native` compiles its kernels with the machine's compiler; g++ is for `mlcnn rtl`. Debian keeps no
# older versions of a package, so a pin would break the build one day.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# The packages first: they change less often than mlcnn does. torch comes without GPU packages.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=openvino,data,rtl
COPY constraints.txt /src/
RUN pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" --constraint /src/constraints.txt torch
COPY LICENSE README.md pyproject.toml /src/
COPY src /src/src
RUN pip install --no-cache-dir --constraint /src/constraints.txt "/src[$EXTRAS]" \
    && useradd --create-home --uid 1000 mlcnn

USER 1000
WORKDIR /work
ENTRYPOINT ["mlcnn"]
CMD ["--help"]
