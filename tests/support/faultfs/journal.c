/*
 * The undo journal: what the disk would still hold, had every unsynced change been lost.
 *
 *   1. An entry is written before the operation that it undoes. Killed in between, the undo
 *      restores what is there anyway.
 *   2. A sync covers what was journalled before it began, and is noted after it succeeded.
 *   3. A failed sync clears nothing, now or later: the kernel marks such pages clean, so a later
 *      sync that succeeds does not write them.
 *   4. Entries are appended under one mutex, by one process at a time: the position in the
 *      journal is the order of events.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { LATE_MAX = 256, NAME_BYTES_MAX = 255 };
static const uint32_t ENTRY_MAGIC = 0x31304a46;           /* "FJ01" */
static const uint64_t EARLY_SYNC_NS = 30 * 1000 * 1000u; /* planted early_fdatasync */

static struct {
    int fd;
    char state[PATH_MAX];
    bool plant_ignore, plant_early;
    struct {
        uint64_t due_ns;
        struct entry entry;
        char name[NAME_BYTES_MAX + 1];
    } late[LATE_MAX]; /* planted early_fdatasync: syncs that do not count yet */
    int late_count;
} journal = {.fd = -1};

void journal_start(void) {
    const char *state = getenv("FAULTFS_STATE"), *plant = getenv("FAULTFS_PLANT");
    char path[PATH_MAX + 16];
    if (!state) fail("FAULTFS_STATE is not set");
    snprintf(journal.state, sizeof journal.state, "%s", state);
    journal.plant_ignore = plant && strcmp(plant, "ignore_fdatasync") == 0;
    journal.plant_early = plant && strcmp(plant, "early_fdatasync") == 0;
    snprintf(path, sizeof path, "%s/journal", journal.state);
    journal.fd = raw_open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal.fd < 0) fail(path);
}

bool journal_is_open(void) {
    return journal.fd >= 0;
}

bool sync_is_planted(void) {
    return journal.plant_ignore || journal.plant_early;
}

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void append(struct entry entry, const char *name, const void *old) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    entry.magic = ENTRY_MAGIC;
    entry.name_bytes = (uint16_t)strnlen(name, NAME_BYTES_MAX);
    struct iovec parts[] = {
        {&entry, sizeof entry}, {(void *)name, entry.name_bytes}, {(void *)old, entry.old_bytes}};
    size_t expected = sizeof entry + entry.name_bytes + entry.old_bytes;
    if (real_writev(journal.fd, parts, 3) != (ssize_t)expected) fail("journal");
}

uint64_t journal_bytes(void) {
    int kept = 0;
    for (int i = 0; i < journal.late_count; i++) {
        if (journal.late[i].due_ns > monotonic_ns()) journal.late[kept++] = journal.late[i];
        else append(journal.late[i].entry, journal.late[i].name, "");
    }
    journal.late_count = kept;
    return (uint64_t)lseek(journal.fd, 0, SEEK_END);
}

static char *old_content(int fd, struct file *file, off_t offset, size_t bytes) {
    if (file->reader < 0) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        file->reader = raw_open(path, O_RDONLY | O_CLOEXEC, 0);
    }
    char *old = malloc(bytes);
    if (!old || pread(file->reader, old, bytes, offset) != (ssize_t)bytes) fail("old content");
    return old;
}

/* Note what a change of [offset, offset + length) replaces. TRUNCATE: all that is behind offset. */
void note_range(int fd, struct file *file, enum kind kind, off_t offset, size_t length) {
    struct stat st;
    if (fstat(fd, &st) != 0) fail("fstat");
    off_t end = kind == TRUNCATE ? st.st_size : offset + (off_t)length;
    if (end > st.st_size) end = st.st_size;
    size_t old_bytes = end > offset ? (size_t)(end - offset) : 0;
    char *old = old_bytes ? old_content(fd, file, offset, old_bytes) : NULL;
    /* Preallocated segments are zeros: they need no room in the journal. */
    while (old_bytes && old[old_bytes - 1] == 0) old_bytes--;
    append((struct entry){.kind = kind,
                          .inode = file->inode,
                          .offset = (uint64_t)offset,
                          .length = length,
                          .size_before = (uint64_t)st.st_size,
                          .old_bytes = old_bytes},
           file->name, old);
    free(old);
}

void note_sync(struct file *file, uint64_t began, bool failed) {
    struct entry entry = {.inode = file->inode, .offset = began};
    entry.kind = file->is_directory ? DIR_SYNC : failed ? SYNC_FAILED : SYNC;
    if ((file->is_directory && failed) || (!failed && journal.plant_ignore)) return;
    if (failed || !journal.plant_early || journal.late_count == LATE_MAX) {
        append(entry, file->name, "");
        return;
    }
    journal.late[journal.late_count].due_ns = monotonic_ns() + EARLY_SYNC_NS;
    journal.late[journal.late_count].entry = entry;
    snprintf(journal.late[journal.late_count++].name, NAME_BYTES_MAX + 1, "%s", file->name);
}

void note_name(const char *name, ino_t before, ino_t after, bool with_next) {
    append((struct entry){.kind = NAME, .inode = after, .offset = with_next, .size_before = before},
           name, "");
}

/* Keep an inode that is about to lose a name. Its number cannot be used again either. */
void keep_inode(int directory, const char *path, ino_t inode) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    char kept[PATH_MAX + 32];
    snprintf(kept, sizeof kept, "%s/inodes/%lu", journal.state, (unsigned long)inode);
    int error = errno;
    if (real_linkat(directory, path, AT_FDCWD, kept, 0) != 0 && errno != EEXIST) fail(kept);
    errno = error;
}
