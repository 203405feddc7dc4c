// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/schema.h"

#include <stdio.h>

enum { PATH_SIZE = 256, BODY_MAX = 16 << 10, LEAST_MAJOR = 1, LEAST_MINOR = 16 };

bool version_is_enough(struct view version)
{
    struct view rest = version, major, minor;
    int64_t a, b;
    if (!view_split(&rest, '.', &major) || !view_split(&rest, '.', &minor) ||
        !view_to_i64(major, 0, 1000, &a) || !view_to_i64(minor, 0, 1000, &b))
        return false;
    return a > LEAST_MAJOR || (a == LEAST_MAJOR && b >= LEAST_MINOR);
}

static int fault(struct err *err, const struct qdrant *q, const char *what)
{
    return err_set_dep(err, ERR_FATAL, DEP_QDRANT, "qdrant-schema", "check collection",
                       "collection %s %s; fill a new one: `echora reindex --collection NAME`",
                       qdrant_collection(q), what);
}

static void path_of(const struct qdrant *q, const char *rest, char out[static PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "/collections/%s%s", qdrant_collection(q), rest);
}

static int create(struct qdrant *q, const struct schema *want, struct err *err)
{
    struct buf body;
    char path[PATH_SIZE];
    path_of(q, "", path);
    buf_init(&body, BODY_MAX);
    buf_puts(&body, "{\"vectors\":{");
    if (want->dimension)
        buf_printf(&body, "\"dense\":{\"size\":%zu,\"distance\":\"Cosine\",\"on_disk\":true}",
                   want->dimension);
    buf_puts(&body, "},\"sparse_vectors\":{\"bm25\":{\"modifier\":\"idf\"}},"
                    "\"on_disk_payload\":true,\"metadata\":{\"echora_schema\":\"" SCHEMA_VERSION
                    "\",\"embedding\":");
    buf_put_json_string(&body, view_of(want->model));
    buf_puts(&body, "}}");
    int rc = buf_failed(&body) ? buf_error(&body, "create collection", "the request", err)
                               : qdrant_call(q, "PUT", path, buf_view(&body), NULL, err);
    buf_deinit(&body);
    /* Another process was quicker. */
    return rc < 0 && strcmp(err->code, "http-409") == 0 ? 0 : rc;
}

static int check(struct qdrant *q, const struct schema *want, const json_t *config, struct err *err)
{
    const json_t *params = json_object_get(config, "params");
    const json_t *metadata = json_object_get(config, "metadata");
    const char *model = json_string_value(json_object_get(metadata, "embedding"));
    const char *version = json_string_value(json_object_get(metadata, "echora_schema"));
    const json_t *dense = json_object_get(json_object_get(params, "vectors"), "dense");
    const json_t *sparse = json_object_get(json_object_get(params, "sparse_vectors"), "bm25");
    const char *modifier = json_string_value(json_object_get(sparse, "modifier"));
    if (!version || strcmp(version, SCHEMA_VERSION) != 0)
        return fault(err, q, "was not made by this version of Echora");
    if (!model || strcmp(model, want->model) != 0)
        return fault(err, q, "holds vectors of another embedding provider or model");
    if ((size_t)json_integer_value(json_object_get(dense, "size")) != want->dimension)
        return fault(err, q, "has dense vectors of another dimension");
    if (!modifier || strcmp(modifier, "idf") != 0)
        return fault(err, q, "has no bm25 vector with modifier idf");
    return 0;
}

static int create_indexes(struct qdrant *q, const json_t *there, struct err *err)
{
    for (size_t i = 0; i < n_payload_fields; i++) {
        const struct payload_field *field = &payload_fields[i];
        if (!field->index || json_object_get(there, field->name))
            continue;
        char body[PATH_SIZE];
        snprintf(body, sizeof(body), "{\"field_name\":\"%s\",\"field_schema\":\"%s\"}", field->name,
                 field->index);
        if (qdrant_write(q, "PUT", "/index", view_of(body), err) < 0)
            return -1;
    }
    return 0;
}

int schema_alias(struct qdrant *q, const char *alias, char ret[static COLLECTION_NAME_MAX],
                 struct err *err)
{
    json_t *result = NULL, *row;
    size_t i;
    ret[0] = '\0';
    if (qdrant_call(q, "GET", "/aliases", (struct view){0}, &result, err) < 0)
        return -1;
    json_array_foreach(json_object_get(result, "aliases"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "alias_name"));
        const char *target = json_string_value(json_object_get(row, "collection_name"));
        if (name && target && strcmp(name, alias) == 0)
            snprintf(ret, COLLECTION_NAME_MAX, "%s", target);
    }
    json_decref(result);
    return 0;
}

static int set_alias(struct qdrant *q, const char *alias, bool anew, struct err *err)
{
    char body[3 * PATH_SIZE], first[PATH_SIZE] = "";
    if (anew)
        snprintf(first, sizeof(first), "{\"delete_alias\":{\"alias_name\":\"%s\"}},", alias);
    snprintf(body, sizeof(body),
             "{\"actions\":[%s{\"create_alias\":{\"alias_name\":\"%s\",\"collection_name\":\"%s\"}}"
             "]}",
             first, alias, qdrant_collection(q));
    return qdrant_call(q, "POST", "/collections/aliases", view_of(body), NULL, err);
}

int schema_switch(struct qdrant *q, const char *alias, struct err *err)
{
    return set_alias(q, alias, true, err);
}

static int ensure_alias(struct qdrant *q, const char *alias, struct err *err)
{
    char target[COLLECTION_NAME_MAX];
    if (schema_alias(q, alias, target, err) < 0)
        return -1;
    /* Wherever it points: a switch to a new collection is a person's decision. */
    return target[0] ? 0 : set_alias(q, alias, false, err);
}

static int check_version(struct qdrant *q, struct err *err)
{
    json_t *about = NULL;
    if (qdrant_about(q, &about, err) < 0)
        return -1;
    const char *version = json_string_value(json_object_get(about, "version"));
    bool enough = version && version_is_enough(view_of(version));
    if (!enough)
        err_set_dep(err, ERR_FATAL, DEP_QDRANT, "qdrant-version", "check version",
                    "the server says version %.40s; guarded writes need 1.16 or later",
                    version ? version : "nothing");
    json_decref(about);
    return enough ? 0 : -1;
}

int schema_exists(struct qdrant *q, bool *ret, struct err *err)
{
    char path[PATH_SIZE];
    json_t *result = NULL;
    path_of(q, "/exists", path);
    if (qdrant_call(q, "GET", path, (struct view){0}, &result, err) < 0)
        return -1;
    *ret = json_is_true(json_object_get(result, "exists"));
    json_decref(result);
    return 0;
}

int schema_ensure(struct qdrant *q, const struct schema *want, struct err *err)
{
    bool there = false;
    char path[PATH_SIZE];
    json_t *info = NULL;
    if (check_version(q, err) < 0 || schema_exists(q, &there, err) < 0 ||
        (!there && create(q, want, err) < 0))
        return -1;
    path_of(q, "", path);
    if (qdrant_call(q, "GET", path, (struct view){0}, &info, err) < 0)
        return -1;
    int rc = check(q, want, json_object_get(info, "config"), err);
    if (rc == 0)
        rc = create_indexes(q, json_object_get(info, "payload_schema"), err);
    json_decref(info);
    return rc < 0 ? rc : ensure_alias(q, want->alias, err);
}
