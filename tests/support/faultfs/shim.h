/* What the parts of the shim share: the journal's format, watched files, fault rules. */
#ifndef FAULTFS_H
#define FAULTFS_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The next definition of a libc function, looked up once. */
#define REAL(result, name, ...)                \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = dlsym(RTLD_NEXT, #name)

/* The numbers are the journal's format; powerloss.py has the same table. */
enum kind { WRITE = 1, TRUNCATE = 2, SYNC = 3, SYNC_FAILED = 4, NAME = 5, DIR_SYNC = 6 };

/* One journal entry: this header, then the name, then the old bytes. Native byte order. */
struct entry {
    uint32_t magic;
    uint16_t kind;
    uint16_t name_bytes;  /* path relative to the root; every entry carries it */
    uint64_t inode;       /* NAME: what the name stands for afterwards, 0: nothing */
    uint64_t offset;      /* SYNC, DIR_SYNC: length of the journal when the sync began;
                             NAME: 1 when it happens together with the next entry (a rename) */
    uint64_t length;      /* WRITE: bytes about to be written */
    uint64_t size_before; /* file size before; NAME: inode the name stood for before, 0: none */
    uint64_t old_bytes;   /* old content that follows; shorter than the range: the rest was zeros */
};

struct file {
    ino_t inode;
    int flags;
    int reader; /* second descriptor, because old bytes must be read of write-only files too */
    bool is_directory;
    char name[];
};

struct effect {
    int error; /* 0: none */
    bool is_short, kill_after;
    long delay_us;
};

/* journal.c; all but journal_start and journal_is_open under the caller's mutex */
void journal_start(void);
bool journal_is_open(void);
uint64_t journal_bytes(void);
void note_range(int fd, struct file *file, enum kind kind, off_t offset, size_t length);
void note_sync(struct file *file, uint64_t began, bool failed);
void note_name(const char *name, ino_t before, ino_t after, bool with_next);
void keep_inode(int directory, const char *path, ino_t inode);
bool sync_is_planted(void);

/* rules.c; under the caller's mutex */
void rules_start(void);
struct effect effect_of(const char *op, const char *name);
void after_effect(struct effect effect);

/* faultfs.c */
int raw_open(const char *path, int flags, mode_t mode);
int raw_close(int fd);
void sleep_us(long us);
void fail(const char *what) __attribute__((noreturn));

#endif
