#!/bin/bash
# Python's own tests under Sluice: the result of every single test must be the one that it has on the plain kernel (the rule
# for tests that come out differently from run to run is in compare.py), and bytes must have gone by rings.
# By default the modules that touch sockets and are quick, with the lane by default, at the first byte, and in chaos mode with
# one seed (the core ones with two), and some longer ones in one mode; all modules in all modes under SLUICE_TEST_ALL=1.
# SLUICE_PYTHON_MODULES="test_ssl test_poll=first" and SLUICE_PYTHON_MODES="first chaos:7" take these instead. Most tests sleep most of the time, so three modules run at once.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
use_programs
library=${SLUICE_LIBRARY:-$library}
[ -e "$library" ] || missing "$library; run Scripts/build"
unset LD_PRELOAD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
logs=$build/python-logs
rm -rf "$logs"
mkdir -p "$logs"

core=(test_ssl test_socket test_asyncio.test_streams test_select test_socketserver test_httplib test_httpservers)
quick=(
    test_asyncio.test_events test_asyncio.test_sendfile test_asyncio.test_sock_lowlevel test_asyncio.test_server
    test_asyncio.test_buffered_proto test_asyncio.test_selector_events test_asyncio.test_unix_events test_asyncore test_asynchat
    test_smtplib test_epoll test_urllib2_localnet test_docxmlrpc test_telnetlib test_nntplib test_wsgiref test_robotparser
)
# In one mode by default; of multiprocessing, what uses TCP.
once=(
    test_subprocess=first test_selectors=first test_ftplib=default test_timeout=first
    test_multiprocessing_fork.{TestWait,WithProcessesTestListener,WithProcessesTestListenerClient,WithProcessesTestPicklingConnections}=first
)
slow=(
    test_multiprocessing_spawn test_multiprocessing_fork test_multiprocessing_forkserver test_multiprocessing_main_handling
    test_concurrent_futures test_subprocess test_threading test_asyncio.test_ssl test_asyncio.test_sslproto
    test_asyncio.test_subprocess test_asyncio.test_base_events test_asyncio.test_tasks test_asyncio.test_runners
    test_asyncio.test_threads test_asyncio.test_taskgroups test_asyncio.test_futures test_asyncio.test_futures2
    test_asyncio.test_locks test_asyncio.test_transports test_asyncio.test_context test_asyncio.test_pep492
    test_asyncio.test_protocols test_asyncio.test_queues test_asyncio.test_timeouts test_asyncio.test_waitfor test_timeout
    test_ftplib test_poplib test_imaplib test_xmlrpc test_logging test_selectors test_poll test_eintr test_wait3 test_wait4
    test_signal test_threadsignals test_smtpd test_urllib test_urllib2 test_syslog test_os test_posix test_fcntl test_io
    test_fileio test_fork1 test_popen test_pty test_openpty test_faulthandler test_resource test_mmap test_mailbox test_pipes
    test_atexit test_site
)
modes=(default first chaos:1)
if [ "${SLUICE_TEST_ALL:-0}" -ne 0 ]; then
    modes+=(chaos:2 chaos:3) modules=("${core[@]}" "${quick[@]}" "${slow[@]}")
else
    # The modes of one entry run one after the other: the longest module is two.
    modules=(test_ssl=chaos:1,chaos:2 test_ssl=default,first "${once[@]}")
    for module in "${core[@]:1}"; do modules+=("$module=default,first,chaos:1,chaos:2"); done
    modules+=("${quick[@]}")
fi
[ -z "${SLUICE_PYTHON_MODES-}" ] || { read -ra modes <<< "$SLUICE_PYTHON_MODES"; modules=("${modules[@]%=*}"); }
[ -z "${SLUICE_PYTHON_MODULES-}" ] || read -ra modules <<< "$SLUICE_PYTHON_MODULES"

cd "$work" || exit 1
python3 "$here/compare.py" --python "$programs/usr/bin/python3.11" --preload "$library" --stat "$build/bin/sluicestat" \
    --work "$work" --logs "$logs" --jobs "${SLUICE_PYTHON_JOBS:-3}" --modes "$(IFS=,; say "${modes[*]}")" "${modules[@]/#/test.}"
