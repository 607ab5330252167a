// Jumps out of handlers: the calls that the handlers had interrupted never return, and what they hold is let go.
#include "Interpose.h"

/// The stack pointer after the jump: the seventh word of glibc's jmp_buf, mixed with the thread's pointer guard
/// (jmpbuf-offsets.h and pointer_guard.h there). 0 when it is no such word.
static uint64_t target_of(const void *buffer) {
    uint64_t sp = ((const uint64_t *)buffer)[6];
    __asm__("ror $17, %0\n\txor %%fs:0x30, %0" : "+r"(sp));
    return sp >> 47 || sp & 7 ? 0 : sp;
}
SLC_INLINE void before_jump(const void *buffer) {
    if (SLI_LIKELY(!slc_self()->held_count)) return;
    uint64_t target = target_of(buffer);
    if (target) SLI_TELL(sluice_before_jump(target));
}

#define JUMP(name)                                                                                                     \
    SLI_EXPORT(name);                                                                                                  \
    __attribute__((noreturn)) void sli_##name(void *buffer, int value) {                                               \
        before_jump(buffer);                                                                                           \
        SLI_REAL(name)(buffer, value);                                                                                 \
        __builtin_unreachable();                                                                                       \
    }
JUMP(longjmp)
JUMP(_longjmp)
JUMP(siglongjmp)
JUMP(__longjmp_chk)
