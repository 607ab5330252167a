#!/bin/bash
# Fuzzers of all that is read from other processes and from the kernel: 14 seconds each, 10 minutes with SLUICE_TEST_ALL=1.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
seconds=14 sum=0
[ "${SLUICE_TEST_ALL:-0}" -eq 0 ] || seconds=600
while IFS= read -r line; do
    case $line in
        'ok '*) ok "${line#ok   }" ;;
        'FAIL '*) not_ok "${line#FAIL }" ;;
        'all: '*) sum=${line//[!0-9]/}; say "$line" ;;
        *) say "$line" ;;
    esac
done < <("$top/Scripts/fuzz" "$seconds" 2>&1)
[ "$passed" -eq 11 ] || [ "$failed" -gt 0 ] || not_ok "eleven targets" "$passed have run"
if [ "${SLUICE_TEST_ALL:-0}" -ne 0 ]; then
    [ "$sum" -ge 100000000 ] && ok "10^8 executions over all targets" || not_ok "10^8 executions over all targets" "$sum"
fi
finish
