#!/bin/sh
# Go code of the protos, into gen/; the protos themselves name no Go package.
# usage: generate.sh [PROTO_FOLDER]
set -eu
cd "$(dirname "$0")"
protos="${1:-../../proto}"
map() { printf '%s' "--go_opt=Mechora/$1=example.org/publish/gen/$2"; }
PATH="$PWD/bin:$PATH" protoc -I "$protos" --go_out=. --go_opt=module=example.org/publish \
    "$(map catalog/v1/catalog.proto catalog)" "$(map events/v1/events.proto events)" \
    echora/catalog/v1/catalog.proto echora/events/v1/events.proto
