/* Control: records when the machine itself paused, one thread pinned to each CPU.
 *
 * Each thread asks for the time in a loop, with a sleep of --tick-us in between (0: it spins, which
 * takes the CPU away from what is measured). A step longer than --gap-ms beyond the tick is a pause
 * that no server caused: the thread wanted to run and could not.
 *
 * Lines on stdout, times in ns of CLOCK_MONOTONIC:   gap CPU FROM TO
 * Ends when stdin is closed.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static uint64_t tick_ns = 1000000, gap_ns = 10000000;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void *watch(void *argument) {
    int cpu = (int)(intptr_t)argument;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    prctl(PR_SET_TIMERSLACK, 1000);
    for (uint64_t before = now_ns(), now;; before = now) {
        struct timespec tick = {0, (long)tick_ns};
        if (tick_ns) nanosleep(&tick, NULL);
        now = now_ns();
        if (now - before > tick_ns + gap_ns)
            printf("gap %d %" PRIu64 " %" PRIu64 "\n", cpu, before + tick_ns, now);
    }
    return NULL;
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--tick-us")) tick_ns = strtoull(argv[i + 1], NULL, 10) * 1000;
        else if (!strcmp(argv[i], "--gap-ms")) gap_ns = strtoull(argv[i + 1], NULL, 10) * 1000000;
        else return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        pthread_t thread;
        if (CPU_ISSET(cpu, &allowed))
            pthread_create(&thread, NULL, watch, (void *)(intptr_t)cpu);
    }
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    return 0;
}
