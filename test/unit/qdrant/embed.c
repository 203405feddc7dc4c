/* The hash embedding is a fixed function of the text; HTTP replies are refused when they are wrong.
 */
// SPDX-License-Identifier: Apache-2.0

#include <math.h>

#include "test/unit/check.h"
#include "workers/qdrant/embed_hash.h"
#include "workers/qdrant/embed_http.h"

static struct feature_table *table;

static void embed(const char *title, const char *tag, float *vector)
{
    struct err err = ERR_INIT;
    struct text_part parts[] = {{TEXT_TITLE, view_of(title)}, {TEXT_TAG, view_of(tag)}};
    CHECK(hash_embed(table, parts, *tag ? 2 : 1, vector, &err) == 0);
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < HASH_DIMENSION; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void test_near_and_far(void)
{
    float a[HASH_DIMENSION], b[HASH_DIMENSION], c[HASH_DIMENSION], d[HASH_DIMENSION];
    embed("Fullmetal Alchemist", "", a);
    embed("ＦＵＬＬＭＥＴＡＬ  ALCHEMIST!", "", b); /* full width, case, punctuation fold away */
    embed("Full-metal Alchemist: Brotherhood", "", c);
    embed("Cowboy Bebop", "", d);
    CHECK(fabs(dot(a, a) - 1) < 1e-6);
    CHECK(dot(a, b) > 0.999999);
    CHECK(dot(a, c) > 0.3 && dot(a, c) < 0.95);
    CHECK(fabs(dot(a, d)) < 0.2);
}

static void test_empty_is_the_first_axis(void)
{
    float v[HASH_DIMENSION];
    struct err err = ERR_INIT;
    CHECK(hash_embed(table, NULL, 0, v, &err) == 0);
    CHECK(v[0] == 1 && dot(v, v) == 1);
    embed("!!! ...", "", v);
    CHECK(v[0] == 1 && dot(v, v) == 1);
}

/* Fixed once: points already stored must stay comparable with new ones. */
static void test_bits_are_fixed(void)
{
    float v[HASH_DIMENSION];
    uint32_t sum = 0;
    embed("鋼の錬金術師 Hagane no Renkinjutsushi", "adventure", v);
    for (size_t i = 0; i < HASH_DIMENSION; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof(bits));
        sum = (sum << 5 | sum >> 27) ^ bits;
    }
    CHECK_EQ_INT(sum, 2048661419);
}

/* A soft hyphen is ignored, but sends the text the long way. */
static void test_ascii_folds_as_any_text(void)
{
    char plain[1 << 7] = "", hyphened[sizeof(plain) + 2];
    float a[HASH_DIMENSION], b[HASH_DIMENSION];
    for (char c = 1; c < 127; c++)
        plain[c - 1] = c;
    snprintf(hyphened, sizeof(hyphened), "%s\u00ad", plain);
    embed(plain, plain, a);
    embed(hyphened, hyphened, b);
    CHECK(memcmp(a, b, sizeof(a)) == 0);
    embed("A Tale of TWO Cities", "Sci-Fi", a);
    embed("A Tale of TWO Ci\u00adties", "Sci-\u00adFi", b);
    CHECK(memcmp(a, b, sizeof(a)) == 0);
}

static void test_long_texts_end(void)
{
    static char text[400000];
    float v[HASH_DIMENSION];
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = (char)('a' + (i * i / 7 + i / 13) % 26);
    embed(text, "", v);
    CHECK(fabs(dot(v, v) - 1) < 1e-6);
}

static const struct {
    const char *what, *api, *reply;
    bool good;
} replies[] = {
    {"openai", "openai",
     "{\"data\":[{\"index\":1,\"embedding\":[0,2]},{\"index\":0,\"embedding\":[3,4]}]}", true},
    {"tei", "tei", "[[3,4],[0,2]]", true},
    {"ollama", "ollama", "{\"embeddings\":[[3,4],[0,2]]}", true},
    {"more than a float holds", "tei", "[[3e39,4e39],[0,2e39]]", true},
    {"less than a float holds", "tei", "[[3e-60,4e-60],[0,2e-60]]", true},
    {"less than a square holds", "tei", "[[3e-160,4e-160],[0,2e-160]]", false},
    {"beyond a float", "tei", "[[3e150,4e150],[0,2e-150]]", true},
    {"one missing", "tei", "[[3,4]]", false},
    {"same index twice", "openai",
     "{\"data\":[{\"index\":0,\"embedding\":[0,2]},{\"index\":0,\"embedding\":[3,4]}]}", false},
    {"index out of range", "openai",
     "{\"data\":[{\"index\":2,\"embedding\":[0,2]},{\"index\":0,\"embedding\":[3,4]}]}", false},
    {"wrong dimension", "tei", "[[3,4],[0,2,1]]", false},
    {"text in a vector", "tei", "[[3,4],[0,\"2\"]]", false},
    {"null in a vector", "tei", "[[3,4],[0,null]]", false},
    {"not finite", "tei", "[[3,4],[1e300,1e300]]", false},
    {"zero", "tei", "[[3,4],[0,0]]", false},
    {"no JSON", "tei", "<html>", false},
    {"an error", "ollama", "{\"error\":\"model not found\"}", false},
};

static void test_replies(void)
{
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        float v[4] = {0};
        struct err err = ERR_INIT;
        int rc = embed_http_parse(replies[i].api, view_of(replies[i].reply), 2, 2, v, &err);
        CHECK_ROW((rc == 0) == replies[i].good, replies[i].what);
        if (rc == 0)
            CHECK_ROW(fabsf(v[0] - 0.6f) < 1e-6f && fabsf(v[1] - 0.8f) < 1e-6f && v[2] == 0 &&
                          v[3] == 1,
                      replies[i].what);
        else
            CHECK_ROW(strcmp(err.code, "embed-reply") == 0, replies[i].what);
    }
}

int main(void)
{
    table = feature_table_new();
    RUN(test_near_and_far);
    RUN(test_empty_is_the_first_axis);
    RUN(test_bits_are_fixed);
    RUN(test_ascii_folds_as_any_text);
    RUN(test_long_texts_end);
    RUN(test_replies);
    table = feature_table_free(table);
    return check_result();
}
