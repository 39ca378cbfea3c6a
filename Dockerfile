# The binary and nothing else that it does not need. Build: docker build -t spirit-beads .
# Run: docker run -p 8000:8000 --env-file .env spirit-beads   (the settings: .env.example)

FROM rust:1.95-bookworm AS build
WORKDIR /src
# Dependencies and our own crates first: they change seldom, and this layer is kept.
COPY Cargo.toml Cargo.lock build.rs ./
COPY crates crates
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
COPY src src
COPY migrations migrations
RUN touch src/main.rs src/lib.rs && cargo build --release --locked

FROM debian:bookworm-slim
# The certificates by which a bucket's are checked.
RUN apt-get update -q && apt-get install -qy --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /var/lib/spirit-beads --create-home spirit-beads
COPY --from=build /src/target/release/spirit-beads /usr/local/bin/spirit-beads
USER spirit-beads
WORKDIR /var/lib/spirit-beads
ENV APP_ENV=production BIND_ADDR=0.0.0.0:8000 DATA_DIR=/var/lib/spirit-beads/data
# Buffers of images go back to the system when they are done with; unset, glibc keeps some for each of its arenas.
ENV MALLOC_MMAP_THRESHOLD_=262144 MALLOC_ARENA_MAX=2
VOLUME /var/lib/spirit-beads
EXPOSE 8000
# A graceful stop answers what is in flight; give it its 20 seconds.
STOPSIGNAL SIGTERM
# Of a container that serves; one with the command `worker` listens nowhere: start that with --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["spirit-beads", "health"]
ENTRYPOINT ["spirit-beads"]
CMD ["serve"]
