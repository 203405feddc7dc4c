/* Relations between works: from the keys that publishers write to the types that we know. Inverses
 * stand in the table catalog.edge_type. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

/* The name without prefix ("SIDE_STORY") that a key of related_anime means. Case, spaces, dashes
 * and the enum's prefix don't matter. "" , "RELATED" and "UNSPECIFIED" leave the kind open; a key
 * that is not known is OTHER (the key itself is kept). */
const char *relation_type(struct view key);
/* The same for related_source_material. */
const char *material_relation_type(struct view key);
