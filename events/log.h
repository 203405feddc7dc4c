/* Structured logs: one JSON object a line on standard error (or short text on a terminal).
 *
 * Members: ts, level, worker, msg, then fields, and trace_id/span_id when a trace is current on
 * this thread. Library code does not log above debug; the loop that owns an outcome logs it once.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Before threads start. format: "json", "text" or "auto" (text on a terminal). */
void log_init(const char *worker, enum log_level least, const char *format);
bool log_enabled(enum log_level level);

enum log_field_kind { LOG_STR, LOG_VIEW, LOG_I64, LOG_F64, LOG_FLAG };
struct log_field {
    const char *name;
    enum log_field_kind kind;
    union {
        const char *s;
        struct view v;
        int64_t i;
        double f;
        bool b;
    };
};
#define LF_STR(name_, value_) ((struct log_field){.name = (name_), .kind = LOG_STR, .s = (value_)})
#define LF_VIEW(name_, value_)                                                                     \
    ((struct log_field){.name = (name_), .kind = LOG_VIEW, .v = (value_)})
#define LF_I64(name_, value_) ((struct log_field){.name = (name_), .kind = LOG_I64, .i = (value_)})
#define LF_F64(name_, value_) ((struct log_field){.name = (name_), .kind = LOG_F64, .f = (value_)})
#define LF_FLAG(name_, value_)                                                                     \
    ((struct log_field){.name = (name_), .kind = LOG_FLAG, .b = (value_)})

void log_write(enum log_level level, const char *msg, const struct log_field fields[], size_t n);
/* log_info("relay started", LF_STR("stream", name), LF_I64("rows", n)); */
/* The first element only keeps the array from being empty. */
#define LOG_AT_(level, msg, ...)                                                                   \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            const struct log_field fields_[] = {{.name = ""}, __VA_ARGS__};                        \
            const size_t n_ = sizeof(fields_) / sizeof(struct log_field) - 1;                      \
            log_write(level, msg, n_ > 0 ? fields_ + 1 : NULL, n_);                                \
        }                                                                                          \
    } while (0)
#define log_debug(msg, ...) LOG_AT_(LOG_LEVEL_DEBUG, msg, __VA_ARGS__)
#define log_info(msg, ...) LOG_AT_(LOG_LEVEL_INFO, msg, __VA_ARGS__)
#define log_warn(msg, ...) LOG_AT_(LOG_LEVEL_WARN, msg, __VA_ARGS__)
#define log_error(msg, ...) LOG_AT_(LOG_LEVEL_ERROR, msg, __VA_ARGS__)
/* Adds class, code, op, text of the error. */
void log_err(enum log_level level, const char *msg, const struct err *err);
