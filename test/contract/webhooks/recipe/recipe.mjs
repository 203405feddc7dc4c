// Answers of contracts/examples/webhooks/receive.mjs (argument 1) to the cases on standard input, one line each.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { Refused, verify } = await import(pathToFileURL(process.argv[2]));

for await (const line of createInterface({ input: process.stdin })) {
  const { secrets, headers, body, now } = JSON.parse(line);
  const distinct = {};
  for (const [name, value] of headers) (distinct[name.toLowerCase()] ??= []).push(value);
  let answer = 'accepted';
  try {
    verify(secrets, distinct, Buffer.from(body, 'base64'), now);
  } catch (error) {
    answer = error instanceof Refused ? error.why : 'configuration';
  }
  console.log(answer);
}
