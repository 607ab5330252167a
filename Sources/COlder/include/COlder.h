// Older versions of functions of the system's libraries.
#ifndef COLDER_H
#define COLDER_H

double hypot(double x, double y);
float hypotf(float x, float y);
void sl_condition_wait(void *condition, void *lock) __asm__("_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");

#endif
