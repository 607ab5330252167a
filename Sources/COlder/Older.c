// What is linked into the tools (Foundation, the concurrency runtime) refers to these by name, and the linker takes the newest version
// that the building machine has: then the tools would not start where the library does, with glibc 2.34 and its libstdc++ of GCC 11.
// Defined here, each is the older version, which later systems keep.
#include "COlder.h"

#if defined(__x86_64__)
#define LIBM_BASE "GLIBC_2.2.5"
#else
#define LIBM_BASE "GLIBC_2.17"
#endif

// Since 2.35 they no longer go through a wrapper for the error handling of SVID.
extern double older_hypot(double x, double y);
extern float older_hypotf(float x, float y);
__asm__(".symver older_hypot, hypot@" LIBM_BASE);
__asm__(".symver older_hypotf, hypotf@" LIBM_BASE);

double hypot(double x, double y) { return older_hypot(x, y); }
float hypotf(float x, float y) { return older_hypotf(x, y); }

// std::condition_variable::wait(std::unique_lock<std::mutex> &). Since GCC 12 a thread may be cancelled in it; none is here.
extern void older_wait(void *condition, void *lock);
__asm__(".symver older_wait, _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");

void sl_condition_wait(void *condition, void *lock) { older_wait(condition, lock); }
