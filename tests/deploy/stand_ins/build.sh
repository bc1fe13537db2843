#!/bin/sh
# Make stand-ins for the public images that docker-compose.yml and pytest-celery use, where no image registry
# can be reached: a Debian 12 by debootstrap, and Redis, RabbitMQ and Python from its packages. They bear the
# public images' names, so nothing else has to know. RabbitMQ is Debian's 3.10, Python its 3.11.
#
#   sudo tests/deploy/stand_ins/build.sh        needs: docker.io, debootstrap; a minute or two and 1.5 GB
#
# What PIP_CERT and PIP_INDEX_URL say on this machine goes into the stand-in for Python.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
base=debian:bookworm-slim
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say() { printf 'stand-ins: %s\n' "$*" >&2; }

if ! docker image inspect "$base" >/dev/null 2>&1; then
    say "$base, with debootstrap"
    debootstrap --variant=minbase bookworm "$work/debian" >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
    rm -rf "$work/debian/var/cache/apt/archives" "$work/debian/var/lib/apt/lists"
    tar -C "$work/debian" -c . | docker import - "$base" >/dev/null
fi

# build FOLDER NAME…
build() {
    folder=$1
    shift
    say "$*"
    tags=""
    for name in "$@"; do tags="$tags --tag $name"; done
    # shellcheck disable=SC2086  # a word for each
    docker build --quiet --network host $tags "$folder" >/dev/null
}

build "$here/redis" redis:7-alpine redis:latest
build "$here/rabbitmq" rabbitmq:4-management rabbitmq:latest
cp -r "$here/python" "$work/python"
cp "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$work/python/certificates.crt"
{
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n'
    [ -z "${PIP_INDEX_URL:-}" ] || printf 'index-url = %s\n' "$PIP_INDEX_URL"
} >"$work/python/pip.conf"
build "$work/python" python:3.13-slim
