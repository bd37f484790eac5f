/* SPDX-License-Identifier: MIT */
/*
 * file_map.c - open, look, map, close.
 *
 * O_NONBLOCK makes opening a pipe that nobody writes return; fstat on the open
 * descriptor, not stat on the name, so that what was looked at is what is mapped.
 * The mapping is not counted by base/alloc.h: its pages belong to the file, and
 * the system takes them back when it likes.
 */
#include "base/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/quote.h"

/* strerror() is not for threads, and its words hang on the host's locale. */
static const char *reason(int error)
{
    switch (error) {
    case ENOENT: return "there is no such file";
    case ENOTDIR: return "a part of the path is not a folder";
    case EACCES: return "permission denied";
    case EPERM: return "permission denied";
    case ELOOP: return "too many symbolic links";
    case ENAMETOOLONG: return "the path is too long";
    case EMFILE: return "the process has too many open files";
    case ENFILE: return "the system has too many open files";
    case ENOMEM: return "out of memory";
    case EIO: return "input/output error";
    default: return "the system refused";
    }
}

static const char *kind(mode_t mode)
{
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
    if (S_ISSOCK(mode)) return "a socket";
    return "something else";
}

static int open_for_reading(const char *path)
{
    if (bni_fault_is_due()) {
        errno = EMFILE;
        return -1;
    }
    int descriptor;
    do {
        descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    } while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

static bitnet_status map_descriptor(int descriptor, const char *label,
                                    struct bni_file_map *map)
{
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: cannot look at the open file: %s (error %d)", label,
                         reason(errno), errno);
    if (!S_ISREG(about.st_mode))
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: is %s, expected a regular file", label,
                         kind(about.st_mode));
    if ((uintmax_t)about.st_size > PTRDIFF_MAX)
        return bni_error(BITNET_ERROR_OUT_OF_MEMORY,
                         "%s: %jd bytes do not fit the address space", label,
                         (intmax_t)about.st_size);
    if (about.st_size == 0) { /* which mmap refuses */
        *map = (struct bni_file_map){.bytes = (const uint8_t *)"", .n_bytes = 0};
        return BITNET_OK;
    }

    const size_t n_bytes = (size_t)about.st_size;
    void *bytes = MAP_FAILED;
    errno = ENOMEM;
    if (!bni_fault_is_due())
        bytes = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (bytes == MAP_FAILED)
        return bni_error(BITNET_ERROR_OUT_OF_MEMORY,
                         "%s: cannot map its %zu bytes: %s (error %d)", label, n_bytes,
                         reason(errno), errno);
    *map = (struct bni_file_map){.bytes = bytes, .n_bytes = n_bytes};
    return BITNET_OK;
}

bitnet_status bni_file_map_open(const char *path, struct bni_file_map *map)
{
    struct bni_quote quote;
    const char *label = bni_quote_path(&quote, path);
    const int descriptor = open_for_reading(path);
    if (descriptor < 0) {
        const bitnet_status status =
            errno == ENOMEM ? BITNET_ERROR_OUT_OF_MEMORY : BITNET_ERROR_MODEL_NOT_FOUND;
        return bni_error(status, "%s: cannot open the file: %s (error %d)", label,
                         reason(errno), errno);
    }
    const bitnet_status status = map_descriptor(descriptor, label, map);
    close(descriptor);
    return status;
}

void bni_file_map_close(struct bni_file_map *map)
{
    if (map->n_bytes > 0) munmap((void *)(uintptr_t)map->bytes, map->n_bytes);
    *map = (struct bni_file_map){0};
}
