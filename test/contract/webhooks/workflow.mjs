// Runs Code nodes of an n8n workflow as they stand in its JSON (argument 1), with what n8n gives them and no more;
// argument 2 is the variable that holds the secrets.
// Each line of standard input is {"node", "secrets", "headers", "body", "now"} for the node that verifies, or
// {"node", "input", "store", "call", "run"} for the others; each line of the answer is the item and the store.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import vm from 'node:vm';

const [, , path, variable] = process.argv;
const workflow = JSON.parse(readFileSync(path, 'utf8'));
const load = createRequire(import.meta.url);
const scripts = {};
for (const node of workflow.nodes.filter((one) => one.type === 'n8n-nodes-base.code')) {
  const text = `(async function () {\n${node.parameters.jsCode}\n}).call(self)`;
  scripts[node.name] = new vm.Script(text, { filename: node.name });
}

function allowed(name) {
  if (name !== 'crypto') throw new Error(`Module '${name}' is disallowed`);
  return load(name);
}

function surroundings(line) {
  // As Node joins what came twice.
  const headers = {};
  for (const [name, value] of line.headers ?? []) {
    const key = name.toLowerCase();
    headers[key] = key in headers ? `${headers[key]}, ${value}` : value;
  }
  const raw = Buffer.from(line.body ?? '', 'base64');
  const item = line.node === 'Verify signature'
    ? { json: { headers, body: {} }, binary: raw.length ? { data: {} } : undefined } : { json: line.input };
  return {
    $input: { first: () => item, all: () => [item] },
    $env: line.secrets === null ? {} : { [variable]: (line.secrets ?? []).join(' ') },
    $: (name) => ({ first: () => ({ json: name === 'Verify signature' ? line.call : undefined }) }),
    $runIndex: line.run ?? 0,
    $getWorkflowStaticData: () => line.store,
    require: allowed,
    Buffer,
    Date: { now: () => line.now * 1000 + 999 },
    self: { helpers: { getBinaryDataBuffer: async () => raw } },
  };
}

for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  try {
    const items = await scripts[line.node].runInNewContext(surroundings(line));
    console.log(JSON.stringify({ ...items[0].json, store: line.store }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message) }));
  }
}
