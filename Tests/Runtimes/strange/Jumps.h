/// Leaving waiting calls by a jump.
#pragma once
#include "Strange.h"

/// The handler that jumps out of the call that `left` makes.
void jump(int signal);
/// Makes the call and leaves it by a signal: once the thread sleeps, or, under Sluice as set, once it has spun for a while.
void left(const char *name, long (*call)(int), int fd);
void left_spinning(const char *name, long (*call)(int), int fd);
