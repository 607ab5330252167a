# Sourced by the other scripts: where things are, how to say something, how to use the unpacked programs.
# After `. lib.sh`: $top, the checkout; $build, everything that is made.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$top/.build
library=$build/lib/libsluice.so
programs=$build/programs
servers=$build/servers

# What the demo, the tests and the benchmarks run, by package and by file.
bench_packages=(redis-server redis-tools nginx wrk apache2-utils)
# Of those of Tests/Servers the ones that the benchmarks run too.
bench_servers=(memcached postgresql-15 iperf3 dnsmasq-base dnsperf sockperf)
program_packages=("${bench_packages[@]}")
program_files=(usr/bin/redis-server usr/bin/redis-cli usr/bin/redis-benchmark usr/sbin/nginx usr/bin/wrk usr/bin/ab)
# Python's own tests, and all of the Python that they belong to.
program_packages+=(python3.11 python3.11-minimal libpython3.11-stdlib libpython3.11-minimal libpython3.11-testsuite)
program_files+=(usr/bin/python3.11)

# The languages of Tests/Runtimes, and what is preloaded there; see also `Scripts/setup --runtimes`.
runtimes=$build/runtimes
runtime_packages=(golang-1.19-go golang-1.19-src ruby3.1 libruby3.1 php8.2-cli libjemalloc2 libmimalloc2.0 liburing2 liburing-dev)
runtime_files=(usr/lib/go-1.19/bin/go usr/bin/ruby3.1 usr/bin/php8.2)
jdk_home=usr/lib/jvm/java-17-openjdk-$(dpkg --print-architecture 2> /dev/null || echo amd64)
host_has_node() { [ -n "$(type -P node)" ]; }
host_has_jdk() { [ -n "$(type -P javac)" ] && [[ $(java -version 2>&1) =~ version\ \"(1[7-9]|[2-9][0-9]) ]]; }
# What Tests/Servers runs beside those.
server_packages=(redis-server redis-tools nginx memcached haproxy postgresql-15 postgresql-client-15 openssl iperf3 openssh-server
    openssh-client openssh-sftp-server rsync socat netcat-openbsd netcat-traditional ucspi-tcp xinetd dnsmasq-base dnsperf sockperf
    bind9-dnsutils chrony python3-pip-whl)
server_files=(usr/bin/redis-server usr/bin/redis-check-aof usr/sbin/nginx usr/bin/memcached usr/sbin/haproxy
    usr/lib/postgresql/15/bin/postgres usr/lib/postgresql/15/bin/pgbench usr/bin/openssl usr/bin/iperf3 usr/sbin/sshd usr/bin/ssh
    usr/lib/openssh/sftp-server usr/bin/rsync usr/bin/socat bin/nc.openbsd bin/nc.traditional usr/bin/tcpserver usr/sbin/xinetd
    usr/sbin/dnsmasq usr/bin/dnsperf usr/bin/sockperf usr/bin/dig usr/sbin/chronyd usr/bin/chronyc)
# A QUIC library and what it needs, from PyPI, for the Python of Debian that is unpacked with the programs.
quic=$build/quic
quic_packages=(aioquic==1.7.2 attrs==26.1.0 certifi==2026.10.18 cffi==2.1.1 cryptography==50.0.2 pycparser==3.12 pylsqpack==1.0.0
    pyopenssl==26.4.0 service-identity==26.1.0 typing-extensions==4.16.0)

say() { printf '%s\n' "$*"; }
# `--help` of a script is the comment at its head; the benchmark has its own.
case ${0##*/}${1-} in
    bench*) ;;
    *-h|*--help) sed -n '2,/^[^#]/ { /^#/!d; s/^# \{0,1\}//p }' -- "$0"; exit 0 ;;
esac
# The one missing thing, on one line.
missing() { printf '%s: missing: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Puts the unpacked programs, of demo and tests or of a FOLDER, and their libraries in reach.
use_programs() { use_unpacked "${1-$programs}"; }
use_runtimes() {
    use_unpacked "$runtimes"
    PATH=$runtimes/usr/lib/go-1.19/bin:$PATH
    [ ! -e "$runtimes/$jdk_home/bin/java" ] || PATH=$runtimes/$jdk_home/bin:$PATH
}
use_unpacked() {
    local directory
    PATH=$1/usr/bin:$1/usr/sbin:$1/bin:$PATH
    for directory in "$1"/usr/lib/*-linux-gnu "$1"/lib/*-linux-gnu; do
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
