# The server image: `docker build -t vendfleet .`
# Building needs Rust and a C compiler only (SQLite is compiled in, TLS is rustls, protos need no protoc).

FROM rust:1.95-bookworm AS build
# The image's own toolchain is the pinned one; without this, rust-toolchain.toml would fetch lint components.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_INCREMENTAL=0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package vendfleet --bin vendfleet \
    && install -D target/release/vendfleet /out/vendfleet

FROM debian:bookworm-slim
# Roots to check a PostgreSQL's certificate with; nothing else is needed at run time.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin vendfleet \
    && install -d -o vendfleet -g vendfleet -m 0700 /var/lib/vendfleet
COPY --from=build /out/vendfleet /usr/local/bin/vendfleet
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/vendfleet/

USER vendfleet
# Keys, certificates and the embedded database: what must survive the container.
VOLUME /var/lib/vendfleet
# Inside a container every interface is the container's own; what is published is decided outside.
ENV VENDFLEET_SERVER__DATA_DIR=/var/lib/vendfleet \
    VENDFLEET_SERVER__LISTEN=0.0.0.0:7443 \
    VENDFLEET_SERVER__HTTP_LISTEN=0.0.0.0:7080
EXPOSE 7443 7080
# Asks /healthz. "degraded" counts as working: a restart would not mend it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["vendfleet", "healthcheck"]
# SIGTERM drains: give it longer than server.drain_ms (10 s) before SIGKILL.
STOPSIGNAL SIGTERM
ENTRYPOINT ["vendfleet"]
CMD ["serve"]
