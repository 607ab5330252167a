/// What the fuzzers need of C.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// The parsers of CLinux, with every answer of the system taken from `bytes`.
void fuzz_linux(const uint8_t *bytes, size_t n);
