/*
 * Faults by operation, path pattern and count. The control file holds one rule a line:
 *
 *   OP PATTERN ACTION [after=N] [count=N]
 *
 * OP       write, sync, open (for creation), rename, unlink, allocate or truncate
 * PATTERN  of fnmatch, against the path below the root; * matches slashes too
 * ACTION   enospc, eio, short (half is written), delay=MS, kill (before it), kill-after
 * after    so many matching operations pass first; count: then so many are hit (default: all)
 *
 * The file is read again, and counting starts over, when its inode or time of change is another.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RULES_MAX = 32, CONTROL_BYTES_MAX = 8192 };

struct rule {
    char op[16];
    char pattern[128];
    char action[24];
    long after, count, seen;
};

static struct {
    char path[PATH_MAX];
    ino_t inode;
    struct timespec changed;
    struct rule rules[RULES_MAX];
    int count;
} control;

void rules_start(void) {
    const char *path = getenv("FAULTFS_CONTROL");
    if (path) snprintf(control.path, sizeof control.path, "%s", path);
}

static void parse_rule(const char *line) {
    struct rule rule = {.count = LONG_MAX};
    int used = 0;
    if (control.count == RULES_MAX ||
        sscanf(line, "%15s %127s %23s%n", rule.op, rule.pattern, rule.action, &used) != 3)
        fail(line);
    const char *after = strstr(line + used, "after="), *count = strstr(line + used, "count=");
    if (after) rule.after = atol(after + strlen("after="));
    if (count) rule.count = atol(count + strlen("count="));
    control.rules[control.count++] = rule;
}

static void load_rules(void) {
    struct stat st;
    if (!control.path[0] || stat(control.path, &st) != 0) {
        control.count = 0;
        control.inode = 0;
        return;
    }
    if (st.st_ino == control.inode && st.st_mtim.tv_sec == control.changed.tv_sec &&
        st.st_mtim.tv_nsec == control.changed.tv_nsec)
        return;
    control.inode = st.st_ino;
    control.changed = st.st_mtim;
    control.count = 0;
    char text[CONTROL_BYTES_MAX + 1], *rest = NULL;
    int fd = raw_open(control.path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t bytes = fd < 0 ? -1 : pread(fd, text, CONTROL_BYTES_MAX, 0);
    if (bytes < 0) fail(control.path);
    raw_close(fd);
    text[bytes] = '\0';
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        parse_rule(line);
}

/* What the rules say about this operation. Does not return when they say: kill. */
struct effect effect_of(const char *op, const char *name) {
    struct effect effect = {0};
    int error = errno;
    load_rules();
    for (int i = 0; i < control.count; i++) {
        struct rule *rule = &control.rules[i];
        if (strcmp(rule->op, op) != 0 || fnmatch(rule->pattern, name, 0) != 0) continue;
        long seen = rule->seen++;
        if (seen < rule->after || seen - rule->after >= rule->count) continue;
        if (strcmp(rule->action, "enospc") == 0) effect.error = ENOSPC;
        else if (strcmp(rule->action, "eio") == 0) effect.error = EIO;
        else if (strcmp(rule->action, "short") == 0) effect.is_short = true;
        else if (strcmp(rule->action, "kill") == 0) kill(getpid(), SIGKILL);
        else if (strcmp(rule->action, "kill-after") == 0) effect.kill_after = true;
        else if (strncmp(rule->action, "delay=", 6) == 0)
            effect.delay_us += 1000 * atol(rule->action + 6);
        else fail(rule->action);
    }
    errno = error;
    return effect;
}

void after_effect(struct effect effect) {
    if (effect.kill_after) kill(getpid(), SIGKILL);
}
