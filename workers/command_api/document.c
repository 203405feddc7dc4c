// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/document.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define CHUNK 4096

int document_read(const char *path, struct buf *out, struct err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us */
    char chunk[CHUNK];
    ssize_t n = fd < 0 ? -1 : 1;

    buf_reset(out);
    while (fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0 && !buf_failed(out))
        buf_append(out, chunk, (size_t)n);
    const int reason = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return err_set(err, ERR_FATAL, "file", "read file", "%s: %s", path,
                       strerrordesc_np(reason));
    return buf_failed(out) ? buf_error(out, "read file", path, err) : 0;
}
