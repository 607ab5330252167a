// Built three ways: as a false liburing.so.2 and libaio.so.1 (LIBRARY), as a plugin that uses them (PLUGIN), and as the
// program, which uses them itself and through the plugin loaded with RTLD_LOCAL.
#include <dlfcn.h>
#include <stdio.h>

#define FUNCTIONS(X)                                                                                                   \
    X(io_uring_setup) X(io_uring_queue_init) X(io_uring_queue_init_params) X(io_uring_queue_init_mem)                  \
    X(io_uring_register) X(io_uring_register_files) X(io_uring_register_files_tags) X(io_uring_register_files_sparse)  \
    X(io_uring_register_files_update) X(io_uring_register_files_update_tag) X(io_submit)

#ifdef LIBRARY
#define X(name)                                                                                                        \
    long name(long a, long b, long c, long d, long e, long f) { return (long)sizeof #name + a + (b | c | d | e | f); }
FUNCTIONS(X)
#else
#define X(name) long name(long, long, long, long, long, long);
FUNCTIONS(X)
#undef X
void plugin(const char *who) {
#define X(name) printf("%s: " #name " %ld\n", who, (long)(int)name(1, 0, 0, 0, 0, 0));
    FUNCTIONS(X)
#undef X
}
#ifndef PLUGIN
int main(int count, char **arguments) {
    if (count == 1) return plugin("program"), 0;
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    void (*function)(const char *) = library ? (void (*)(const char *))dlsym(library, "plugin") : NULL;
    if (!function) return printf("%s\n", dlerror()), 1;
    function("plugin");
    printf("the base namespace: %d\n", dlmopen(LM_ID_BASE, arguments[1], RTLD_NOW | RTLD_NOLOAD) == library);
    printf("its own: %d\n", dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW) != NULL);
    printf("deep: %d\n", dlopen("libm.so.6", RTLD_NOW | RTLD_DEEPBIND) != NULL);
    return 0;
}
#endif
#endif
