# Penstock's image: its programs, and of Debian the C library, nft, iptables and the certificate authorities. No shell.
#
#   docker build -t REGISTRY/penstock:0.1.0 . && docker push REGISTRY/penstock:0.1.0
#   helm install penstock charts/penstock --set image.repository=REGISTRY/penstock …

FROM rust:1.90-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bins -p penstock-operator -p penstock-announcer -p penstock-node -p penstock-dns

# Packages as apt resolves them where nothing is installed, unpacked without their scripts.
FROM debian:bookworm-slim AS root
WORKDIR /apt
RUN <<END
set -eu
apt-get update
mkdir -p archives/partial /root-fs /ca
: > status
apt-get -oDir::State::status=/apt/status -oDir::Cache=/apt -oAPT::Sandbox::User=root \
    --yes --download-only --no-install-recommends install libc6 nftables iptables
apt-get -oAPT::Sandbox::User=root download ca-certificates
for package in archives/*.deb; do dpkg-deb --extract "$package" /root-fs; done
dpkg-deb --extract ca-certificates_*.deb /ca
cd /root-fs
rm -rf usr/lib/*/gconv usr/share/man usr/share/lintian
find usr/share/doc -type f ! -name copyright -delete
mkdir -p dev proc sys run tmp etc bin root etc/ssl/certs usr/local/bin
cat /ca/usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
cat > etc/passwd <<PASSWD
root:x:0:0:root:/root:/usr/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/usr/sbin/nologin
PASSWD
cat > etc/group <<GROUP
root:x:0:
nonroot:x:65532:
GROUP
END
COPY --from=build /src/target/release/penstock-operator /src/target/release/penstock-announcer \
     /src/target/release/penstock-node /src/target/release/penstock-dns /root-fs/usr/local/bin/

FROM scratch
COPY --from=root /root-fs /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# The chart's Pods name the program that they run, and as whom.
