# The images of the three resource types: FROM scratch, a CA bundle, one static binary, links for check, in and out.
#
#   docker build --target rollout .           needs a container registry, for the Rust image
#   make images                               needs none: it hands in what the `binaries` stage would hold
#
# Each type has a second image, NAME-debug, with a shell for `fly hijack`.

ARG VERSION=0.0.0
ARG REVISION=unknown

FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static ca-certificates musl-tools \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --target x86_64-unknown-linux-musl \
      --bin image-digest --bin kpack-trigger --bin rollout \
 && resource/rootfs target/x86_64-unknown-linux-musl/release /out

# One directory per image, laid out as its root file system. `make images` replaces this stage with
# --build-context binaries=DIR, where DIR was filled by the same resource/rootfs.
FROM scratch AS binaries
COPY --from=build /out/ /

FROM scratch AS image-digest
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="image-digest" \
      org.opencontainers.image.description="Concourse resource type: the digest that an image tag points at" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=binaries /image-digest/ /

FROM scratch AS kpack-trigger
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="kpack-trigger" \
      org.opencontainers.image.description="Concourse resource type: the builds of a kpack Image" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=binaries /kpack-trigger/ /

FROM scratch AS rollout
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="rollout" \
      org.opencontainers.image.description="Concourse resource type: rolls a Kubernetes Deployment to a digest and proves it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=binaries /rollout/ /

FROM image-digest AS image-digest-debug
COPY --from=binaries /debug/ /

FROM kpack-trigger AS kpack-trigger-debug
COPY --from=binaries /debug/ /

FROM rollout AS rollout-debug
COPY --from=binaries /debug/ /
