/*
 * A preloaded shim that remembers what a power failure could take away, and injects disk faults.
 *
 * kill -9 keeps the page cache, so it never loses a write. This shim keeps an undo journal for
 * the files below one directory (journal.c): before each write the bytes that it replaces, before
 * each rename or unlink the inode that the name stood for. Once the process is dead, powerloss.py
 * puts random parts of it back: that is the power loss. Faults follow the rules of rules.c.
 *
 * Not seen: stdio (glibc calls its own write), shared mappings, dup'ed descriptors, io_uring.
 *
 * Environment (read once):
 *   FAULTFS_ROOT     resolved directory whose files are watched; unset: all passes through
 *   FAULTFS_STATE    directory of the journal, with a folder `inodes`; on the same file system as
 *                    the root, outside of it
 *   FAULTFS_CONTROL  file of fault rules
 *   FAULTFS_SYNC_US  pretend syncs that take so many microseconds; unset: sync for real
 *   FAULTFS_PLANT    a deliberate bug, to prove that the tests see it: ignore_fdatasync (success
 *                    without effect) or early_fdatasync (success at once, effect later)
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 65536 }; /* descriptors above are not watched */

static struct file *files[FILES_MAX];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_bytes;
static long pretended_sync_us = -1; /* -1: sync for real */

void fail(const char *what) {
    dprintf(2, "faultfs: %s: %s\n", what, strerror(errno));
    abort(); /* a hole in the journal would make every verdict worthless */
}

int raw_open(const char *path, int flags, mode_t mode) {
    REAL(int, open, const char *, int, ...);
    return real_open(path, flags, mode);
}

int raw_close(int fd) {
    REAL(int, close, int);
    return real_close(fd);
}

void sleep_us(long us) {
    struct timespec wait = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&wait, &wait) != 0 && errno == EINTR) {}
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULTFS_ROOT"), *sync_us = getenv("FAULTFS_SYNC_US");
    if (!path) return;
    snprintf(root, sizeof root, "%s", path);
    root_bytes = strlen(root);
    if (sync_us) pretended_sync_us = atol(sync_us);
    rules_start();
    journal_start();
}

/* -- names ---------------------------------------------------------------------------------- */

/* The part of a path below the root ("." for the root itself), or NULL when it is elsewhere. */
static const char *below_root(const char *path) {
    if (!journal_is_open() || strncmp(path, root, root_bytes) != 0) return NULL;
    if (path[root_bytes] == '\0') return ".";
    return path[root_bytes] == '/' ? path + root_bytes + 1 : NULL;
}

/* The same for an argument of openat and its kin: relative to a directory or to the working
 * directory. The directory is resolved, the last part is not, since it may not exist yet. */
static const char *name_at(int directory, const char *path, char *buffer) {
    if (!journal_is_open()) return NULL;
    char joined[PATH_MAX], parent[PATH_MAX], resolved[PATH_MAX];
    if (path[0] == '/' || directory == AT_FDCWD) {
        snprintf(joined, sizeof joined, "%s", path);
    } else if (snprintf(joined, sizeof joined, "/proc/self/fd/%d/%s", directory, path) < 0) {
        return NULL;
    }
    for (size_t end = strlen(joined); end > 1 && joined[end - 1] == '/';) joined[--end] = '\0';
    const char *slash = strrchr(joined, '/');
    const char *last = slash ? slash + 1 : joined;
    if (!slash) snprintf(parent, sizeof parent, ".");
    else snprintf(parent, sizeof parent, "%.*s", (int)(slash - joined) + 1, joined);
    int error = errno;
    bool known = realpath(parent, resolved) != NULL;
    errno = error;
    if (!known || snprintf(buffer, PATH_MAX, "%s/%s", resolved, last) >= PATH_MAX) return NULL;
    return below_root(buffer);
}

static ino_t inode_at(int directory, const char *path) {
    struct stat st;
    int error = errno;
    ino_t inode = fstatat(directory, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
    errno = error;
    return inode;
}

/* -- descriptors ---------------------------------------------------------------------------- */

static struct file *watched(int fd) {
    return fd >= 0 && fd < FILES_MAX ? files[fd] : NULL;
}

static void forget(int fd) {
    struct file *file = watched(fd);
    if (!file) return;
    files[fd] = NULL;
    if (file->reader >= 0) raw_close(file->reader);
    free(file);
}

static void watch(int fd, int flags, const char *name) {
    struct stat st;
    if (fd >= FILES_MAX || fstat(fd, &st) != 0) return;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return;
    struct file *file = malloc(sizeof *file + strlen(name) + 1);
    if (!file) fail("malloc");
    *file = (struct file){st.st_ino, flags, -1, S_ISDIR(st.st_mode)};
    strcpy(file->name, name);
    forget(fd);
    files[fd] = file;
}

static int open_at(int directory, const char *path, int flags, mode_t mode) {
    REAL(int, openat, int, const char *, int, ...);
    char buffer[PATH_MAX];
    const char *name = name_at(directory, path, buffer);
    if (!name) return real_openat(directory, path, flags, mode);
    pthread_mutex_lock(&mutex);
    struct effect effect = {0};
    if (flags & (O_CREAT | O_TRUNC)) effect = effect_of("open", name);
    int fd = -1;
    if (effect.error) {
        errno = effect.error;
    } else {
        ino_t before = flags & O_CREAT ? inode_at(directory, path) : 1;
        /* Truncation is a change of its own, so that its undo can be noted first. */
        fd = real_openat(directory, path, flags & ~O_TRUNC, mode);
        if (fd >= 0) {
            watch(fd, flags, name);
            struct file *file = watched(fd);
            if (file && !before) note_name(name, 0, file->inode, false);
            if (file && flags & O_TRUNC && (flags & O_ACCMODE) != O_RDONLY) {
                REAL(int, ftruncate, int, off_t);
                note_range(fd, file, TRUNCATE, 0, 0);
                if (real_ftruncate(fd, 0) != 0) fail("ftruncate");
            }
        }
        after_effect(effect);
    }
    pthread_mutex_unlock(&mutex);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(directory, path, flags, mode);
}

int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));

