/* contracts.validate: the checks that a published event meets, for publishers without our C.
 *
 * The body is what would be published, the header Echora-Subject says where. A payload that does
 * not parse is answered as a fault, too: the caller asked whether it would be taken. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "contracts/field.h"
#include "contracts/gen/ops.pb-c.h"
#include "contracts/json.h"
#include "contracts/validate.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "workers/catalogue/requests.h"

typedef Echora__Ops__V1__ContractsValidateReply Reply;
typedef Echora__Ops__V1__Fault Fault;

enum { MOST_FAULTS = 200 };

struct collecting {
    struct arena *arena;
    Reply *reply;
    bool failed;
};

static void collect(void *context, const struct fault *fault)
{
    struct collecting *c = context;
    if (c->failed || c->reply->n_faults == MOST_FAULTS)
        return;
    Fault *f = (Fault *)message_new(&echora__ops__v1__fault__descriptor, c->arena);
    if (f) {
        f->code = arena_strdup(c->arena, view_of(fault->code));
        f->path = arena_strdup(c->arena, view_of(fault->path));
        f->rule = arena_strdup(c->arena, view_of(fault->text));
        f->kind = arena_strdup(c->arena, view_of(fault->kind));
    }
    if (!f || !f->code || !f->path || !f->rule || !f->kind)
        c->failed = true;
    else
        c->reply->faults[c->reply->n_faults++] = f;
}

static int decode(const struct request *request, const struct subject_def *def,
                  ProtobufCMessage **ret, struct err *err)
{
    const char *type = request_header(request, "Content-Type");
    if (type && strcmp(type, "application/json") == 0)
        return json_decode(def->message, view_of_bytes(request->payload), request->arena, ret, err);
    return wire_decode(def->message, request->payload, WIRE_DECODE_MAX_DEFAULT, request->arena, ret,
                       err);
}

int answer_contracts_validate(void *context, const struct request *request,
                              ProtobufCMessage **ret_reply, struct err *err)
{
    const char *subject = request_header(request, "Echora-Subject");
    if (!subject)
        return err_set(err, ERR_REJECT, "missing-header", "read request",
                       "the header Echora-Subject says which subject to validate for");
    const struct subject_def *def = registry_subject(view_of(subject));
    if (!def || def->kind != SUBJECT_EVENT || !def->message)
        return err_set(err, ERR_REJECT, "unknown-subject", "read request",
                       "no event is published on the subject in Echora-Subject");

    struct collecting c = {.arena = request->arena};
    c.reply = (Reply *)message_new(&echora__ops__v1__contracts_validate_reply__descriptor,
                                   request->arena);
    Fault **faults = arena_array(request->arena, MOST_FAULTS, sizeof(*faults));
    if (!c.reply || !faults)
        return err_set(err, ERR_RETRY, "no-memory", "validate", "arena is full");
    c.reply->faults = faults;

    ProtobufCMessage *message;
    struct err why = ERR_INIT;
    if (decode(request, def, &message, &why) < 0) {
        if (why.class != ERR_REJECT) {
            *err = why;
            return -1;
        }
        struct fault fault = {.code = why.code, .kind = "payload"};
        snprintf(fault.text, sizeof(fault.text), "%.*s", (int)sizeof(fault.text) - 1, why.text);
        collect(&c, &fault);
    } else {
        validate_event(def, message, wall_us(), collect, &c);
    }
    if (c.failed)
        return err_set(err, ERR_RETRY, "no-memory", "validate", "arena is full");
    *ret_reply = &c.reply->base;
    return 0;
}
