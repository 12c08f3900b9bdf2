# How the peers that have a program of their own are built. Sourced by bench/run, which has set `root`, the top of the
# repository, `build`, the directory in which it builds, and CXX. PEER_missing prints what PEER needs and this machine
# lacks, nothing if all is there. build_PEER leaves the program $build/peers/handoff_bench_PEER. No tool chain is
# fetched. The peers in peers/threads need nothing here: they are part of handoff_bench.
# shellcheck shell=bash disable=SC2154 # root, build and CXX

# ---- Go: no module is fetched.

go_missing() { command -v go >/dev/null || echo "there is no go command"; }

# A second program, with cgo, is for the look-up of names alone: with cgo Go would start its threads in another way.
build_go() (
    program=$build/peers/handoff_bench_go
    cd "$root/bench/peers/go" || exit
    export GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=readonly
    CGO_ENABLED=0 go build -o "$program" . || exit
    CGO_ENABLED=1 go build -o "${program}_cgo" . || rm -f "${program}_cgo"
)

# ---- Boost.Fiber: Boost is looked for where the compiler finds it.

has_header() {
    # shellcheck disable=SC2086
    $CXX -x c++ -fsyntax-only -include "$1" /dev/null 2>/dev/null
}

boost_fiber_missing() {
    has_header boost/fiber/all.hpp || echo "there is no <boost/fiber/all.hpp> (libboost-fiber-dev in Debian)"
}

build_boost_fiber() {
    # shellcheck disable=SC2086 # both may hold words
    $CXX ${CXXFLAGS:-} -std=c++20 -O2 -g -DNDEBUG "$root"/bench/peers/boost_fiber/*.cpp \
        -o "$build/peers/handoff_bench_boost_fiber" -lboost_fiber -lboost_context -pthread
}

# ---- Tokio: cargo fetches the crates that its lock file names, if it hasn't got them.

tokio_missing() { command -v cargo >/dev/null || echo "there is no cargo command"; }

build_tokio() (
    cd "$root/bench/peers/tokio" || exit
    unset CARGO_TARGET_DIR CARGO_BUILD_TARGET RUSTFLAGS
    cargo build --release --locked --target-dir "$build/peers/tokio" &&
        ln -sf tokio/release/handoff_bench_tokio "$build/peers/handoff_bench_tokio"
)

# ---- Java: virtual threads are there from 21 on, the foreign function interface from 22 on.

oldest_jdk=22

# jdk_version HOME: the first number of its version, as its javac tells it; nothing if it has none.
jdk_version() {
    [[ -x $1/bin/javac && -x $1/bin/java ]] || return 0
    "$1/bin/javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p'
}

# jdk_home: where a JDK is that is new enough: the one that JAVA_HOME says, that of the java on PATH, else the newest in
# the place where Linux distributions put them. Prints nothing if there is none.
jdk_home() {
    local home version on_path best='' best_version=$((oldest_jdk - 1))
    on_path=$(readlink -f "$(command -v javac)" 2>/dev/null) || on_path=
    for home in "${JAVA_HOME:-}" "${on_path%/bin/javac}"; do
        [[ -n $home ]] || continue
        version=$(jdk_version "$home")
        if ((${version:-0} >= oldest_jdk)); then
            printf '%s\n' "$home"
            return
        fi
    done
    for home in /usr/lib/jvm/*; do
        version=$(jdk_version "$home")
        if ((${version:-0} > best_version)); then
            best=$home best_version=$version
        fi
    done
    [[ -z $best ]] || printf "%s\n" "$best"
}

java_missing() { [[ -n $(jdk_home) ]] || echo "there is no JDK >= $oldest_jdk in JAVA_HOME, PATH or /usr/lib/jvm"; }

build_java() {
    local home classes=$build/peers/java program=$build/peers/handoff_bench_java
    home=$(jdk_home)
    rm -rf "$classes" && mkdir -p "$classes" &&
        "$home/bin/javac" --release "$(jdk_version "$home")" -nowarn -d "$classes" "$root"/bench/peers/java/*.java &&
        {
            # What would tune the virtual machine has no place here.
            printf '#!/bin/sh\nunset JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS\n'
            printf 'exec %q --enable-native-access=ALL-UNNAMED -cp %q Main "$@"\n' "$home/bin/java" "$classes"
        } >"$program" && chmod +x "$program"
}
