/* Stands between a process and the disk, for everything that happens below one directory.
 *
 * Preloaded into the real process, it numbers each call that changes the disk (create, write, sync, truncate, rename,
 * unlink, mkdir, link, chmod) and does at the chosen number what the control page says: end the process before the
 * call, after it or in the middle of its bytes, or let it and those after it fail with an error of the system. The
 * page is a file that is mapped and shared: the tester arms it, reads the counts of a process that is dead, and heals
 * the disk of one that lives. With a trace each change is also written down with its bytes, in order, so that what a
 * power cut leaves can be computed.
 *
 * What goes through a memory map is not seen: of what the agent uses that is only SQLite's -shm index, which is made
 * anew by whoever opens the store first.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#undef open
#undef open64
#undef openat
#undef openat64

/* The order is shim.py's KINDS. READ and OPEN_WRITE are not numbered: they change nothing, but can fail. */
enum kind { CREATE, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, MKDIR, RMDIR, LINK, CHMOD, READ, OPEN_WRITE, MARK, KINDS };
#define SECTOR_BYTES 512
#define LOGGED_CALLS 65536

enum action { NOTHING, KILL_BEFORE, KILL_AFTER, KILL_MIDDLE, FAIL };

/* The layout is shim.py's CONTROL. */
struct control {
    volatile uint64_t total;         /* numbered calls so far */
    volatile uint64_t counts[KINDS]; /* and of each kind */
    volatile uint64_t at;            /* the number of the first call concerned, from 1 */
    volatile uint64_t until;         /* the first one no longer concerned; 0 for never */
    volatile uint32_t action;
    volatile uint32_t kinds;         /* bit mask: which kinds fail */
    volatile int32_t error;
    volatile uint32_t is_tracing;
    volatile uint64_t failed;        /* calls that were made to fail */
    char root[PATH_MAX];
    char trace[PATH_MAX];
    volatile uint8_t log[LOGGED_CALLS]; /* the kind of each numbered call; above 127 where it can be torn */
};

/* A trace is a row of these, each followed by its two paths and its bytes. The layout is trace.py's ENTRY. */
struct entry {
    uint32_t kind;
    uint32_t mode;
    int64_t offset;
    uint32_t path_bytes;
    uint32_t other_bytes;
    uint64_t data_bytes;
};

static struct control *control;
static size_t root_bytes;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void map_control(void)
{
    const char *path = getenv("FIELDEDGE_SHIM");
    if (!path)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) {
        fprintf(stderr, "shim: %s cannot be opened\n", path);
        _exit(97);
    }
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (page == MAP_FAILED)
        _exit(97);
    control = page;
    root_bytes = strlen(control->root);
}

__attribute__((constructor)) static void start(void) { map_control(); }

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Where a call goes */

static int is_below_root(const char *path)
{
    return strncmp(path, control->root, root_bytes) == 0 && (path[root_bytes] == '/' || path[root_bytes] == '\0');
}

static int path_of_fd(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return 1;
}

/* The absolute path of a name below `dirfd`; links are not followed, which is right for names that are changed. */
static int path_of_name(int dirfd, const char *name, char *path)
{
    char base[PATH_MAX];
    if (name[0] == '/')
        return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    if (dirfd == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of_fd(dirfd, base))
        return 0;
    return snprintf(path, PATH_MAX, "%s/%s", base, name) < PATH_MAX;
}

static int concerns_fd(int fd, char *path)
{
    if (!control || !path_of_fd(fd, path))
        return 0;
    return is_below_root(path);
}

static int concerns_name(int dirfd, const char *name, char *path)
{
    return control && name && path_of_name(dirfd, name, path) && is_below_root(path);
}

/* What happens at a call */

static _Noreturn void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void trace(enum kind kind, uint32_t mode, int64_t offset, const char *path, const char *other,
                  const void *data, size_t data_bytes)
{
    struct entry entry = {kind, mode, offset, (uint32_t)strlen(path), (uint32_t)strlen(other), data_bytes};
    struct iovec parts[] = {
        {&entry, sizeof entry}, {(void *)path, entry.path_bytes}, {(void *)other, entry.other_bytes}, {(void *)data, data_bytes}};
    int fd = (int)syscall(SYS_openat, AT_FDCWD, control->trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || syscall(SYS_writev, fd, parts, 4) < 0)
        _exit(98);
    syscall(SYS_close, fd);
}

