// What an answer of the Command API leads to, by its `code` and `retryable` (the table is in ops/n8n/README.md):
//   done     it did what it was asked; its body goes on
//   again    no answer, or one that says retryable: the same call with the same key after `seconds`
//   settled  nothing is left to do here, for it was decided elsewhere or is gone: people are told
//   failed   people are told what it said, or that it did not come right in all tries
const TRIES = 8; // with pauses of 5, 20, 80, 320 s and then 900 s: an hour
const PAUSE_MAX_S = 900;
const RENEWED = 4; // n8n renews its token by itself; the issuer's newest key may come to the Command API half a minute later
const SETTLED = ['already_decided', 'idempotency_conflict', 'not_found'];
const AWAY = [408, 429, 502, 503, 504]; // from a proxy in between, whose body is no problem document

function bodyOf(text) {
  try {
    const body = JSON.parse(text);
    return body !== null && typeof body === 'object' ? body : null;
  } catch {
    return null;
  }
}

function outcomeOf(status, body, tries) {
  if (status >= 200 && status < 300) return body ? 'done' : 'failed';
  if (body?.code === 'unauthenticated') return tries < RENEWED ? 'again' : 'failed';
  const again = body?.code ? body.retryable === true : !status || AWAY.includes(status);
  if (again) return tries < TRIES ? 'again' : 'failed';
  return SETTLED.includes(body?.code) ? 'settled' : 'failed';
}

// Problem documents hold no values of fields, so all of this may be shown.
function wordsOf(status, body, tries) {
  const words = [!status ? 'No answer.' : `${status}, which is no answer of the Command API.`];
  if (body?.code) {
    words[0] = `${status} ${body.code}: ${body.detail}`;
    words.push(...(body.violations ?? []).map(({ pointer, code }) => `${pointer || 'The request'}: ${code}.`));
  }
  if (tries > 1) words.push(`Tried ${tries} times.`);
  return words.join(' ');
}

const { statusCode: status, headers = {}, data } = $input.first().json;
const body = bodyOf(data);
const tries = ($runIndex % TRIES) + 1; // when all were used, what comes next is another decision of a person
const after = /^[0-9]{1,4}$/.test(headers['retry-after'] ?? '') ? Number(headers['retry-after']) : 0;
const seconds = Math.max(after, Math.min(5 * 4 ** (tries - 1), PAUSE_MAX_S));
const outcome = outcomeOf(status, body, tries);
return [{ json: { outcome, seconds, tries, code: body?.code, ...(outcome === 'done' ? { body }
  : { told: wordsOf(status, body, tries) }) } }];
