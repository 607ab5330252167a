#include "CLinux.h"

__thread struct slc_thread slc_thread_block __attribute__((tls_model("initial-exec")));
uint64_t *slc_fd_chunks[SLC_FD_CHUNKS];

uint64_t *slc_no_robust_list(void) {
    static __thread uint64_t dummy[3] __attribute__((tls_model("initial-exec")));
    return dummy;
}

// The library has the real one, in CInterpose; tests of single rooms defer no handlers.
__attribute__((weak)) void slc_run_deferred(void) {}
