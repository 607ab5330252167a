#include "Exercise.h"

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    if (count > 1 && !strcmp(arguments[1], "--echo")) { // the program that exec calls start
        for (int i = 2; i < count; i++) printf(" %s", arguments[i]);
        printf(" %s\n", getenv("EXERCISE") ? getenv("EXERCISE") : "-");
        return 7;
    }
    exercise_sockets();
    exercise_bytes();
    exercise_messages();
    exercise_readiness();
    exercise_select();
    exercise_descriptors();
    exercise_makers();
    exercise_hand_back();
    exercise_process(arguments[0]);
    exercise_exec(arguments[0]);
    exercise_spawn();
    exercise_syscall();
    puts("done");
    return 0;
}
