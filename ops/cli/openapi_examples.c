/* One example of each call and of each of its good answers. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/openapi.h"

#define UPDATE "0193a1f4-2b7c-7d1e-8f00-5a6b7c8d9e0f"
#define BATCH "0193a1f4-6c00-7a2b-9d4e-112233445566"
#define PLAN "0193a1f4-9e10-7c3d-8a5f-665544332211"
#define ANIME "0193a1f0-0000-7000-8000-000000000001"
#define KEY "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define REF(name) "artifact:sha256/" name

#define STAGES_DONE                                                                                \
    "{'1':{'done':40,'failed':0,'pending':2},'2':{'done':0,'failed':0,'pending':40},"              \
    "'3':{'done':0,'failed':0,'pending':40},'4':{'done':0,'failed':0,'pending':40},"               \
    "'5':{'done':0,'failed':0,'pending':40}}"
#define COUNTS "{'added':3,'changed':39,'removed':0}"
#define LETTER                                                                                     \
    "{'id':'ANIME_EVENTS:1700000000:catalog-updated:3','sequence':1,'stream':'ANIME_EVENTS',"      \
    "'stream_sequence':3,'consumer':'catalog-updated','subject':'anime.updated',"                  \
    "'class':'reject','code':'bad-uuid','reason':'anime_id is no UUID','fingerprint':"             \
    "'catalog-updated/bad-uuid','entity':'','deliveries':1,'hop':0,'parked':false,'size':120,"     \
    "'state':'open','attempts':0,'first_seen':'2026-01-01T00:00:00Z','failed_at':"                 \
    "'2026-01-01T01:00:00Z','worker':'catalogue-1','replay_id':''}"
#define PLANNED(action)                                                                            \
    "{'plan_id':'" PLAN "','plan':{'id':'" PLAN "','action':'" action "','state':'planned',"       \
    "'reason':'','actor':'n8n','rate':0,'canary':false,'max_failure_percent':10,'total':1,"        \
    "'waiting':1,'sent':0,'enqueued':0,'done':0,'failed':0,'discarded':0,'skipped':0,'gone':0,"    \
    "'created_at':'2026-01-01T02:00:00Z'},'sample':[" LETTER "]}"

/* With ' for ": they are many. 202: of the same call, when it is begun and not done. */
static const struct {
    const char *call, *request, *answer, *begun;
} examples[] = {
    {"check-tag", "{'source':'manami'}",
     "{'latest_tag':'2026-01','changed':true,'latest_snapshot_id':3,'artifact_url':"
     "'https://example.org/manami/2026-01.json','artifact_sha256':'" KEY "'}",
     NULL},
    {"start-incremental-run",
     "{'source':'manami','tag':'2026-01','artifact_url':'https://example.org/manami/2026-01.json',"
     "'sha256':'" KEY "','mode':'incremental','until':'review'}",
     "{'run_id':7,'snapshot_id':4}", NULL},
    {"build-diff", "{'run_id':7,'snapshot_id':4,'previous_snapshot_id':3,'accept_shrink':false}",
     "{'run_id':7,'phase':'diffed','state':'done','candidate_count':42,'entries_ref':'" REF(
         KEY) "','issues_ref':null,'changes_ref':null,'counts':" COUNTS "}",
     "{'run_id':7,'phase':'fetched','state':'running','candidate_count':0,'entries_ref':null,"
     "'issues_ref':null,'changes_ref':null,'counts':{}}"},
    {"process-stages", "{'run_id':7,'entries_ref':'" REF(KEY) "','from_stage':1}",
     "{'run_id':7,'phase':'staged','state':'done','processed_count':40,'failed_count':2,"
     "'stage_summary':" STAGES_DONE "}",
     "{'run_id':7,'phase':'diffed','state':'running','processed_count':12,'failed_count':0,"
     "'stage_summary':" STAGES_DONE "}"},
    {"build-stage6-review", "{'run_id':7,'entries_ref':'" REF(KEY) "'}",
     "{'run_id':7,'phase':'review','state':'waiting','review_ref':'" REF(
         KEY) "','alert_ref':'urn:uuid:" UPDATE "'}",
     "{'run_id':7,'phase':'staged','state':'running','review_ref':null,'alert_ref':null}"},
    {"submit-stage6-decisions",
     "{'run_id':7,'entry_decisions':[{'entry_key':'" KEY "','decision':'approve_ingest','edits':"
     "{'title':'The right one','synonyms':['One','Two']},'reason':'looked up','reviewed_by':"
     "'anna'}],'batch_rules':[{'selector':{'kind':['new'],'issues_count':{'lte':0},'year':{'gte':"
     "1990}},'decision':'send_back_to_stage','target_stage':'stage2','reviewed_by':'anna'}]}",
     "{'accepted_count':1,'rejected_count':0,'sent_back_count':12,'pending_count':27,'refused':[],"
     "'decision_batch_id':'" BATCH "'}",
     NULL},
    {"preview-stage6-batch",
     "{'run_id':7,'batch_rules':[{'selector':{'all':true},'decision':'defer','reviewed_by':"
     "'anna'}]}",
     "{'rule_matches':[{'rule':0,'decision':'defer','matched':40}],'conflicts':[],"
     "'would_remain_pending':40}",
     NULL},
    {"replay-stage", "{'run_id':7,'decision_batch_id':'" BATCH "','target_stage':'stage2'}",
     "{'run_id':7,'phase':'review','state':'waiting','replayed_count':12,'skipped_count':0,"
     "'failed_count':0}",
     "{'run_id':7,'phase':'review','state':'running','replayed_count':3,'skipped_count':0,"
     "'failed_count':0}"},
    {"ingest-approved", "{'run_id':7,'decision_batch_id':'" BATCH "'}",
     "{'run_id':7,'phase':'ingested','state':'done','ingested_count':1,'partial_count':0,"
     "'rejected_count':0}",
     "{'run_id':7,'phase':'review','state':'running','ingested_count':0,'partial_count':0,"
     "'rejected_count':0}"},
    {"finalize-run", "{'run_id':7,'force':false}", "{'final_status':'success'}", NULL},
    {"run-get", "{'run_id':7}",
     "{'run_id':7,'phase':'review','state':'waiting','goal':'review','counts':" COUNTS
     ",'stage_summary':" STAGES_DONE "}",
     NULL},
    {"run-entries", "{'run_id':7,'state':'review_pending','limit':50,'cursor':'" KEY "'}",
     "{'entries':[{'entry_key':'" KEY "','anime_id':'" ANIME
     "','stage':5,'state':'review_pending','code':null}],'next_cursor':null}",
     NULL},
    {"artifact-get", "{'sha256':'" KEY "'}", NULL, NULL},
    {"update-get", "{'event_id':'" UPDATE "'}",
     "{'anime_id':'" ANIME "','changed_fields':['title'],'risk_reasons':['title-changed'],"
     "'state':'pending','current':{'title':'Right'},'proposed':{'title':'Wrong'}}",
     NULL},
    {"update-decision",
     "{'event_id':'" UPDATE "','decision':'approve','reason':'it is so','reviewed_by':'anna'}",
     "{'state':'approved','revision':12}", NULL},
    {"dlq-list",
     "{'consumer':'catalog-updated','class':'reject','code':'bad-uuid','failed_from':"
     "'2026-01-01T00:00:00Z','state':'open','parked':false,'limit':50}",
     "{'letters':[" LETTER "],'groups':[],'next_cursor':0,'source':'index'}", NULL},
    {"dlq-show", "{'seq':1}", LETTER, NULL},
    {"dlq-replay",
     "{'filter':{'consumer':'catalog-updated','code':'bad-uuid'},'dry_run':true,'rate':10,"
     "'canary':false}",
     PLANNED("replay"), "{'plan_id':'" PLAN "'}"},
    {"dlq-discard", "{'filter':{'consumer':'catalog-updated','to_sequence':1},'dry_run':true}",
     PLANNED("discard"), "{'plan_id':'" PLAN "'}"},
    {"reconcile", "{'kind':'anime','repair':false,'rate':100,'limit':1000}", NULL,
     "{'state':'done','compared':1000,'missing':0,'stale':0,'surplus':0,'pending':0,'enqueued':0,"
     "'next_id':''}"},
};

json_t *openapi_read(const char *text)
{
    char json[4096];
    size_t n = 0;

    for (; text != NULL && text[n] != '\0' && n + 1 < sizeof(json); n++)
        json[n] = text[n] == '\'' ? '"' : text[n];
    json[n] = '\0';
    return n > 0 ? json_loads(json, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL) : NULL;
}

json_t *openapi_example_request(const struct route *route)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        if (strcmp(examples[i].call, route->call) == 0)
            return openapi_read(examples[i].request);
    }
    return NULL;
}

json_t *openapi_example_answer(const struct route *route, int status)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        if (strcmp(examples[i].call, route->call) == 0)
            return openapi_read(status == 202 ? examples[i].begun : examples[i].answer);
    }
    return NULL;
}
