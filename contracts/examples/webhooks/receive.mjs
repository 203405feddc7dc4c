#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0

// Receives Echora's webhooks (Standard Webhooks 1.0). Copy `verify`; the rest shows how it is used. Node 18.3 or later.
//
//     ECHORA_WEBHOOK_SECRETS='whsec_…' node receive.mjs PORT
//
// The secret is the sender's own: whoever runs Echora has it in a file (`ops/up`: .echora/secrets/webhook).
// While a secret is being changed, name both: `whsec_new whsec_old`.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const TOLERANCE_S = 300;
const GRAMMAR = {
  'webhook-id': /^[A-Za-z0-9_:-]{1,255}$/,
  'webhook-timestamp': /^[1-9][0-9]{0,14}$/,
  'webhook-signature': /^[^\s,]+,[^\s,]+( [^\s,]+,[^\s,]+)*$/,
};

// `why`: `headers`, `timestamp` or `signature`.
export class Refused extends Error {
  constructor(why) {
    super(why);
    this.why = why;
  }
}

function keysOf(secrets) {
  const texts = secrets.map((secret) => secret.replace(/^whsec_/, ''));
  const keys = texts.map((text) => Buffer.from(text, 'base64'));
  const right = (key, i) => key.length >= 24 && key.length <= 64 && key.toString('base64') === texts[i];
  if (keys.length === 0 || !keys.every(right)) {
    throw new Error('a secret is whsec_ and the base64 of 24 to 64 bytes');
  }
  return keys;
}

function sameText(a, b) {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

// The id of a genuine call. `headers`: request.headersDistinct; `body`: the bytes as they came, before any parsing.
export function verify(secrets, headers, body, now = Math.floor(Date.now() / 1000)) {
  const keys = keysOf(secrets);
  const [id, timestamp, signature] = Object.entries(GRAMMAR).map(([name, grammar]) => {
    const found = headers[name] ?? [];
    if (found.length !== 1 || !grammar.test(found[0])) throw new Refused('headers');
    return found[0];
  });
  if (Math.abs(now - Number(timestamp)) > TOLERANCE_S) throw new Refused('timestamp');
  let genuine = false;
  for (const key of keys) {
    // Text is compared with text: what is not the one canonical base64 of the right bytes is refused as well.
    const wanted = `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`;
    for (const given of signature.split(' ')) genuine = sameText(wanted, given) || genuine;
  }
  if (!genuine) throw new Refused('signature');
  return id;
}

// Your work. It may see an event again after a crash, so it is done such that a repeat does no harm. Leave the type
// `webhook.test` out (`echora webhook test`), and those that you do not know.
function act(event) {
  console.log(JSON.stringify(event));
}

const seen = new Set(); // the newest ids; better a table of your database, written in the transaction of your work

function receive(secrets, request, body) {
  let id;
  try {
    id = verify(secrets, request.headersDistinct, body);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    console.error(`refused: ${error.why}`);
    return 401;
  }
  if (!seen.has(id)) { // a call comes again until it was answered
    act(JSON.parse(body.toString('utf8')));
    seen.add(id);
    if (seen.size > 10000) seen.delete(seen.values().next().value);
  }
  return 202;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const secrets = (process.env.ECHORA_WEBHOOK_SECRETS ?? '').split(/\s+/).filter(Boolean);
  const port = process.argv[2] ?? '';
  if (!/^[0-9]+$/.test(port)) {
    console.error("usage: ECHORA_WEBHOOK_SECRETS='whsec_…' node receive.mjs PORT");
    process.exit(1);
  }
  try {
    keysOf(secrets);
  } catch (error) {
    console.error(`ECHORA_WEBHOOK_SECRETS: ${error.message}`);
    process.exit(1);
  }
  createServer(async (request, response) => {
    const parts = [];
    let size = 0;
    for await (const part of request) {
      size += part.length;
      if (size > 64 << 10) return response.writeHead(413, { Connection: 'close' }).end();
      parts.push(part);
    }
    return response.writeHead(receive(secrets, request, Buffer.concat(parts))).end();
  }).listen(Number(port), '127.0.0.1', () => console.error(`listening on http://127.0.0.1:${port}`));
}
