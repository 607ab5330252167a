# Sourced by run.sh: PostgreSQL with pgbench and psql. The server refuses to run as root, and so runs as nobody there.

# as UID COMMAND...
as() {
    local uid=$1
    shift
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"; else "$@"; fi
}

# In an array, so that a server in the background is the started process itself.
prepare_postgres() {
    postgres=$others/.build/servers/usr/lib/postgresql/15/bin
    sluice_of_others=$others/Scripts/sluice
    as_server=()
    [ "$(id -u)" -ne 0 ] || as_server=(setpriv --reuid "$nobody" --regid "$nobody" --clear-groups --)
    [ ! -e "$work/pg" ] || return 0
    mkdir "$work/pg"
    [ "$(id -u)" -ne 0 ] || chown "$nobody:$nobody" "$work/pg"
    "${as_server[@]}" "$postgres/initdb" -D "$work/pg/data" -U bench -A trust --no-sync --locale=C > "$work/initdb" 2>&1 ||
        { not_ok "initdb" "$(tail -n 5 "$work/initdb")"; return 1; }
    printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = ''" 'fsync = off' 'jit = off' 'shared_buffers = 32MB' |
        "${as_server[@]}" tee -a "$work/pg/data/postgresql.conf" > /dev/null
}

# start_postgres PORT [LAUNCHER...]
start_postgres() {
    local port=$1
    shift
    start_server postgres "$postgres/pg_isready -h 127.0.0.1 -p $port" "${as_server[@]}" "$@" "$postgres/postgres" -D "$work/pg/data" -p "$port"
}

# One number for the whole of pgbench's own rule: the sums of all balances and of the history are the same.
balances="select 'sums', (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)
    and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)
    and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history), (select count(*) from pgbench_history)"

postgres_case() {
    local port launch_server=() launch_client=() user
    prepare_postgres || return
    port=$(free_port)
    [ ${#server[@]} -eq 0 ] || launch_server=("$sluice_of_others")
    [ ${#client[@]} -eq 0 ] || launch_client=("$sluice_of_others")
    start_postgres "$port" "${launch_server[@]}" || { not_ok "postgres, $1" "did not start"; return; }
    user=("${as_server[@]}" "${launch_client[@]}")
    local to=(-h 127.0.0.1 -p "$port" -U bench) 
    expect "pgbench: made, $1" 0 'done in' "${user[@]}" "$postgres/pgbench" -i -q -s 1 "${to[@]}" postgres
    expect "pgbench: reads and writes, $1" 0 'processed: 2000/2000' "${user[@]}" "$postgres/pgbench" -n -c 4 -j 2 -t 500 "${to[@]}" postgres
    expect "pgbench: reads, prepared, $1" 0 'processed: 8000/8000' "${user[@]}" "$postgres/pgbench" -n -S -M prepared -c 8 -j 2 -t 1000 "${to[@]}" postgres
    expect "pgbench: in a pipeline, $1" 0 'processed: 400/400' "${user[@]}" "$postgres/pgbench" -n -M extended -c 2 -t 200 -f "$others/Tests/Servers/pipeline.sql" "${to[@]}" postgres
    expect "pgbench: its sums, $1" 0 'sums\|t\|2000' "${user[@]}" "$postgres/psql" -At "${to[@]}" -c "$balances" postgres
    base64 -w 76 "$content/8388608" > "$work/table"
    "${user[@]}" "$postgres/psql" -q "${to[@]}" -c 'drop table if exists t; create table t (n serial, line text)' postgres > "$work/error" 2>&1
    expect "psql: copy in, $1" 0 '!ERROR' bash -c '"${@:2}" < "$1"' copy "$work/table" "${user[@]}" "$postgres/psql" -q "${to[@]}" -c 'copy t (line) from stdin' postgres
    same "psql: copy out, $1" "$work/table" "${user[@]}" "$postgres/psql" -q "${to[@]}" -c 'copy (select line from t order by n) to stdout' postgres
    converse "psql, $1" "$1" "$port" "${user[@]}" "$postgres/psql" -qAt "${to[@]}" postgres
    stop_servers
    # A run under a filter belongs to another user, and has a filter for these of its own.
    [ "$1" = both ] && [ -z "${SLUICE_TEST_FILTER-}" ] || return 0
    if [ "$(id -u)" -eq 0 ]; then other_users; else skip "postgres and pgbench of two users" "needs root"; fi
}

# converse NAME LANE PORT PSQL...: a session of some statements; LANE as check_lane has it.
converse() {
    answer() { local number=${1#select }; say "${number%;}"; }
    talk 'select $i;' 40 "$@"
}

# The server and its client are different users: with the consent of both by ring, else by the kernel, and the end says why.
other_users() {
    local other=65532 launch=("$sluice_of_others") filtered=("$work/filter" container "$sluice_of_others")
    local consents_to_other=(env EF_SHARE_WITH="$other" "${launch[@]}") consents_to_server=(env EF_SHARE_WITH="$nobody" "${launch[@]}")
    as_other=(setpriv --reuid "$other" --regid "$other" --clear-groups --)
    from=("${consents_to_other[@]}") to=("${consents_to_server[@]}"); across 'both consent' both
    from=("${launch[@]}") to=("${consents_to_server[@]}"); across 'only the client consents' client consent
    from=("${launch[@]}" -p local-trust) to=("${launch[@]}" -p local-trust); across 'profile local-trust' both
    from=(env EF_SHARE_WITH="$other" "${filtered[@]}") to=(env EF_SHARE_WITH="$nobody" "${filtered[@]}"); across 'both consent, under filters' both
    [ "${SLUICE_TEST_ALL:-0}" -ne 0 ] || return 0
    from=("${consents_to_other[@]}") to=("${launch[@]}"); across 'only the server consents' server consent
    to=(); across 'server consents, plain client' server plain_peer
    from=() to=("${consents_to_server[@]}"); across 'plain server, client consents' client plain_peer
}

# across NAME LANE [REASON]: a server and a client of two users, started by `from` and `to`.
across() {
    local name="other user, $1" lane=$2 look_for=${3-} port user where pid
    port=$(free_port)
    where=(-h 127.0.0.1 -p "$port" -U bench)
    user=("${as_other[@]}" "${to[@]}")
    start_postgres "$port" "${from[@]}" || { not_ok "postgres, $name" "did not start"; return; }
    "${user[@]}" "$postgres/pgbench" -n -c 4 -j 2 -t 1000000 "${where[@]}" postgres > "$work/error" 2>&1 < /dev/null &
    pid=$!
    carried "pgbench, $name" "$lane" "$port" 10000 "$([ "$lane" = both ] && echo 8 || echo 4)"
    if [ -n "$look_for" ]; then
        wait_until 20 has_reason "$port" "$look_for"
        reason_is "pgbench, $name" "$port" "$look_for"
    fi
    kill "$pid"
    wait "$pid" 2> /dev/null
    expect "pgbench: its sums, $name" 0 'sums\|t\|' "${user[@]}" "$postgres/psql" -At "${where[@]}" -c "$balances" postgres
    same "psql: copy out, $name" "$work/table" "${user[@]}" "$postgres/psql" -q "${where[@]}" -c 'copy (select line from t order by n) to stdout' postgres
    converse "psql, $name" "$lane" "$port" "${user[@]}" "$postgres/psql" -qAt "${where[@]}" postgres
    stop_servers
}
