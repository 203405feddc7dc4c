/* To be preloaded into a worker: makes one allocation fail, at a moment that the test picks.
 *
 * NO_MEMORY_PLAN names a file of five 64-bit numbers that the test and this library map: how many
 * allocations until one fails (0 = none will), how many have failed, how many were counted, whether
 * those of libraries count, and how many bytes one must have to count. Libraries left out, those of
 * our own program count, and those that the C library makes (strdup and the like). */
// SPDX-License-Identifier: Apache-2.0

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

struct plan {
    _Atomic int64_t in, hits, counted, libraries, least;
};

static struct plan *plan;
static struct {
    uintptr_t from, to;
} ours[2];

static int note_object(struct dl_phdr_info *info, size_t size, void *ctx)
{
    unsigned *seen = ctx;
    bool program = (*seen)++ == 0;
    if (!program && !strstr(info->dlpi_name, "/libc.so"))
        return 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type == PT_LOAD && h->p_flags & PF_X) {
            ours[!program].from = info->dlpi_addr + h->p_vaddr;
            ours[!program].to = ours[!program].from + h->p_memsz;
        }
    }
    return 0;
}

__attribute__((constructor)) static void map_plan(void)
{
    const char *path = getenv("NO_MEMORY_PLAN");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    unsigned seen = 0;
    if (fd < 0)
        return;
    dl_iterate_phdr(note_object, &seen);
    void *p = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        plan = p;
}

static bool fails(const void *caller, size_t n)
{
    uintptr_t at = (uintptr_t)caller;
    bool own = (at >= ours[0].from && at < ours[0].to) || (at >= ours[1].from && at < ours[1].to);
    if (!plan || (!own && !atomic_load(&plan->libraries)) || n < (size_t)atomic_load(&plan->least))
        return false;
    atomic_fetch_add(&plan->counted, 1);
    if (atomic_load(&plan->in) <= 0 || atomic_fetch_sub(&plan->in, 1) != 1)
        return false;
    atomic_fetch_add(&plan->hits, 1);
    return true;
}

void *malloc(size_t n)
{
    return fails(__builtin_return_address(0), n) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0), n * size) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return fails(__builtin_return_address(0), n) ? NULL : __libc_realloc(p, n);
}
