# The sidecar: the binary alone on an empty base, with CA certificates and time zones. Everything else stays outside.
#
#   docker build --tag setpoint .
#   docker run --read-only --cap-drop ALL --volume "$PWD/setpoint.toml:/etc/setpoint/setpoint.toml:ro" setpoint

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates tzdata
WORKDIR /source
COPY . .
# Static, because an empty base has no C library. Only the last link differs: every dependency is built as ever.
RUN cargo rustc --release --locked --bin setpoint -- -C target-feature=+crt-static

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=build /source/target/release/setpoint /setpoint
# A number, so that an orchestrator can see without a user database that this is not root.
USER 65532:65532
ENTRYPOINT ["/setpoint"]
CMD ["run", "--config", "/etc/setpoint/setpoint.toml"]
