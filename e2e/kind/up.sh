#!/usr/bin/env bash
# Brings Penstock up on kind: the image by the Dockerfile, the chart, the demo's pool and Services. May be run again.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
cluster=${KIND_CLUSTER:-penstock}
image=penstock:kind

for program in docker kind kubectl helm; do
    command -v "$program" >/dev/null || { echo "$program is missing: install it and put it on the PATH" >&2; exit 1; }
done
docker info >/dev/null 2>&1 || { echo "no Docker daemon answers: start it, or set DOCKER_HOST" >&2; exit 1; }

echo "=== build the image"
docker build --tag "$image" "$root"

echo "=== bring up the cluster $cluster"
kind get clusters | grep -qx "$cluster" || kind create cluster --name "$cluster" --config kind.yaml
kind load docker-image --name "$cluster" "$image"
kubectl() { command kubectl --context "kind-$cluster" "$@"; }

echo "=== install the chart"
# The nodes reach the API server by this address before any rule of ours stands.
control_plane=$(docker inspect --format '{{.NetworkSettings.Networks.kind.IPAddress}}' "$cluster-control-plane")
helm upgrade --install penstock "$root/charts/penstock" --kube-context "kind-$cluster" \
    --namespace penstock-system --create-namespace --wait \
    --values "$root/charts/penstock/examples/values-replace-kube-proxy.yaml" \
    --set image.repository=docker.io/library/penstock,image.tag=kind,apiServer.host="$control_plane"
helm test penstock --kube-context "kind-$cluster" --namespace penstock-system

echo "=== addresses of Docker's network, and the demo's Services"
subnet=$(docker network inspect kind --format '{{range .IPAM.Config}}{{println .Subnet}}{{end}}' | grep -v : | head -n 1 || true)
range=$(./pool-range.sh "$subnet")
sed -e "s/203\.0\.113\.200-203\.0\.113\.239/$range/" -e '/2001:db8:113::200/d' \
    "$root/e2e/manifests/penstock/pool.yaml" | kubectl apply -f -
for manifest in mynginx load-balancer node-port external-ips; do
    kubectl apply -f "$root/e2e/manifests/seed/$manifest.yaml"
done
kubectl rollout status deployment/mynginx --timeout 5m
kubectl wait --for 'jsonpath={.status.loadBalancer.ingress[0].ip}' service/load-balancer --timeout 1m
kubectl get svc

address=$(kubectl get service load-balancer -o 'jsonpath={.status.loadBalancer.ingress[0].ip}')
echo "=== ask it, as a client on Docker's network"
docker run --rm --network kind curlimages/curl --silent --show-error --fail --max-time 10 --retry 5 --retry-all-errors "http://$address/"
echo "It answered. From this machine (on Linux): curl http://$address/   Take it down: e2e/kind/down.sh"
