/// What the tests of single rooms need of C: processes, and messages with descriptors that no orderly peer would send.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// A child process that runs `body(context)` and ends with its result. The child may only touch memory that exists
/// already: other threads of the parent may hold the allocator. It dies with its parent.
pid_t CTestSupport_fork(int (*body)(void *), void *context);
/// Waits for the end of a child, `milliseconds` at most. Its exit status, 1000 + the signal that killed it, or -1: it still runs.
int CTestSupport_await(pid_t child, int milliseconds);
/// Kills a child and waits for its end.
void CTestSupport_kill(pid_t child);
/// Runs `body(context, 0)` to `body(context, count - 1)`, each in a thread of its own, and waits for all; at most 16.
void CTestSupport_threads(int count, void (*body)(void *context, int index), void *context);
/// Gives the processor away.
void CTestSupport_yield(void);

/// One message with `count` descriptors (at most 200) on a unix socket. 0, or -errno.
long CTestSupport_send(int fd, const void *bytes, size_t length, const int *passed, size_t count);
/// True once nobody holds the writing end of the pipe any more; waits `milliseconds` at most.
int CTestSupport_hangs_up(int pipe, int milliseconds);
/// A pipe, close-on-exec. 0, or -errno.
long CTestSupport_pipe(int ends[2]);
