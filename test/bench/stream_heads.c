/* Reads all that a stream holds and writes the beginning of each payload: what
 * test/bench/kit/checker.py counts. Shares no code with the product.
 *
 * usage: stream_heads NATS-URL STREAM BYTES
 * Per message, oldest first: length of the payload (32 bits, this machine's order), then its first
 * BYTES bytes, filled up with zeros. */
// SPDX-License-Identifier: Apache-2.0

#include <nats/nats.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 2000, MOST_BYTES = 256, TIMEOUT_MS = 20000 };

static void must(natsStatus s, const char *what)
{
    if (s == NATS_OK)
        return;
    fprintf(stderr, "stream_heads: %s: %s\n", what, natsStatus_GetText(s));
    exit(1);
}

static void write_head(natsMsg *msg, size_t bytes)
{
    uint32_t length = (uint32_t)natsMsg_GetDataLength(msg);
    char head[MOST_BYTES] = {0};
    memcpy(head, natsMsg_GetData(msg), length < bytes ? length : bytes);
    if (fwrite(&length, sizeof(length), 1, stdout) != 1 || fwrite(head, bytes, 1, stdout) != 1)
        must(NATS_ERR, "standard output");
}

int main(int argc, char **argv)
{
    size_t bytes = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (bytes == 0 || bytes > MOST_BYTES) {
        fputs("usage: stream_heads NATS-URL STREAM BYTES\n", stderr);
        return 2;
    }
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    must(natsConnection_ConnectTo(&nc, argv[1]), "connect");
    must(natsConnection_JetStream(&js, nc, NULL), "jetstream");
    must(js_GetStreamInfo(&info, js, argv[2], NULL, NULL), "stream");
    uint64_t left = info->State.Msgs;
    jsStreamInfo_Destroy(info);

    jsSubOptions sub_options;
    must(jsSubOptions_Init(&sub_options), "options");
    sub_options.Stream = argv[2];
    sub_options.Config.AckPolicy = js_AckNone;
    sub_options.Config.DeliverPolicy = js_DeliverAll;
    sub_options.Config.MemoryStorage = true;
    natsSubscription *sub = NULL;
    must(js_PullSubscribe(&sub, js, ">", NULL, NULL, &sub_options, NULL), "consumer");
    while (left > 0) {
        natsMsgList list = {0};
        int wanted = left < PAGE ? (int)left : PAGE;
        must(natsSubscription_Fetch(&list, sub, wanted, TIMEOUT_MS, NULL), "fetch");
        for (int i = 0; i < list.Count; i++)
            write_head(list.Msgs[i], bytes);
        left -= (uint64_t)list.Count < left ? (uint64_t)list.Count : left;
        natsMsgList_Destroy(&list);
    }
    natsSubscription_Destroy(sub);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    nats_Close();
    return fflush(stdout) == 0 ? 0 : 1;
}