int __open_2(const char *path, int flags) {
    return open_at(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *, int) __attribute__((alias("__open_2")));

int creat(const char *path, mode_t mode) {
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *, mode_t) __attribute__((alias("creat")));

int close(int fd) {
    if (watched(fd)) {
        pthread_mutex_lock(&mutex);
        forget(fd);
        pthread_mutex_unlock(&mutex);
    }
    return raw_close(fd);
}

/* -- writes --------------------------------------------------------------------------------- */

/* offset -1: at the file's own position. The vector is the general case; it is cut for `short`. */
static ssize_t write_watched(int fd, struct file *file, const struct iovec *parts, int count,
                             off_t offset) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    pthread_mutex_lock(&mutex);
    struct effect effect = effect_of("write", file->name);
    ssize_t result = -1;
    if (effect.error) {
        errno = effect.error;
    } else {
        struct stat st;
        off_t start = offset;
        if (fstat(fd, &st) != 0) fail("fstat");
        if (file->flags & O_APPEND) start = st.st_size;
        else if (offset < 0) start = lseek(fd, 0, SEEK_CUR);
        note_range(fd, file, WRITE, start, length);
        if (effect.is_short) {
            count = 1;
            length = parts[0].iov_len / 2;
        }
        struct iovec half = {parts[0].iov_base, length};
        const struct iovec *chosen = effect.is_short ? &half : parts;
        if (offset < 0) {
            result = real_writev(fd, chosen, count);
        } else {
            REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
            result = real_pwritev(fd, chosen, count, offset);
        }
        if (result >= 0 && file->flags & O_DSYNC) note_sync(file, journal_bytes(), false);
        if (effect.delay_us) sleep_us(effect.delay_us);
        after_effect(effect);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

ssize_t write(int fd, const void *data, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    struct file *file = watched(fd);
    if (!file) return real_write(fd, data, count);
    return write_watched(fd, file, &(struct iovec){(void *)data, count}, 1, -1);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    struct file *file = watched(fd);
    if (!file) return real_pwrite(fd, data, count, offset);
    return write_watched(fd, file, &(struct iovec){(void *)data, count}, 1, offset);
}
ssize_t pwrite64(int, const void *, size_t, off64_t) __attribute__((alias("pwrite")));

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    struct file *file = watched(fd);
    if (!file || count <= 0) return real_writev(fd, parts, count);
    return write_watched(fd, file, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
    struct file *file = watched(fd);
    if (!file || count <= 0) return real_pwritev(fd, parts, count, offset);
    return write_watched(fd, file, parts, count, offset);
}
ssize_t pwritev64(int, const struct iovec *, int, off64_t) __attribute__((alias("pwritev")));

/* -- size ----------------------------------------------------------------------------------- */

int ftruncate(int fd, off_t length) {
    REAL(int, ftruncate, int, off_t);
    struct file *file = watched(fd);
    if (!file) return real_ftruncate(fd, length);
    pthread_mutex_lock(&mutex);
    struct effect effect = effect_of("truncate", file->name);
    int result = -1;
    if (effect.error) {
        errno = effect.error;
    } else {
        note_range(fd, file, TRUNCATE, length, 0);
        result = real_ftruncate(fd, length);
        after_effect(effect);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}
int ftruncate64(int, off64_t) __attribute__((alias("ftruncate")));

int truncate(const char *path, off_t length) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = ftruncate(fd, length), error = errno;
    close(fd);
    errno = error;
    return result;
}
int truncate64(const char *, off64_t) __attribute__((alias("truncate")));

/* Growing only: neither hole punching nor collapsing is used by anything tested here. */
static int allocate(int fd, struct file *file, int mode, off_t offset, off_t length) {
    REAL(int, fallocate, int, int, off_t, off_t);
    pthread_mutex_lock(&mutex);
    struct effect effect = effect_of("allocate", file->name);
    int result = -1;
    if (effect.error) {
        errno = effect.error;
    } else {
        struct stat st;
        if (fstat(fd, &st) != 0) fail("fstat");
        if (offset + length > st.st_size) note_range(fd, file, TRUNCATE, offset + length, 0);
        result = real_fallocate(fd, mode, offset, length);
        after_effect(effect);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    REAL(int, fallocate, int, int, off_t, off_t);
    struct file *file = watched(fd);
    if (!file) return real_fallocate(fd, mode, offset, length);
    return allocate(fd, file, mode, offset, length);
}
int fallocate64(int, int, off64_t, off64_t) __attribute__((alias("fallocate")));

int posix_fallocate(int fd, off_t offset, off_t length) {
    REAL(int, posix_fallocate, int, off_t, off_t);
    struct file *file = watched(fd);
    if (!file) return real_posix_fallocate(fd, offset, length);
    return allocate(fd, file, 0, offset, length) == 0 ? 0 : errno;
}
int posix_fallocate64(int, off64_t, off64_t) __attribute__((alias("posix_fallocate")));

/* -- syncs ---------------------------------------------------------------------------------- */

static int sync_watched(int fd, struct file *file, int (*real)(int)) {
    pthread_mutex_lock(&mutex);
    uint64_t began = journal_bytes();
    struct effect effect = effect_of("sync", file->name);
    pthread_mutex_unlock(&mutex);
    /* Without the mutex: writes that run beside a sync are not covered by it. */
    if (effect.delay_us) sleep_us(effect.delay_us);
    int result = 0;
    if (effect.error) result = -1;
    else if (sync_is_planted()) result = 0;
    else if (pretended_sync_us >= 0) sleep_us(pretended_sync_us);
    else result = real(fd);
    pthread_mutex_lock(&mutex);
    note_sync(file, began, result != 0);
    after_effect(effect);
    pthread_mutex_unlock(&mutex);
    if (effect.error) errno = effect.error;
    return result;
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    struct file *file = watched(fd);
    return file ? sync_watched(fd, file, real_fdatasync) : real_fdatasync(fd);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    struct file *file = watched(fd);
    return file ? sync_watched(fd, file, real_fsync) : real_fsync(fd);
}

/* -- names of files ------------------------------------------------------------------------- */

static int rename_at(int old_directory, const char *old_path, int new_directory,
                     const char *new_path, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    char old_buffer[PATH_MAX], new_buffer[PATH_MAX];
    const char *old_name = name_at(old_directory, old_path, old_buffer);
    const char *new_name = name_at(new_directory, new_path, new_buffer);
    if (!old_name || !new_name)
        return real_renameat2(old_directory, old_path, new_directory, new_path, flags);
    pthread_mutex_lock(&mutex);
    struct effect effect = effect_of("rename", new_name);
    int result = -1;
    if (effect.error) {
        errno = effect.error;
    } else {
        ino_t moved = inode_at(old_directory, old_path);
        ino_t replaced = inode_at(new_directory, new_path);
        if (replaced) keep_inode(new_directory, new_path, replaced);
        if (moved) {
            note_name(new_name, replaced, moved, true);
            note_name(old_name, moved, 0, false);
        }
        result = real_renameat2(old_directory, old_path, new_directory, new_path, flags);
        after_effect(effect);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int rename(const char *old_path, const char *new_path) {
    return rename_at(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

int renameat(int old_directory, const char *old_path, int new_directory, const char *new_path) {
    return rename_at(old_directory, old_path, new_directory, new_path, 0);
}

int renameat2(int old_directory, const char *old_path, int new_directory, const char *new_path,
              unsigned flags) {
    return rename_at(old_directory, old_path, new_directory, new_path, flags);
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    char buffer[PATH_MAX];
    /* A removed directory stays removed: nothing tested here depends on getting one back. */
    const char *name = flags & AT_REMOVEDIR ? NULL : name_at(directory, path, buffer);
    if (!name) return real_unlinkat(directory, path, flags);
    pthread_mutex_lock(&mutex);
    struct effect effect = effect_of("unlink", name);
    int result = -1;
    if (effect.error) {
        errno = effect.error;
    } else {
        ino_t inode = inode_at(directory, path);
        if (inode) {
            keep_inode(directory, path, inode);
            note_name(name, inode, 0, false);
        }
        result = real_unlinkat(directory, path, flags);
        after_effect(effect);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

int remove(const char *path) {
    if (unlinkat(AT_FDCWD, path, 0) == 0) return 0;
    return errno == EISDIR ? unlinkat(AT_FDCWD, path, AT_REMOVEDIR) : -1;
}

static int make_directory(int directory, const char *path, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    char buffer[PATH_MAX];
    const char *name = name_at(directory, path, buffer);
    int result = real_mkdirat(directory, path, mode);
    if (result == 0 && name && name[0] != '.') {
        pthread_mutex_lock(&mutex);
        note_name(name, 0, inode_at(directory, path), false);
        pthread_mutex_unlock(&mutex);
    }
    return result;
}

int mkdir(const char *path, mode_t mode) {
    return make_directory(AT_FDCWD, path, mode);
}

int mkdirat(int directory, const char *path, mode_t mode) {
    return make_directory(directory, path, mode);
}
