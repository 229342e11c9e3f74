#!/usr/bin/env bash
# Checks what is deployed from, without a container engine: `make deploy-check`.
#
#   lint      the compose files against the schema of the Compose specification, the Dockerfile by hadolint, the Kubernetes
#             manifests against the schemas of Kubernetes and KEDA; images pinned, variables explained; alerts by promtool,
#             where it is installed
#   images    (root, debootstrap) every step of the Dockerfile executed, stage after stage, in a Debian root file system
#   services  (root) the images' processes run as docker-compose.yml says, and used: a key, a picture, a search, a backup;
#             then with the replica and the pooler of deploy/compose/
#
# Without arguments all three. CHECK_CACHE keeps root file systems between runs (default: /var/cache/umbel-deploy).
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
cache=${CHECK_CACHE:-/var/cache/umbel-deploy}
steps=("$@")
[ $# -gt 0 ] || steps=(lint images services)

lint() {
  .venv/bin/hadolint deploy/Dockerfile
  .venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml deploy/compose/*.yml
  for script in deploy/postgres/*.sh; do sh -n "$script"; done
  if command -v promtool > /dev/null; then # Debian's package prometheus
    promtool check rules deploy/prometheus/alerts.yml
    promtool check config --syntax-only deploy/prometheus/prometheus.yml
  fi
  $python deploy/check/manifests.py
}

images() {
  [ "$(id -u)" = 0 ] || { echo "images: needs root, for chroot"; exit 1; }
  command -v debootstrap > /dev/null || { echo "images: needs debootstrap"; exit 1; }
  mkdir -p "$cache"
  $python deploy/check/images.py "$cache"
}

services() {
  [ "$(id -u)" = 0 ] || { echo "services: needs root, for network namespaces"; exit 1; }
  unshare --net --mount --propagation private $python deploy/check/services.py "$cache"
}

for step in "${steps[@]}"; do
  echo "== $step"
  "$step"
done
