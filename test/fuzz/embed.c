/* Property: what the provider answers becomes n vectors of unit length, whose decimals are numbers
 * that Qdrant takes, or is refused as its reply. The first byte picks the interface, the number of
 * texts and the dimension. */
// SPDX-License-Identifier: Apache-2.0

#include <math.h>

#include "events/base/buf.h"
#include "test/fuzz/demand.h"
#include "workers/qdrant/embed_http.h"
#include "workers/qdrant/write.h"

enum { N_MAX = 4, DIMENSION_MAX = 8 };

static void check_vector(const float *v, size_t dimension)
{
    double squares = 0;
    for (size_t i = 0; i < dimension; i++)
        squares += (double)v[i] * (double)v[i];
    demand(fabs(squares - 1) < 1e-5, "a vector has unit length", NULL);

    struct buf text CLEANUP(buf_deinit);
    buf_init(&text, 4096);
    put_vector(&text, v, dimension);
    struct view rest = buf_view(&text), part;
    rest = (struct view){rest.p + 1, rest.n - 2};
    for (size_t i = 0; i < dimension; i++) {
        char number[32] = "", *end;
        demand(view_split(&rest, ',', &part) && part.n < sizeof(number), "one number each", NULL);
        memcpy(number, part.p, part.n);
        double written = strtod(number, &end);
        demand(*end == '\0' && fabs(written - (double)v[i]) < 1e-7, "decimals say the same", NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const apis[] = {"openai", "tei", "ollama"};
    if (n < 1)
        return 0;
    const char *api = apis[data[0] % 3];
    size_t texts = 1 + data[0] / 3 % N_MAX, dimension = 1 + data[0] / 12 % DIMENSION_MAX;
    float vectors[N_MAX * DIMENSION_MAX];
    struct err err = ERR_INIT;
    struct view reply = {(const char *)data + 1, n - 1};
    if (embed_http_parse(api, reply, texts, dimension, vectors, &err) < 0) {
        demand(err.class == ERR_REJECT && err.dependency == DEP_EMBEDDING &&
                   strcmp(err.code, "embed-reply") == 0,
               "a refusal names the provider", &err);
        return 0;
    }
    for (size_t i = 0; i < texts; i++)
        check_vector(vectors + i * dimension, dimension);
    return 0;
}
