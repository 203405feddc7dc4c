/* Features are words, pairs of neighbouring words and the 3- to 5-letter pieces of "^word$"; tags,
 * genres and demographics count whole. Each is told apart by its text's field. Occurrences are
 * counted first, because a feature's weight grows with the logarithm of its count. Two independent
 * hashes of a feature choose its slot and its sign. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/embed_hash.h"

#include <math.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "events/base/hash.h"

enum {
    TABLE_SIZE = 1 << 15, /* a power of two */
    FEATURES_MAX = TABLE_SIZE / 2,
    COUNT_MAX = 63,
    WORD_MAX = 256,  /* bytes; what is longer is split */
    WHOLE_MAX = 518, /* bytes of a tag that count; what is behind them does not */
    SHORTEST_PIECE = 3,
    LONGEST_PIECE = 5,
    SLOT_SEED = 0x51,
    SIGN_SEED = 0x52,
};

/* 256 * (1 + ln count), rounded. */
static const int16_t count_weight[COUNT_MAX + 1] = {
    0,    256,  433,  537,  611,  668,  715,  754,  788,  818,  845,  870,  892,  913,  932,  949,
    966,  981,  996,  1010, 1023, 1035, 1047, 1059, 1070, 1080, 1090, 1100, 1109, 1118, 1127, 1135,
    1143, 1151, 1159, 1166, 1173, 1180, 1187, 1194, 1200, 1207, 1213, 1219, 1225, 1231, 1236, 1242,
    1247, 1252, 1257, 1263, 1268, 1272, 1277, 1282, 1286, 1291, 1295, 1300, 1304, 1308, 1313, 1317,
};
static const int8_t field_weight[N_TEXT_FIELDS] = {
    [TEXT_TITLE] = 8, [TEXT_SYNOPSIS] = 1, [TEXT_TAG] = 3, [TEXT_GENRE] = 5, [TEXT_DEMOGRAPHIC] = 3,
};
enum { WORD_WEIGHT = 4, PAIR_WEIGHT = 4, PIECE_WEIGHT = 1, WHOLE_WEIGHT = 6 };

struct feature {
    uint64_t hash;
    uint32_t generation; /* of the text that it belongs to; others are free slots */
    uint8_t count;
    uint8_t weight;
    bool negative;
};

struct feature_table {
    struct feature slots[TABLE_SIZE];
    uint16_t used[FEATURES_MAX]; /* slots of this text */
    unsigned n_used;
    uint32_t generation;
};

struct feature_table *feature_table_new(void)
{
    return calloc(1, sizeof(struct feature_table));
}

struct feature_table *feature_table_free(struct feature_table *t)
{
    free(t);
    return NULL;
}

/* A feature's key: what it is, the field, the text. Both hashes of it, as far as it is read. */
struct key {
    uint64_t slot, sign;
};

static struct key key_add(struct key k, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        k.slot = hash64_byte(k.slot, (uint8_t)p[i]);
        k.sign = hash64_byte(k.sign, (uint8_t)p[i]);
    }
    return k;
}

static struct key key_start(char what, enum text_field field)
{
    const char head[] = {what, (char)('0' + field)};
    return key_add((struct key){hash64_begin(SLOT_SEED), hash64_begin(SIGN_SEED)}, head,
                   sizeof(head));
}

static void count_key(struct feature_table *t, struct key key, unsigned weight)
{
    uint64_t hash = hash64_end(key.slot);
    for (size_t i = hash >> 40 & (TABLE_SIZE - 1);; i = (i + 1) & (TABLE_SIZE - 1)) {
        struct feature *f = &t->slots[i];
        if (f->generation != t->generation) {
            if (t->n_used == FEATURES_MAX)
                return; /* a very long text: what came first counts */
            *f = (struct feature){hash, t->generation, 1, (uint8_t)weight,
                                  hash64_end(key.sign) >> 63};
            t->used[t->n_used++] = (uint16_t)i;
            return;
        }
        if (f->hash == hash) {
            f->count = (uint8_t)(f->count < COUNT_MAX ? f->count + 1 : COUNT_MAX);
            return;
        }
    }
}

/* Shorter pieces first; a longer one adds a letter to the shorter one from the same letter. */
static void count_pieces(struct feature_table *t, enum text_field field, struct view word)
{
    char marked[WORD_MAX + 2];
    uint16_t starts[WORD_MAX + 3];
    struct key keys[WORD_MAX + 2];
    unsigned letters = 0;
    size_t n = word.n + 2;
    marked[0] = '^';
    memcpy(marked + 1, word.p, word.n);
    marked[n - 1] = '$';
    for (size_t i = 0; i < n; i++) {
        if (((unsigned char)marked[i] & 0xc0) != 0x80)
            starts[letters++] = (uint16_t)i;
    }
    starts[letters] = (uint16_t)n;
    const struct key start = key_start('p', field);
    for (unsigned i = 0; i + SHORTEST_PIECE <= letters; i++) {
        const unsigned last = starts[i + SHORTEST_PIECE - 1];
        keys[i] = key_add(start, marked + starts[i], last - (size_t)starts[i]);
    }
    for (unsigned length = SHORTEST_PIECE; length <= LONGEST_PIECE; length++) {
        for (unsigned i = 0; i + length <= letters; i++) {
            const unsigned last = starts[i + length - 1];
            keys[i] = key_add(keys[i], marked + last, starts[i + length] - (size_t)last);
            count_key(t, keys[i], PIECE_WEIGHT * (unsigned)field_weight[field]);
        }
    }
}

