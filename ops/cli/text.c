// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/text.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "events/base/clock.h"

void age_text(double seconds, char out[static AGE_TEXT])
{
    if (seconds < 120)
        (void)snprintf(out, AGE_TEXT, "%.1f s", seconds);
    else if (seconds < 7200)
        (void)snprintf(out, AGE_TEXT, "%.0f min", seconds / 60);
    else if (seconds < 172800)
        (void)snprintf(out, AGE_TEXT, "%.0f h", seconds / 3600);
    else
        (void)snprintf(out, AGE_TEXT, "%.0f d", seconds / 86400);
}

void time_text(int64_t wall_us_then, char out[static TIME_TEXT])
{
    char full[RFC3339_MAX];

    rfc3339_format(wall_us_then / 1000000, 0, full);
    if (wall_us_then / 86400000000 == wall_us() / 86400000000)
        (void)snprintf(out, TIME_TEXT, "%.8s", full + 11);
    else
        (void)snprintf(out, TIME_TEXT, "%.10s %.8s", full, full + 11);
}

void text_plain(char *text, size_t n)
{
    unsigned char *c = (unsigned char *)text;

    for (size_t i = 0; i < n; i++) {
        if (c[i] < ' ' || c[i] == 0x7f)
            c[i] = '?';
        else if (c[i] == 0xc2 && i + 1 < n && c[i + 1] >= 0x80 && c[i + 1] < 0xa0)
            c[i] = c[i + 1] = '?';
    }
}

void print_json(const json_t *document, bool compact)
{
    char *text = json_dumps(document, JSON_ENCODE_ANY | (compact ? JSON_COMPACT : JSON_INDENT(2)));

    printf("%s\n", text ? text : "null");
    free(text);
}

void json_put(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value ? value : json_null());
}

const char *login_name(void)
{
    const struct passwd *user = getpwuid(getuid());

    return user ? user->pw_name : "unknown";
}

json_t *json_uuid(struct uuid id)
{
    char text[UUID_TEXT];

    uuid_format(id, text);
    return json_string(text);
}
