# What the scripts of this repository share: finding and installing what they need, configuring, building.
# Sourced by bash scripts that have `set -euo pipefail`; sets `root` and CXX.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${CXX:=g++}"
export CXX
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# usage_error MESSAGE: for a wrong command line.
usage_error() {
    printf '%s: %s\nTry %s --help\n' "${0##*/}" "$*" "$0" >&2
    exit 2
}

# ---- What must be there --------------------------------------------------------------------------------------------

# Thing, what shows that it is there (a command, or a header for the compiler), and its package in Debian and Ubuntu,
# in Fedora, and in Arch.
things='
compiler   g++                         g++                   gcc-c++                 gcc
clang      clang++                     clang                 clang                   clang
clang-tidy clang-tidy                  clang-tidy            clang-tools-extra       clang
valgrind   valgrind                    valgrind              valgrind                valgrind
libfuzzer  <fuzzer/FuzzedDataProvider.h>  libclang-rt-dev       compiler-rt             compiler-rt
cmake      cmake                       cmake                 cmake                   cmake
ninja      ninja                       ninja-build           ninja-build             ninja
pkg-config pkg-config                  pkg-config            pkgconf-pkg-config      pkgconf
boost      <boost/context/fiber.hpp>   libboost-context-dev  boost-devel             boost
gtest      <gtest/gtest.h>             libgtest-dev          gtest-devel             gtest
openssl    <openssl/evp.h>             libssl-dev            openssl-devel           openssl
sqlite     <sqlite3.h>                 libsqlite3-dev        sqlite-devel            sqlite
libgit2    <git2.h>                    libgit2-dev           libgit2-devel           libgit2
benchmark  <benchmark/benchmark.h>     libbenchmark-dev      google-benchmark-devel  benchmark
boost_fiber <boost/fiber/all.hpp>      libboost-fiber-dev    boost-devel             boost
asio       <boost/asio.hpp>            libboost-dev          boost-devel             boost
spin       spin                        spin                  spin                     spin
gcovr      gcovr                       gcovr                 gcovr                   gcovr
'

is_debian() (
    [[ -r /etc/os-release ]] && . /etc/os-release && [[ " ${ID:-} ${ID_LIKE:-} " =~ " "(debian|ubuntu)" " ]] &&
        command -v dpkg >/dev/null && command -v apt-get >/dev/null
)

# is_there PROOF DEBIAN-PACKAGE
is_there() {
    if [[ $1 != "<"* ]]; then
        command -v "$1" >/dev/null
    elif is_debian; then
        # Not the header: Debian has Boost's headers and its libraries in different packages.
        # Of this architecture: those of others may be beside it.
        local states
        states=$(dpkg-query -W -f='${db:Status-Status} ${Architecture}\n' "$2" 2>/dev/null) || return 1
        grep -Eqx "installed (all|$(dpkg --print-architecture))" <<<"$states"
    else
        local header=${1#<}
        # shellcheck disable=SC2086 # CXX may hold words, as in "ccache g++"
        $CXX -x c++ -fsyntax-only -include "${header%>}" /dev/null 2>/dev/null
    fi
}

# need THING...: installs what is missing, where there is apt-get; elsewhere says what to install.
need() {
    local thing proof debian fedora arch
    local -a missing_debian=() missing_fedora=() missing_arch=()
    while read -r thing proof debian fedora arch; do
        [[ -n $thing && " $* " == *" $thing "* ]] || continue
        if [[ $thing == compiler && $CXX != g++ ]]; then
            command -v "${CXX%% *}" >/dev/null || die "the compiler CXX=$CXX was not found"
            continue
        fi
        is_there "$proof" "$debian" && continue
        missing_debian+=("$debian")
        missing_fedora+=("$fedora")
        missing_arch+=("$arch")
    done <<<"$things"
    ((${#missing_debian[@]})) || return 0

    if ! is_debian; then
        die "some packages are missing. Install
    ${missing_fedora[*]}   (as Fedora calls them)
    ${missing_arch[*]}   (as Arch calls them)
    ${missing_debian[*]}   (as Debian calls them)
and start again."
    fi
    local -a apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "some packages are missing. Let root run: apt-get install ${missing_debian[*]}"
        apt=(sudo "${apt[@]}")
    fi
    echo "== installing ${missing_debian[*]}"
    "${apt[@]}" update -q || echo "${0##*/}: apt-get update failed; trying with the lists that are there" >&2
    "${apt[@]}" install -q -y --no-install-recommends "${missing_debian[@]}" ||
        die "apt-get could not install ${missing_debian[*]}"
}

# ---- Building ------------------------------------------------------------------------------------------------------

# cached DIR VARIABLE: its value in a build directory, if there is one.
cached() {
    [[ ! -e $1/CMakeCache.txt ]] || sed -n "s/^$2:[A-Z]*=//p" "$1/CMakeCache.txt"
}

# configure DIR OPTION...: afresh if DIR was configured for another compiler, generator or source directory, all of
# which CMake does not change in place. Configurations that were given no build type get the project's own default.
configure() {
    local dir=$1
    shift
    local compiler
    compiler=$(command -v "${CXX%% *}") || die "the compiler CXX=$CXX was not found"
    if [[ -e $dir/CMakeCache.txt ]] &&
        { [[ $(cached "$dir" CMAKE_CXX_COMPILER) != "$compiler" ]] ||
            [[ $(cached "$dir" CMAKE_GENERATOR) != Ninja ]] ||
            [[ $(cached "$dir" CMAKE_HOME_DIRECTORY) != "$root" ]]; }; then
        rm -rf "$dir/CMakeCache.txt" "$dir/CMakeFiles"
    fi
    cmake -S "$root" -B "$dir" -G Ninja -DCMAKE_BUILD_TYPE= "$@"
}
