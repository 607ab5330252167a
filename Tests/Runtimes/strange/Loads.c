// Libraries that are loaded and unloaded in the middle, with RTLD_DEEPBIND too: their calls go straight to libc. They are named
// without a path: the loader finds them by the program's own RUNPATH.
#include "Strange.h"
#include <dlfcn.h>

static void *library;
static int (*dials)(int, int), (*talks)(int, int), (*waits)(int), (*closes)(int), (*duplicates)(int, int);
static void load(int flags) {
    library = dlopen("strange-plugin.so", flags);
    if (!library) fail("%s", dlerror());
    *(void **)&dials = dlsym(library, "plugin_dials");
    *(void **)&talks = dlsym(library, "plugin_talks");
    *(void **)&waits = dlsym(library, "plugin_waits");
    *(void **)&closes = dlsym(library, "plugin_closes");
    *(void **)&duplicates = dlsym(library, "plugin_duplicates");
}
static void unload(void) { SAY(dlclose(library)); }
/// Opened so, it hides its calls.
static const char *place_of(int flags) { return flags & RTLD_DEEPBIND ? KERNEL("a library calls past the preloaded one") : LANE; }
static void of_its_own(int flags) {
    int kept = warm();
    load(flags);
    from_now(place_of(flags));
    int fd = dials(peer_port, 100);
    if (fd < 0) fail("the plugin says %d", fd);
    talk(kept, 50);
    unload();
    talk(kept, 50);
    printf("closed: %d\n", fcntl(fd, F_GETFD) < 0);
    look(kept, kept);
}
/// The program's connection, in turns in the program and in the library.
static void given(int flags, bool before) {
    int fd = -1;
    if (before) fd = warm();
    load(flags);
    from_now(place_of(flags));
    if (!before) fd = warm();
    for (int i = 0; i < 5; i++) {
        SAY(talks(fd, 50));
        talk(fd, 50);
        if (!send_all(fd, "x", 1)) fail("send");
        SAY(waits(fd));
        if (!recv_all(fd, &(char){0}, 1)) fail("recv");
    }
    look(fd, fd);
    unload();
    talk(fd, 50);
    look(fd, fd);
}
/// The library makes the connection, the program uses it too.
static void taken(int flags) {
    load(flags);
    from_now(place_of(flags));
    int fd = dials(peer_port, 100);
    for (int i = 0; i < 3; i++) {
        talk(fd, 50);
        SAY(talks(fd, 50));
    }
    look(fd, fd);
    unload();
}
/// The library closes the program's connection, and puts another over one.
static void changed(int flags) {
    load(flags);
    from_now(place_of(flags));
    int fd = warm(), other = warm();
    SAY(closes(fd));
    int again = warm();
    printf("the same number: %d\n", again == fd);
    talk(again, 50);
    SAY(duplicates(other, again) == again);
    talk(again, 50);
    talk(other, 50);
    close(other);
    talk(again, 50);
    look(again, again);
    unload();
}
CASE(plugin_of_its_own, LANE) { of_its_own(RTLD_NOW | RTLD_LOCAL); }
CASE(plugin_given, LANE) { given(RTLD_LAZY | RTLD_LOCAL, true); }
CASE(deep_of_its_own, LANE) { of_its_own(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND); }
CASE(deep_given_before, LANE) { given(RTLD_NOW | RTLD_DEEPBIND, true); }
CASE(deep_given_later, LANE) { given(RTLD_NOW | RTLD_DEEPBIND, false); }
CASE(deep_taken, LANE) { taken(RTLD_NOW | RTLD_DEEPBIND); }
CASE(deep_changed, LANE) { changed(RTLD_NOW | RTLD_DEEPBIND); }
CASE(namespace_of_its_own, LANE) {
    int kept = warm();
    library = dlmopen(LM_ID_NEWLM, "strange-plugin.so", RTLD_NOW);
    if (!library) fail("%s", dlerror());
    *(void **)&dials = dlsym(library, "plugin_dials");
    int fd = dials(peer_port, 100);
    if (fd < 0) fail("the plugin says %d", fd);
    talk(kept, 50);
    from_now(KERNEL("a library calls past the preloaded one"));
    look(kept, kept);
    look(fd, fd);
}
