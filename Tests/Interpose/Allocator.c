// An allocator as libraries bring them: at its first use it opens files and makes system calls, with a lock held. A call
// that comes back into it from there would hang a real one; this one says so and aborts.
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *next, *end;
static volatile int busy;

static void start(void) {
    char text[64];
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text) < 1) abort();
    close(fd);
    fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);
    if (fd < 0 || syscall(SYS_write, fd, text, 1) != 1) abort();
    syscall(SYS_close, fd);
    next = mmap(NULL, 1ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    end = next + (1ul << 30);
}
static void *take(size_t size, size_t alignment) {
    static const char re_entered[] = "the allocator was entered again\n";
    if (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE)) { // the tests that use it have one thread
        if (write(2, re_entered, sizeof re_entered - 1)) abort();
        abort();
    }
    if (!next) start();
    uintptr_t at = ((uintptr_t)next + sizeof(size_t) + alignment - 1) & ~(uintptr_t)(alignment - 1);
    next = (char *)at + size;
    if (next > end) abort();
    memcpy((void *)(at - sizeof(size_t)), &size, sizeof size);
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
    return (void *)at;
}
void *malloc(size_t size) { return take(size, 16); }
void *calloc(size_t count, size_t size) { return take(count * size, 16); }
void free(void *p) { (void)p; }
void *realloc(void *p, size_t size) {
    void *fresh = take(size, 16);
    size_t old = 0;
    if (p) memcpy(&old, (char *)p - sizeof old, sizeof old);
    if (p) memcpy(fresh, p, old < size ? old : size);
    return fresh;
}
void *memalign(size_t alignment, size_t size) { return take(size, alignment < 16 ? 16 : alignment); }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **p, size_t alignment, size_t size) { return *p = memalign(alignment, size), 0; }