struct call {
    enum kind kind;
    uint64_t number;
    int is_in_the_middle; /* of its bytes this call ends */
    int fails;
};

static struct call begin_write(enum kind kind, size_t bytes)
{
    pthread_mutex_lock(&one_at_a_time);
    struct call call = {kind, 0, 0, 0};
    int is_numbered = kind < READ;
    if (is_numbered) {
        call.number = ++control->total;
        control->counts[kind]++;
        if (call.number <= LOGGED_CALLS)
            control->log[call.number - 1] = (uint8_t)(kind | (bytes > SECTOR_BYTES ? 128 : 0));
    }
    uint64_t now = is_numbered ? call.number : control->total + 1;
    if (control->action == KILL_BEFORE && is_numbered && now == control->at)
        die();
    if (control->action == KILL_MIDDLE && is_numbered && now == control->at) {
        if (kind != WRITE)
            die();
        call.is_in_the_middle = 1;
    }
    if (control->action == FAIL && control->at && now >= control->at && (!control->until || now < control->until) &&
        (control->kinds >> kind & 1)) {
        call.fails = 1;
        control->failed++;
        errno = control->error;
    }
    return call;
}

static struct call begin(enum kind kind) { return begin_write(kind, 0); }

static void end(struct call call)
{
    int kept = errno;
    if (control->action == KILL_AFTER && call.number && call.number == control->at)
        die();
    pthread_mutex_unlock(&one_at_a_time);
    errno = kept;
}

#define IS_TRACED (control->is_tracing)

/* Names */

#define NAME_CALL(kind, dirfd, name, mode, real_call) \
    do { \
        char path[PATH_MAX]; \
        if (!concerns_name(dirfd, name, path)) \
            return real_call; \
        struct call call = begin(kind); \
        int result = call.fails ? -1 : real_call; \
        if (result == 0 && IS_TRACED) \
            trace(kind, mode, 0, path, "", NULL, 0); \
        end(call); \
        return result; \
    } while (0)

int unlink(const char *name) { REAL(unlink); NAME_CALL(UNLINK, AT_FDCWD, name, 0, real(name)); }

int rmdir(const char *name) { REAL(rmdir); NAME_CALL(RMDIR, AT_FDCWD, name, 0, real(name)); }

int unlinkat(int dirfd, const char *name, int flags)
{
    REAL(unlinkat);
    NAME_CALL(flags & AT_REMOVEDIR ? RMDIR : UNLINK, dirfd, name, 0, real(dirfd, name, flags));
}

int mkdir(const char *name, mode_t mode) { REAL(mkdir); NAME_CALL(MKDIR, AT_FDCWD, name, mode, real(name, mode)); }

int mkdirat(int dirfd, const char *name, mode_t mode)
{
    REAL(mkdirat);
    NAME_CALL(MKDIR, dirfd, name, mode, real(dirfd, name, mode));
}

int chmod(const char *name, mode_t mode) { REAL(chmod); NAME_CALL(CHMOD, AT_FDCWD, name, mode, real(name, mode)); }

int fchmodat(int dirfd, const char *name, mode_t mode, int flags)
{
    REAL(fchmodat);
    NAME_CALL(CHMOD, dirfd, name, mode, real(dirfd, name, mode, flags));
}

#define TWO_NAMES_CALL(kind, fromfd, from, tofd, to, real_call) \
    do { \
        char path[PATH_MAX], other[PATH_MAX]; \
        if (!concerns_name(tofd, to, other)) \
            return real_call; \
        if (!path_of_name(fromfd, from, path)) \
            path[0] = '\0'; \
        struct call call = begin(kind); \
        int result = call.fails ? -1 : real_call; \
        if (result == 0 && IS_TRACED) \
            trace(kind, 0, 0, path, other, NULL, 0); \
        end(call); \
        return result; \
    } while (0)

int rename(const char *from, const char *to)
{
    REAL(rename);
    TWO_NAMES_CALL(RENAME, AT_FDCWD, from, AT_FDCWD, to, real(from, to));
}

int renameat(int fromfd, const char *from, int tofd, const char *to)
{
    REAL(renameat);
    TWO_NAMES_CALL(RENAME, fromfd, from, tofd, to, real(fromfd, from, tofd, to));
}

