# Sourced by run.sh: QUIC by a Python library, with a server and a client of our own. Every byte comes back, with its checksum;
# QUIC itself makes up for datagrams that are lost.

prepare_quic() {
    [ -z "${quic_python-}" ] || return 0
    "$top/Scripts/setup" --quic || return 1
    quic_python=(env "PYTHONPATH=$quic" "LD_LIBRARY_PATH=$(use_programs; say "$LD_LIBRARY_PATH")" "$programs/usr/bin/python3.11" -B)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 -keyout "$work/quic.key" -out "$work/quic.cert" 2> "$work/error"
}

# The client's socket is of IPv6, also to a server of IPv4.
quic_case() {
    prepare_quic || { not_ok "quic, $1" "no library, or no certificate" "$(tail -n 5 "$work/error")"; return; }
    quic_exchange "$1" 127.0.0.1 2 5 500000
    if [ "$1" = both ]; then
        quic_exchange "$1" ::1 1 3 300000
        quic_exchange "$1" 127.0.0.1 2 4 200000 SLUICE_CHAOS=5
    fi
    [ "${SLUICE_TEST_ALL:-0}" -ne 0 ] || return 0
    quic_exchange "$1" 127.0.0.1 20 5 500000
    quic_exchange "$1" :: 2 5 1000000
}

# quic_exchange PLACEMENT HOST CONNECTIONS STREAMS BYTES [VARIABLE=VALUE]: a server of all addresses is asked by IPv4.
quic_exchange() {
    local port lane=$1 name="quic, $2, $3 connections with $4 streams of $5 bytes${6:+, $6}, $1" to=${2/#::/127.0.0.1}
    [ "$2" != ::1 ] || to=::1
    port=$(free_port)
    start_server quic "bound $port" env "${6:-LC_ALL=C}" "${server[@]}" "${quic_python[@]}" "$here/quic_serve.py" "$2" "$port" "$work/quic.cert" "$work/quic.key" ||
        { not_ok "$name" "did not start"; return; }
    # In chaos mode few datagrams go by a ring, if any.
    [ -z "${6-}" ] || lane=any
    held_client "$name" "$lane" "$port" "verified $(($3 * $4 * $5))" env "${6:-LC_ALL=C}" "${client[@]}" "${quic_python[@]}" \
        "$here/quic_load.py" "$to" "$port" "$work/quic.cert" "$3" "$4" "$5"
    stop_servers
}
