# Sourced by the other scripts: where things are, how to say something, how to use the unpacked programs.
# After `. lib.sh`: $top, the checkout; $build, everything that is made.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$top/.build
library=$build/lib/libsluice.so
programs=$build/programs

# What the demo, the tests and the benchmarks run, by package and by file.
program_packages=(redis-server redis-tools nginx wrk apache2-utils)
program_files=(usr/bin/redis-server usr/bin/redis-cli usr/bin/redis-benchmark usr/sbin/nginx usr/bin/wrk usr/bin/ab)
# Python's own tests, and all of the Python that they belong to.
program_packages+=(python3.11 python3.11-minimal libpython3.11-stdlib libpython3.11-minimal libpython3.11-testsuite)
program_files+=(usr/bin/python3.11)

say() { printf '%s\n' "$*"; }
# The one missing thing, on one line.
missing() { printf '%s: missing: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Puts the unpacked programs and their libraries in reach.
use_programs() {
    local directory
    PATH=$programs/usr/bin:$programs/usr/sbin:$PATH
    for directory in "$programs"/usr/lib/*-linux-gnu "$programs"/lib/*-linux-gnu; do
        [ -d "$directory" ] || continue
        LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$directory
    done
    export PATH LD_LIBRARY_PATH
}

# Runs a command and shows its output only when it fails.
quietly() {
    local output
    if ! output=$("$@" 2>&1); then
        printf '%s\n' "$output" >&2
        return 1
    fi
}
