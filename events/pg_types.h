/* PostgreSQL's type numbers and constants of its binary format that pg_statement.c, pg_value.c and
 * pg_array.c share. The numbers are fixed by PostgreSQL's catalogue (pg_type.dat) and never change.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

enum {
    PG_OID_BOOL = 16,
    PG_OID_BYTEA = 17,
    PG_OID_NAME = 19,
    PG_OID_INT8 = 20,
    PG_OID_INT2 = 21,
    PG_OID_INT4 = 23,
    PG_OID_TEXT = 25,
    PG_OID_OID = 26,
    PG_OID_JSON = 114,
    PG_OID_FLOAT4 = 700,
    PG_OID_FLOAT8 = 701,
    PG_OID_UNKNOWN = 705,
    PG_OID_BPCHAR = 1042,
    PG_OID_VARCHAR = 1043,
    PG_OID_TIMESTAMPTZ = 1184,
    PG_OID_UUID = 2950,
    PG_OID_JSONB = 3802,
    PG_OID_PG_SNAPSHOT = 5038,
    PG_OID_XID8 = 5069,
    PG_OID_FIRST_USER = 16384, /* enums, domains and other types of the schema */
};

#define PG_JSONB_VERSION 1
/* Length of a parameter that could not be made. */
#define PG_TOO_LARGE (-1)
#define PG_NO_MEMORY (-2)
/* 2000-01-01 in microseconds since 1970. */
#define PG_EPOCH_US (946684800LL * 1000000)
