/* A line is built in memory and leaves by one write(2) of at most LINE_MAX_BYTES, which a pipe
 * takes whole (PIPE_BUF), so that lines of several threads never mix. Long values are cut, fields
 * that no longer fit are left out and the line says so. Values that are not UTF-8 are made so. */
// SPDX-License-Identifier: Apache-2.0
#include "events/log.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "events/base/buf.h"
#include "events/base/clock.h"
#include "events/trace.h"

#define LINE_MAX_BYTES 4096
#define VALUE_MAX 1024
/* Kept free for the end of a line: trace ids, the mark of a cut, the brace, the newline. */
#define TAIL_BYTES 160

/* Written by log_init before there are threads, read-only afterwards. */
static struct {
    char worker[48];
    enum log_level least;
    bool text;
} config = {.worker = "echora", .least = LOG_LEVEL_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(const char *worker, enum log_level least, const char *format)
{
    snprintf(config.worker, sizeof config.worker, "%s", worker);
    config.least = least;
    config.text =
        strcmp(format, "text") == 0 || (strcmp(format, "auto") == 0 && isatty(STDERR_FILENO) == 1);
}

bool log_enabled(enum log_level level)
{
    return level >= config.least;
}

static bool is_bare_word(struct view v)
{
    for (size_t i = 0; i < v.n; i++) {
        if ((unsigned char)v.p[i] <= ' ' || v.p[i] == '"' || v.p[i] == '=' || v.p[i] == 0x7f) {
            return false;
        }
    }
    return v.n > 0;
}

static void put_text_value(struct buf *out, struct view v)
{
    if (config.text && is_bare_word(v)) {
        buf_append_view(out, v);
    } else {
        buf_put_json_string(out, v);
    }
}

static void put_value(struct buf *out, const struct log_field *f)
{
    char clean[VALUE_MAX];
    switch (f->kind) {
    case LOG_STR:
        put_text_value(out, utf8_clean(view_of(f->s), clean, VALUE_MAX));
        break;
    case LOG_VIEW:
        put_text_value(out, utf8_clean(f->v, clean, VALUE_MAX));
        break;
    case LOG_I64:
        buf_put_i64(out, f->i);
        break;
    case LOG_F64:
        buf_put_double(out, f->f);
        break;
    case LOG_FLAG:
        buf_puts(out, f->b ? "true" : "false");
        break;
    }
}

/* False (and nothing written) when the line has no room left for it. */
static bool put_field(struct buf *out, const struct log_field *f)
{
    size_t before = out->n;
    if (config.text) {
        buf_printf(out, " %s=", f->name);
    } else {
        buf_putc(out, ',');
        buf_put_json_string(out, view_of(f->name));
        buf_putc(out, ':');
    }
    put_value(out, f);
    if (buf_failed(out) || out->n > LINE_MAX_BYTES - TAIL_BYTES) {
        out->n = before;
        out->failed = false;
        return false;
    }
    return true;
}

static void put_head(struct buf *out, enum log_level level, const char *msg)
{
    char clean[VALUE_MAX], ts[RFC3339_MAX];
    int64_t now = wall_us();
    rfc3339_format(now / 1000000, (int32_t)(now % 1000000) * 1000, ts);
    struct view text = utf8_clean(view_of(msg), clean, VALUE_MAX);
    if (config.text) {
        buf_printf(out, "%.12s %-5s %s: ", ts + 11, level_names[level], config.worker);
        buf_append_view(out, text);
        return;
    }
    buf_printf(out, "{\"ts\":\"%s\",\"level\":\"%s\",\"worker\":", ts, level_names[level]);
    buf_put_json_string(out, view_of(config.worker));
    buf_puts(out, ",\"msg\":");
    buf_put_json_string(out, text);
}

static void put_trace(struct buf *out)
{
    const struct trace_context *c = trace_current();
    if (!c || !c->set) {
        return;
    }
    buf_puts(out, config.text ? " trace_id=" : ",\"trace_id\":\"");
    buf_put_hex(out, (struct bytes){c->trace_id, sizeof c->trace_id});
    if (!config.text) {
        buf_puts(out, "\",\"span_id\":\"");
        buf_put_hex(out, (struct bytes){c->span_id, sizeof c->span_id});
        buf_putc(out, '"');
    }
}

void log_write(enum log_level level, const char *msg, const struct log_field fields[], size_t n)
{
    if (!log_enabled(level)) {
        return;
    }
    struct buf out;
    buf_init(&out, LINE_MAX_BYTES);
    put_head(&out, level, msg);
    bool cut = false;
    for (size_t i = 0; i < n; i++) {
        cut |= !put_field(&out, &fields[i]);
    }
    put_trace(&out);
    if (cut) {
        buf_puts(&out, config.text ? " cut=true" : ",\"cut\":true");
    }
    buf_puts(&out, config.text ? "\n" : "}\n");
    if (!buf_failed(&out)) {
        /* A log that cannot be written is lost: there is nobody left to tell. */
        ssize_t written = write(STDERR_FILENO, out.p, out.n);
        (void)written;
    }
    buf_deinit(&out);
}

void log_err(enum log_level level, const char *msg, const struct err *err)
{
    const struct log_field fields[] = {
        LF_STR("class", err_class_name(err->class)),
        LF_STR("code", err->code),
        LF_STR("op", err->op),
        LF_STR("text", err->text),
        LF_STR("dependency", dependency_name(err->dependency)),
    };
    log_write(level, msg, fields, ARRAY_LEN(fields) - (err->dependency == DEP_NONE));
}