int renameat2(int fromfd, const char *from, int tofd, const char *to, unsigned flags)
{
    REAL(renameat2);
    TWO_NAMES_CALL(RENAME, fromfd, from, tofd, to, real(fromfd, from, tofd, to, flags));
}

int link(const char *from, const char *to)
{
    REAL(link);
    TWO_NAMES_CALL(LINK, AT_FDCWD, from, AT_FDCWD, to, real(from, to));
}

int linkat(int fromfd, const char *from, int tofd, const char *to, int flags)
{
    REAL(linkat);
    TWO_NAMES_CALL(LINK, fromfd, from, tofd, to, real(fromfd, from, tofd, to, flags));
}

/* A symbolic link is traced as mode 1 with its target as data. */
static int symlink_call(const char *target, int dirfd, const char *name)
{
    static int (*real)(const char *, int, const char *);
    if (!real)
        real = (int (*)(const char *, int, const char *))dlsym(RTLD_NEXT, "symlinkat");
    char path[PATH_MAX];
    if (!concerns_name(dirfd, name, path))
        return real(target, dirfd, name);
    struct call call = begin(LINK);
    int result = call.fails ? -1 : real(target, dirfd, name);
    if (result == 0 && IS_TRACED)
        trace(LINK, 1, 0, path, "", target, strlen(target));
    end(call);
    return result;
}

int symlink(const char *target, const char *name) { return symlink_call(target, AT_FDCWD, name); }

int symlinkat(const char *target, int dirfd, const char *name) { return symlink_call(target, dirfd, name); }

/* Opening */

static int open_call(int dirfd, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    int is_for_writing = (flags & O_ACCMODE) != O_RDONLY;
    if (!is_for_writing || !concerns_name(dirfd, name, path))
        return (int)syscall(SYS_openat, dirfd, name, flags, mode);
    struct stat status;
    int is_new = (flags & O_CREAT) && fstatat(dirfd, name, &status, 0) != 0;
    struct call call = begin(is_new ? CREATE : flags & O_TRUNC ? TRUNCATE : OPEN_WRITE);
    int fd = call.fails ? -1 : (int)syscall(SYS_openat, dirfd, name, flags, mode);
    if (fd >= 0 && IS_TRACED && call.kind != OPEN_WRITE)
        trace(call.kind, mode, 0, path, "", NULL, 0);
    end(call);
    return fd;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *name, int flags, ...) { MODE_OF(flags) return open_call(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE_OF(flags) return open_call(AT_FDCWD, name, flags | O_LARGEFILE, mode); }
int openat(int dirfd, const char *name, int flags, ...) { MODE_OF(flags) return open_call(dirfd, name, flags, mode); }
int openat64(int dirfd, const char *name, int flags, ...) { MODE_OF(flags) return open_call(dirfd, name, flags | O_LARGEFILE, mode); }
int creat(const char *name, mode_t mode) { return open_call(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return open_call(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode); }

/* Bytes */

static ssize_t put(int fd, const void *data, size_t n, off_t offset)
{
    return offset < 0 ? syscall(SYS_write, fd, data, n) : syscall(SYS_pwrite64, fd, data, n, offset);
}

/* A full disk takes what still fits: the first write that fails for want of room is a short one. */
static ssize_t write_call(int fd, const void *data, size_t n, off_t offset)
{
    char path[PATH_MAX];
    if (control && IS_TRACED && fd == STDOUT_FILENO) {
        pthread_mutex_lock(&one_at_a_time);
        trace(MARK, 0, 0, "", "", data, n);
        pthread_mutex_unlock(&one_at_a_time);
    }
    if (!concerns_fd(fd, path))
        return put(fd, data, n, offset);
    struct call call = begin_write(WRITE, n);
    off_t where = offset;
    if (IS_TRACED && offset < 0)
        where = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    ssize_t result;
    if (call.is_in_the_middle) {
        if (n > SECTOR_BYTES) /* a sector is written as a whole or not at all */
            put(fd, data, (n + SECTOR_BYTES) / 2 & ~(size_t)(SECTOR_BYTES - 1), offset);
        die();
    }
    if (call.fails && control->error == ENOSPC && control->failed == 1 && n > 1)
        result = put(fd, data, n / 2, offset);
    else if (call.fails)
        result = -1;
    else
        result = put(fd, data, n, offset);
    if (result > 0 && IS_TRACED)
        trace(WRITE, 0, where, path, "", data, (size_t)result);
    end(call);
    return result;
}

ssize_t write(int fd, const void *data, size_t n) { return write_call(fd, data, n, -1); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t offset) { return write_call(fd, data, n, offset); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset) { return write_call(fd, data, n, offset); }

static ssize_t writev_call(int fd, const struct iovec *parts, int count, off_t offset)
{
    char path[PATH_MAX];
    if (!concerns_fd(fd, path))
        return offset < 0 ? syscall(SYS_writev, fd, parts, count)
                          : syscall(SYS_pwritev, fd, parts, count, (long)offset, (long)((uint64_t)offset >> 32));
    ssize_t whole = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = write_call(fd, parts[i].iov_base, parts[i].iov_len, offset < 0 ? -1 : offset + whole);
        if (n < 0)
            return whole ? whole : n;
        whole += n;
        if ((size_t)n < parts[i].iov_len)
            break;
    }
    return whole;
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return writev_call(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return writev_call(fd, parts, count, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) { return writev_call(fd, parts, count, offset); }

/* Copies within the kernel go through the same door as bytes: a caller must be ready to copy by hand. */
ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
    char path[PATH_MAX];
    if (concerns_fd(out, path)) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_sendfile, out, in, offset, n);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t n) { return sendfile(out, in, (off_t *)offset, n); }

ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t n, unsigned flags)
{
    char path[PATH_MAX];
    if (concerns_fd(out, path)) {
        errno = EXDEV;
        return -1;
    }
    return syscall(SYS_copy_file_range, in, in_offset, out, out_offset, n, flags);
}

