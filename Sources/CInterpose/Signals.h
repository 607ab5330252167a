/// What the two files on signals share.
#pragma once
#include "Interpose.h"
#include <signal.h>
#include <ucontext.h>

int sli_sigaction(int signal, const struct sigaction *new, struct sigaction *old);
