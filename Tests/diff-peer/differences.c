// The accepted differences from the plain kernel. Each needs its reason; an entry that no longer differs is reported.
#include "suite.h"
#include <fnmatch.h>

static const dp_difference accepted[] = {
    // {"group/name", "both" or "*", "what differs", "why it must"},
    {0},
};

const dp_difference *dp_accepted(const dp_case *c, const char *placement) {
    char name[128];
    snprintf(name, sizeof name, "%s/%s", c->group, c->name);
    for (const dp_difference *d = accepted; d->c; d++)
        if (fnmatch(d->c, name, 0) == 0 && fnmatch(d->placement, placement, 0) == 0) return d;
    return NULL;
}
