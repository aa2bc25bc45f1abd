#!/usr/bin/env bash
# Removes the cluster that up.sh made. The image penstock:kind stays.
set -euo pipefail
command -v kind >/dev/null || { echo "kind is missing: install it and put it on the PATH" >&2; exit 1; }
kind delete cluster --name "${KIND_CLUSTER:-penstock}"