static void count_word(struct feature_table *t, enum text_field field, struct view word,
                       struct view before)
{
    count_key(t, key_add(key_start('w', field), word.p, word.n),
              WORD_WEIGHT * (unsigned)field_weight[field]);
    if (before.n) {
        struct key k = key_add(key_start('b', field), before.p, before.n);
        k = key_add(k, " ", 1);
        count_key(t, key_add(k, word.p, word.n), PAIR_WEIGHT * (unsigned)field_weight[field]);
    }
    count_pieces(t, field, word);
}

static bool is_word_character(utf8proc_int32_t c)
{
    if (c < 0x80) /* what the tables say, too */
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

/* text is canonical. */
static void count_words(struct feature_table *t, enum text_field field, struct view text)
{
    struct view word = {text.p, 0}, before = {NULL, 0};
    for (size_t i = 0; i <= text.n;) {
        utf8proc_int32_t c = ' ';
        utf8proc_ssize_t size = 1;
        if (i < text.n && (unsigned char)text.p[i] < 0x80) {
            c = (unsigned char)text.p[i];
        } else if (i < text.n) {
            size = utf8proc_iterate((const utf8proc_uint8_t *)text.p + i,
                                    (utf8proc_ssize_t)(text.n - i), &c);
            if (size <= 0) {
                size = 1;
                c = ' ';
            }
        }
        bool inside = i < text.n && is_word_character(c);
        if (inside && word.n + (size_t)size <= WORD_MAX) {
            word.n += (size_t)size;
            i += (size_t)size;
            continue;
        }
        if (word.n) {
            count_word(t, field, word, before);
            before = word;
        }
        if (!inside)
            i += (size_t)size;
        word = (struct view){text.p + i, 0};
    }
}

static void count_whole(struct feature_table *t, enum text_field field, struct view text)
{
    const size_t n = text.n < WHOLE_MAX ? text.n : WHOLE_MAX;
    count_key(t, key_add(key_start('t', field), text.p, n),
              WHOLE_WEIGHT * (unsigned)field_weight[field]);
}

/* What utf8proc_map would say, which takes a fifth of an event's whole time for it. */
static bool fold_ascii(struct view text, utf8proc_uint8_t **ret)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] >= 0x80)
            return false;
    }
    utf8proc_uint8_t *out = malloc(text.n + 1);
    for (size_t i = 0; out != NULL && i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i];
        out[i] = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
    }
    *ret = out;
    return true;
}

/* The length of *ret, which is to be freed; UTF8PROC_ERROR_NOMEM, or another error: no text. */
static utf8proc_ssize_t fold(struct view text, utf8proc_uint8_t **ret)
{
    if (fold_ascii(text, ret))
        return *ret != NULL ? (utf8proc_ssize_t)text.n : UTF8PROC_ERROR_NOMEM;
    return utf8proc_map((const utf8proc_uint8_t *)text.p, (utf8proc_ssize_t)text.n, ret,
                        UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                            UTF8PROC_IGNORE);
}

static int count_part(struct feature_table *t, const struct text_part *part, struct err *err)
{
    utf8proc_uint8_t *folded = NULL;
    utf8proc_ssize_t n = fold(part->text, &folded);
    if (n == UTF8PROC_ERROR_NOMEM)
        return err_set(err, ERR_RETRY, "no-memory", "embed text", "no memory to fold a text");
    if (n < 0)
        return 0; /* no text: it has no features */
    struct view text = {(const char *)folded, (size_t)n};
    if (part->field == TEXT_TITLE || part->field == TEXT_SYNOPSIS)
        count_words(t, part->field, text);
    else
        count_whole(t, part->field, view_trim(text));
    free(folded);
    return 0;
}

int hash_embed(struct feature_table *t, const struct text_part parts[], size_t n,
               float vector[static HASH_DIMENSION], struct err *err)
{
    t->n_used = 0;
    if (++t->generation == 0) { /* once in four billion texts */
        memset(t->slots, 0, sizeof(t->slots));
        t->generation = 1;
    }
    for (size_t i = 0; i < n; i++) {
        if (count_part(t, &parts[i], err) < 0)
            return -1;
    }
    int64_t sums[HASH_DIMENSION] = {0};
    for (unsigned i = 0; i < t->n_used; i++) {
        const struct feature *f = &t->slots[t->used[i]];
        int64_t amount = (int64_t)f->weight * count_weight[f->count];
        sums[f->hash & (HASH_DIMENSION - 1)] += f->negative ? -amount : amount;
    }
    /* Below 2^14 features of below 2^19 each: squares and their sum fit 128 bits exactly. */
    unsigned __int128 squares = 0;
    for (size_t i = 0; i < HASH_DIMENSION; i++)
        squares += (unsigned __int128)(sums[i] * sums[i]);
    if (squares == 0) {
        memset(vector, 0, HASH_DIMENSION * sizeof(*vector));
        vector[0] = 1;
        return 0;
    }
    double norm = sqrt((double)squares);
    for (size_t i = 0; i < HASH_DIMENSION; i++)
        vector[i] = (float)((double)sums[i] / norm);
    return 0;
}
