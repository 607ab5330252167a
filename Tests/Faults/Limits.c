// RLIMIT_NOFILE belongs to the program: a limit that it sets while the library holds the limit raised for a moment stays.
// The program is traced, and its limit is set, as by another thread, right behind each call that raises it.
// usage: limits
#include "Faults.h"
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { ROUNDS = 400, SOFT = 500, CHOSEN = 400 };

/// Both ends of a connection that lives long enough for a lane. The exit code tells whether the limit is `CHOSEN`.
static void program(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = SOFT;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) die("setrlimit: %s", strerror(errno));
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    int port, listener = listen_here(&port), client = connect_to(port), server = accept_one(listener);
    char bytes[64] = "";
    for (int i = 0; i < ROUNDS; i++) {
        if (!send_all(client, bytes, sizeof bytes) || !recv_all(server, bytes, sizeof bytes)) die("there: %s", strerror(errno));
        if (!send_all(server, bytes, sizeof bytes) || !recv_all(client, bytes, sizeof bytes)) die("back: %s", strerror(errno));
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    _exit(limit.rlim_cur == CHOSEN ? 20 : limit.rlim_cur == SOFT ? 21 : 22);
}

/// Is the process behind a call that has raised its limit?
static bool has_raised(pid_t pid) {
    static bool asked;
    struct __ptrace_syscall_info info = {0};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0) return false;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        asked = info.entry.nr == SYS_prlimit64 && info.entry.args[1] == RLIMIT_NOFILE && info.entry.args[2] != 0;
        return false;
    }
    struct rlimit now;
    return asked && info.op == PTRACE_SYSCALL_INFO_EXIT && prlimit(pid, RLIMIT_NOFILE, NULL, &now) == 0 && now.rlim_cur > SOFT;
}

int main(void) {
    pid_t pid = fork();
    if (pid == 0) program();
    int status = 0, raised = 0;
    waitpid(pid, &status, 0);
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    for (long signal = 0; ptrace(PTRACE_SYSCALL, pid, 0, signal) == 0 && waitpid(pid, &status, 0) == pid;) {
        if (!WIFSTOPPED(status)) break;
        signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
        if (signal || !has_raised(pid)) continue;
        struct rlimit chosen;
        prlimit(pid, RLIMIT_NOFILE, NULL, &chosen);
        chosen.rlim_cur = CHOSEN;
        if (prlimit(pid, RLIMIT_NOFILE, &chosen, NULL) < 0) die("prlimit: %s", strerror(errno));
        raised++;
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (!raised)
        skip("a limit that the program sets stays", "nothing raises it");
    else if (code == 20)
        ok("a limit that the program sets stays, also when it is set while the library has raised it (%d times)", raised);
    else
        not_ok("a limit that the program sets stays: it ended with %d, after %d times", code, raised);
    return finish();
}