static ssize_t read_call(int fd, void *data, size_t n, off_t offset)
{
    char path[PATH_MAX];
    if (control && control->action == FAIL && (control->kinds >> READ & 1) && concerns_fd(fd, path)) {
        struct call call = begin(READ);
        end(call);
        if (call.fails) {
            errno = control->error;
            return -1;
        }
    }
    return offset < 0 ? syscall(SYS_read, fd, data, n) : syscall(SYS_pread64, fd, data, n, offset);
}

ssize_t read(int fd, void *data, size_t n) { return read_call(fd, data, n, -1); }
ssize_t pread(int fd, void *data, size_t n, off_t offset) { return read_call(fd, data, n, offset); }
ssize_t pread64(int fd, void *data, size_t n, off64_t offset) { return read_call(fd, data, n, offset); }

#define FD_CALL(kind, fd, mode, offset, real_call) \
    do { \
        char path[PATH_MAX]; \
        if (!concerns_fd(fd, path)) \
            return real_call; \
        struct call call = begin(kind); \
        int result = call.fails ? -1 : real_call; \
        if (result == 0 && IS_TRACED) \
            trace(kind, mode, offset, path, "", NULL, 0); \
        end(call); \
        return result; \
    } while (0)

int fsync(int fd) { FD_CALL(SYNC, fd, 0, 0, (int)syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { FD_CALL(SYNC, fd, 0, 0, (int)syscall(SYS_fdatasync, fd)); }
int ftruncate(int fd, off_t length) { FD_CALL(TRUNCATE, fd, 0, length, (int)syscall(SYS_ftruncate, fd, length)); }
int ftruncate64(int fd, off64_t length) { FD_CALL(TRUNCATE, fd, 0, length, (int)syscall(SYS_ftruncate, fd, length)); }
int fchmod(int fd, mode_t mode) { FD_CALL(CHMOD, fd, mode, 0, (int)syscall(SYS_fchmod, fd, mode)); }

int truncate(const char *name, off_t length)
{
    char path[PATH_MAX];
    if (!concerns_name(AT_FDCWD, name, path))
        return (int)syscall(SYS_truncate, name, length);
    struct call call = begin(TRUNCATE);
    int result = call.fails ? -1 : (int)syscall(SYS_truncate, name, length);
    if (result == 0 && IS_TRACED)
        trace(TRUNCATE, 0, length, path, "", NULL, 0);
    end(call);
    return result;
}

int truncate64(const char *name, off64_t length) { return truncate(name, length); }
