// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/faults.h"

#include "events/base/buf.h"
#include "ops/cli/output.h"

static void put_member(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, ",\"%s\":", name);
    buf_put_json_string(b, view_of(value));
}

void print_fault(void *ctx, const struct fault *fault)
{
    const struct fault_printer *p = ctx;

    if (p->cli->config.json) {
        struct buf b;
        buf_init(&b, 4096);
        buf_printf(&b, "{\"document\":%u", p->document);
        put_member(&b, "code", fault->code);
        put_member(&b, "path", fault->path);
        put_member(&b, "rule", fault->text);
        put_member(&b, "kind", fault->kind);
        buf_putc(&b, '}');
        printf("%s\n", buf_cstr(&b));
        buf_deinit(&b);
        return;
    }
    bool color = p->cli->color;
    printf("%s", p->file);
    if (p->document)
        printf(":%u", p->document);
    printf(": %s%s%s: %s, found %s [%s]\n", paint(color, PAINT_BOLD), fault->path, paint_end(color),
           fault->text, fault->kind, fault->code);
}
