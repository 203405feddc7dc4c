/* Rows of texts first, for what Redis says behind a mere "ERR"; then first words. Wrong credentials
 * and rights are ERR_FATAL, as with the other servers; a server that is loading, full, a replica or
 * busy is ERR_UNAVAILABLE. The reply's text may quote keys and arguments of ours, so people are
 * told its first word and our own words, never the text. */
// SPDX-License-Identifier: Apache-2.0

#include "events/redis_error.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* The header shadows these for the static analyser. */
#undef redis_err_reply
#undef redis_err_errno

static const struct {
    const char *part; /* of the text */
    enum err_class class;
    const char *code, *meaning;
} texts[] = {
    {"max number of clients", ERR_UNAVAILABLE, "redis-maxclients", "it serves no more clients"},
    {"user executing the script can't", ERR_FATAL, "redis-noperm",
     "its user may not run a command of the script, or not on this key"},
    {"AUTH <password> called without any password", ERR_FATAL, "redis-wrongpass",
     "it knows no password for this user"},
};

static const struct {
    const char *word;
    enum err_class class;
    const char *meaning;
} words[] = {
    {"NOAUTH", ERR_FATAL, "it wants a user and a password"},
    {"WRONGPASS", ERR_FATAL, "user or password is wrong, or the user is disabled"},
    {"NOPERM", ERR_FATAL, "its user may not do this"},
    {"LOADING", ERR_UNAVAILABLE, "it is loading its data"},
    {"BUSY", ERR_UNAVAILABLE, "a script has been running for too long"},
    {"UNKILLABLE", ERR_UNAVAILABLE, "a script has been running for too long"},
    {"OOM", ERR_UNAVAILABLE, "its memory limit is reached"},
    {"MISCONF", ERR_UNAVAILABLE, "it can't write to its disk and takes no writes"},
    {"READONLY", ERR_UNAVAILABLE, "it is a replica"},
    {"MASTERDOWN", ERR_UNAVAILABLE, "it is a replica without its master"},
    {"NOREPLICAS", ERR_UNAVAILABLE, "it has too few replicas to take writes"},
    {"CLUSTERDOWN", ERR_UNAVAILABLE, "its cluster is down"},
    {"TRYAGAIN", ERR_UNAVAILABLE, "its cluster moves this key"},
    {"MOVED", ERR_FATAL, "it is a cluster, which this client does not speak"},
    {"ASK", ERR_FATAL, "it is a cluster, which this client does not speak"},
    {"WRONGTYPE", ERR_REJECT, "something else is kept under this key"},
};

static bool contains(struct view text, const char *part)
{
    return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

static struct view first_word(struct view text)
{
    struct view rest = text, word = {0};

    (void)view_split(&rest, ' ', &word);
    return word;
}

bool redis_reply_is_noscript(struct view text)
{
    return view_is(first_word(text), "NOSCRIPT");
}

static void make_code(struct view word, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "redis-");

    for (size_t i = 0; i < word.n && n + 1 < size; i++)
        if (isalnum((unsigned char)word.p[i]))
            out[n++] = (char)tolower((unsigned char)word.p[i]);
    out[n] = '\0';
}

int redis_err_reply(struct err *err, const char *op, struct view text)
{
    const struct view word = first_word(text);
    char code[24];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (contains(text, texts[i].part))
            return err_set_dep(err, texts[i].class, DEP_REDIS, texts[i].code, op, "Redis: %s",
                               texts[i].meaning);
    make_code(word, code, sizeof(code));
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (view_is(word, words[i].word))
            return err_set_dep(err, words[i].class, DEP_REDIS, code, op, "Redis: %s",
                               words[i].meaning);
    return err_set_dep(err, ERR_RETRY, DEP_REDIS, code, op, "Redis answers with an error");
}

int redis_err_errno(struct err *err, const char *op, int number)
{
    char text[96];

    switch (number) {
    case ETIMEDOUT:
    case EAGAIN: /* the timeout that was set on the socket */
    case EINPROGRESS:
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_REDIS, "redis-timeout", op,
                           "Redis did not answer in time");
    case ENOMEM:
        return err_set_dep(err, ERR_RETRY, DEP_REDIS, "no-memory", op, "out of memory");
    default:
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_REDIS, "redis-connection", op, "%s",
                           strerror_r(number, text, sizeof(text)));
    }
}
