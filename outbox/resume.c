// SPDX-License-Identifier: Apache-2.0

#include "outbox/resume.h"

#define RUNBOOK "; see ops/runbooks/relay-refused.md"

static int refuse(struct err *err, const char *code, const char *text)
{
    return err_set(err, ERR_FATAL, code, "resume relay", "%s" RUNBOOK, text);
}

int resume_decide(const struct resume_facts *f, struct resume *ret, struct err *err)
{
    if (f->has_tail && !f->has_position)
        return refuse(err, "epoch-foreign", "the stream's last message is not the relay's");
    if (!f->has_batch) {
        if (f->has_tail)
            return refuse(err, "epoch-database",
                          "the stream holds batches, and the database knows of none");
        *ret = (struct resume){.stored = 0, .check = RESUME_CHECK_NONE};
        return 0;
    }
    if (f->has_tail && f->tail_batch > f->batch)
        return refuse(err, "epoch-database",
                      "the stream's last message is of a batch that the database does not know");
    if (f->last_sequence < f->start_sequence)
        return refuse(err, "epoch-stream", "the stream has fewer messages than were published");
    uint64_t stored = f->last_sequence - f->start_sequence;
    if (stored > (uint64_t)f->n_rows)
        return refuse(err, "epoch-stream", "the stream has more messages than were published");
    if (f->has_tail && (stored > 0) != (f->tail_batch == f->batch))
        return refuse(err, "epoch-stream",
                      "the stream's last message does not fit the number of messages");

    ret->stored = (int64_t)stored;
    if (stored > 0)
        ret->check = f->has_tail ? RESUME_CHECK_NTH_TAIL : RESUME_CHECK_NTH;
    else
        ret->check = f->has_tail ? RESUME_CHECK_TAIL : RESUME_CHECK_NONE;
    return 0;
}

/* Called for every row, hence no printf. */
static char *put_number(char *out, int64_t v)
{
    char digits[24];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    while (n > 0)
        *out++ = digits[--n];
    return out;
}

void position_format(int64_t batch, int64_t id, char out[static POSITION_MAX])
{
    out = put_number(out, batch);
    *out++ = ':';
    *put_number(out, id) = '\0';
}

bool position_parse(struct view text, int64_t *ret_batch, int64_t *ret_id)
{
    struct view batch;
    return view_split(&text, ':', &batch) && view_to_i64(batch, 1, INT64_MAX, ret_batch) &&
           view_to_i64(text, 1, INT64_MAX, ret_id);
}
