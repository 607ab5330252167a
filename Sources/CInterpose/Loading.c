// Libraries whose calls go straight to libc: opened with RTLD_DEEPBIND, which looks in their own libraries first, or in a
// namespace of their own. What they do with a socket of the program is not seen, so none may be on a lane from then on.
#include "Interpose.h"
#include <dlfcn.h>

void *sli_before_dlopen(int flags) {
    sli_resolve();
    if (flags & RTLD_DEEPBIND) SLI_TELL(sluice_hand_back_all(SLI_REASON_SEALED_OFF));
    return (void *)SLI_REAL(dlopen);
}
void *sli_before_dlmopen(Lmid_t space, int flags) {
    sli_resolve();
    if (flags & RTLD_DEEPBIND || space != LM_ID_BASE) SLI_TELL(sluice_hand_back_all(SLI_REASON_SEALED_OFF));
    return (void *)SLI_REAL(dlmopen);
}

// The loader looks for a library as its caller says (RUNPATH, namespace), and takes the return address for the caller: it must
// be the program's, so these jump.

SLI_EXPORT(dlopen);
__attribute__((naked)) void sli_dlopen(void) {
    __asm__("push %rdi\n\tpush %rsi\n\tsub $8, %rsp\n\tmov %esi, %edi\n\tcall sli_before_dlopen\n\t"
            "add $8, %rsp\n\tpop %rsi\n\tpop %rdi\n\tjmp *%rax");
}
SLI_EXPORT(dlmopen);
__attribute__((naked)) void sli_dlmopen(void) {
    __asm__("push %rdi\n\tpush %rsi\n\tpush %rdx\n\tmov %edx, %esi\n\tcall sli_before_dlmopen\n\t"
            "pop %rdx\n\tpop %rsi\n\tpop %rdi\n\tjmp *%rax");
}
