/* Lines of a file that is plain text or zstd (told by its magic bytes), read as a stream: memory
 * holds one line and one window, whatever the file's size. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"

struct lines;

/* Maps the file. max_line: longer ones come cut, with *ret_too_long. max_total: bytes unpacked. */
MUST_CHECK int lines_open(struct lines **ret, const char *path, size_t max_line, uint64_t max_total,
                          struct err *err);
struct lines *lines_close(struct lines *l); /* takes NULL */
/* From the start again. */
void lines_rewind(struct lines *l);
/* 1: a line without its end, valid until the next call; 0: the file is over; -1: cut or broken
 * (code snapshot-invalid). */
int lines_next(struct lines *l, struct view *ret, bool *ret_too_long, struct err *err);
/* The file's bytes as they lie. */
struct bytes lines_raw(const struct lines *l);
/* Bytes of the file that were read so far. */
uint64_t lines_position(const struct lines *l);
