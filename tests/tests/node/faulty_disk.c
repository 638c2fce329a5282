/* A disk that fails to order, for tests: preloaded into a node by LD_PRELOAD.
 *
 * STRATOS_FAULTY_DISK names a directory of orders. While it holds a file
 *   quota    allocating fails with ENOSPC, and so does every write that would make a file longer;
 *   broken   bringing data to the disk (fsync and its kin) fails with EIO.
 * Only regular files are concerned: sockets, pipes and terminals go on. System calls that do not go through the C library are
 * out of reach; those of the log's allocation are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int ordered(const char *fault) {
    const char *directory = getenv("STRATOS_FAULTY_DISK");
    char path[PATH_MAX];
    if (directory == NULL || snprintf(path, sizeof path, "%s/%s", directory, fault) >= (int)sizeof path) {
        return 0;
    }
    int before = errno;
    int there = access(path, F_OK) == 0;
    errno = before;
    return there;
}

static int is_file(int fd, struct stat *about) {
    return fstat(fd, about) == 0 && S_ISREG(about->st_mode);
}

/* Whether a write up to `end` has to fail. */
static int no_room(int fd, off_t end) {
    struct stat about;
    return ordered("quota") && is_file(fd, &about) && end > about.st_size;
}

/* Where a write without an offset ends. */
static off_t end_of_write(int fd, size_t count) {
    int flags = fcntl(fd, F_GETFL);
    off_t at = lseek(fd, 0, SEEK_CUR);
    struct stat about;
    if (flags >= 0 && (flags & O_APPEND) && is_file(fd, &about)) {
        at = about.st_size;
    }
    return at < 0 ? 0 : at + (off_t)count;
}

static size_t total(const struct iovec *parts, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += parts[i].iov_len;
    }
    return bytes;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE(condition, error) \
    if (condition) {             \
        errno = error;           \
        return -1;               \
    }

ssize_t write(int fd, const void *bytes, size_t count) {
    REFUSE(ordered("quota") && no_room(fd, end_of_write(fd, count)), ENOSPC);
    return REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REFUSE(ordered("quota") && no_room(fd, end_of_write(fd, total(parts, count))), ENOSPC);
    return REAL(writev)(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    REFUSE(no_room(fd, offset + (off_t)count), ENOSPC);
    return REAL(pwrite)(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    REFUSE(no_room(fd, offset + (off_t)count), ENOSPC);
    return REAL(pwrite64)(fd, bytes, count, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    REFUSE(no_room(fd, offset + length), ENOSPC);
    return REAL(fallocate)(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    REFUSE(no_room(fd, offset + length), ENOSPC);
    return REAL(fallocate64)(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    return no_room(fd, offset + length) ? ENOSPC : REAL(posix_fallocate)(fd, offset, length);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    return no_room(fd, offset + length) ? ENOSPC : REAL(posix_fallocate64)(fd, offset, length);
}

int fsync(int fd) {
    struct stat about;
    REFUSE(ordered("broken") && is_file(fd, &about), EIO);
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    struct stat about;
    REFUSE(ordered("broken") && is_file(fd, &about), EIO);
    return REAL(fdatasync)(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned int flags) {
    struct stat about;
    REFUSE(ordered("broken") && is_file(fd, &about), EIO);
    return REAL(sync_file_range)(fd, offset, length, flags);
}
