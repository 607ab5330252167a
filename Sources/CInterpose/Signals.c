#include "Interpose.h"

void slc_run_deferred(void) { slc_self()->deferred = 0; }
