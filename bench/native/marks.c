/* Marks for callgrind: which instructions belong to a scenario. Without valgrind they do nothing. */
#include <valgrind/callgrind.h>

void scenario_begin(void) {
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void scenario_end(const char *name) {
    CALLGRIND_DUMP_STATS_AT(name);
    CALLGRIND_STOP_INSTRUMENTATION;
}
