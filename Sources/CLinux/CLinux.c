#include "CLinux.h"

__thread struct slc_thread slc_thread_block __attribute__((tls_model("initial-exec")));
uint64_t *slc_fd_chunks[SLC_FD_CHUNKS];
