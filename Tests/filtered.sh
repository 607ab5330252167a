# Sourced after placements.sh: both ends as an unprivileged user under a filter of system calls, as in a container or under a
# service manager. The caller has made $work.
others=$work/others other=() filter_kinds=(container) filter_placements=(both)
if [ "${SLUICE_TEST_ALL:-0}" -ne 0 ]; then filter_kinds=(container service) filter_placements=(both server client); fi
if [ "$(id -u)" -eq 0 ]; then other=(setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --); fi

# open_to_others FILE...: what that user is to read or run, and it alone, stands in $others.
open_to_others() {
    mkdir -p "$others"
    cp -r -- "$@" "$others/" && chmod 755 "$work" && chmod -R a+rX "$others"
}

prepare_filtered() {
    gcc -O1 -Wall -o "$work/filter" "$top/Tests/Servers/Filter.c" && open_to_others "$work/filter" "$library"
}

# place_filtered KIND PLACEMENT: as `place`; an end that is not under Sluice is under the filter too.
place_filtered() {
    local plain=("${other[@]}" "$others/filter" "$1")
    server=("${plain[@]}") client=("${plain[@]}")
    case $2 in both|server) server+=(env "LD_PRELOAD=$others/${library##*/}") ;; esac
    case $2 in both|client) client+=(env "LD_PRELOAD=$others/${library##*/}") ;; esac
}

# others_can_run PROGRAM: that user reaches the program and its libraries.
others_can_run() {
    local file
    file=$(type -P "$1") && file=$(readlink -f -- "$file") && "${other[@]}" test -x "$file" && ! "${other[@]}" ldd "$file" 2>&1 | grep -qE 'not found|denied|cannot'
}
