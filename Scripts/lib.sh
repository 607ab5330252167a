# Sourced by the other scripts: where things are, how to say something, how to use the unpacked programs.
# After `. lib.sh`: $top, the checkout; $build, everything that is made.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$top/.build
library=$build/lib/libsluice.so
programs=$build/programs
servers=$build/servers

# What the demo, the tests and the benchmarks run, by package and by file.
program_packages=(redis-server redis-tools nginx wrk apache2-utils)
program_files=(usr/bin/redis-server usr/bin/redis-cli usr/bin/redis-benchmark usr/sbin/nginx usr/bin/wrk usr/bin/ab)
# What Tests/Servers runs beside those.
server_packages=(redis-server redis-tools nginx memcached haproxy postgresql-15 postgresql-client-15 openssl iperf3 openssh-server
    openssh-client openssh-sftp-server rsync socat netcat-openbsd netcat-traditional ucspi-tcp xinetd)
server_files=(usr/bin/redis-server usr/bin/redis-check-aof usr/sbin/nginx usr/bin/memcached usr/sbin/haproxy
    usr/lib/postgresql/15/bin/postgres usr/lib/postgresql/15/bin/pgbench usr/bin/openssl usr/bin/iperf3 usr/sbin/sshd usr/bin/ssh
    usr/lib/openssh/sftp-server usr/bin/rsync usr/bin/socat bin/nc.openbsd bin/nc.traditional usr/bin/tcpserver usr/sbin/xinetd)

say() { printf '%s\n' "$*"; }
# The one missing thing, on one line.
missing() { printf '%s: missing: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Puts the unpacked programs, of demo and tests or of a FOLDER, and their libraries in reach.
use_programs() {
    local folder=${1-$programs} directory
    PATH=$folder/usr/bin:$folder/usr/sbin:$folder/bin:$PATH
    for directory in "$folder"/usr/lib/*-linux-gnu "$folder"/lib/*-linux-gnu; do
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
