# How the peers that come with a tool chain of their own are built. Sourced by bench/run, which has set `root`, the top
# of the repository, and `build`, where it builds. Each build_PEER leaves a program $build/peers/handoff_bench_PEER; what
# is needed for it is told by PEER_missing, which prints nothing if all is there.
# shellcheck shell=bash disable=SC2154 # root and build

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
