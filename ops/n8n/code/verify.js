// Verifies a call of Echora's event adapter (Standard Webhooks 1.0) over the bytes as they came; nothing of the body is
// looked at before. The answer is 202, 401 (not genuine, or too old) or 422 (genuine, but nothing for this workflow).
// Made from ops/n8n/code/verify.js by ops/tools/n8n_workflows.py.
const { createHmac, timingSafeEqual } = require('crypto');

const TYPES = ['@TYPE@', 'webhook.test'];
const SECRETS = '@SECRETS@';
const TOLERANCE_S = 300;
const GRAMMAR = {
  'webhook-id': /^[A-Za-z0-9_:-]{1,255}$/,
  'webhook-timestamp': /^[1-9][0-9]{0,14}$/,
  // What came twice is joined with a comma and a space, and so fits none of the three.
  'webhook-signature': /^[^\s,]+,[^\s,]+( [^\s,]+,[^\s,]+)*$/,
};

// Keys of the variable: one whsec_ secret, or the new and the old one while it is being changed.
function keysOf(variable) {
  const texts = (variable ?? '').split(/\s+/).filter(Boolean).map((secret) => secret.replace(/^whsec_/, ''));
  const keys = texts.map((text) => Buffer.from(text, 'base64'));
  const right = (key, i) => key.length >= 24 && key.length <= 64 && key.toString('base64') === texts[i];
  if (keys.length === 0 || !keys.every(right)) {
    throw new Error(`Set ${SECRETS} to whsec_ secrets, and N8N_BLOCK_ENV_ACCESS_IN_NODE=false (ops/n8n/README.md)`);
  }
  return keys;
}

function sameText(a, b) {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

// What is wrong with the call, or null.
function faultOf(keys, headers, raw, now) {
  for (const [name, grammar] of Object.entries(GRAMMAR)) {
    if (typeof headers[name] !== 'string' || !grammar.test(headers[name])) return 'headers';
  }
  if (Math.abs(now - Number(headers['webhook-timestamp'])) > TOLERANCE_S) return 'timestamp';
  let genuine = false;
  for (const key of keys) {
    const signed = createHmac('sha256', key);
    signed.update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.`).update(raw);
    // Text is compared with text: what is not the one canonical base64 of the right bytes is refused as well.
    const wanted = `v1,${signed.digest('base64')}`;
    for (const given of headers['webhook-signature'].split(' ')) genuine = sameText(wanted, given) || genuine;
  }
  return genuine ? null : 'signature';
}

function judge(headers, raw, now) {
  const fault = faultOf(keysOf($env[SECRETS]), headers, raw, now);
  if (fault) return { status: 401, refused: fault };
  const text = raw.toString('utf8');
  let event;
  try {
    event = JSON.parse(text);
  } catch {
    return { status: 422, refused: 'body' };
  }
  if (event?.id !== headers['webhook-id']) return { status: 422, refused: 'id' };
  if (!TYPES.includes(event.type)) return { status: 422, refused: 'type' };
  return { status: 202, id: event.id, type: event.type, timestamp: event.timestamp, data: event.data ?? {} };
}

const call = $input.first();
const raw = call.binary?.data ? await this.helpers.getBinaryDataBuffer(0, 'data') : Buffer.alloc(0);
return [{ json: judge(call.json.headers ?? {}, raw, Math.floor(Date.now() / 1000)) }];
