// Answers of the published library standardwebhooks (npm) to the calls on standard input, one line each.
// Argument 1: the folder that holds node_modules.
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');

const { Webhook } = createRequire(`${process.argv[2]}/`)('standardwebhooks');

createInterface({ input: process.stdin }).on('line', (line) => {
  const { secrets, headers, body } = JSON.parse(line);
  try {
    new Webhook(secrets[0]).verify(Buffer.from(body, 'base64').toString('utf8'), Object.fromEntries(headers));
    console.log('accepted');
  } catch (error) {
    console.log(`refused: ${error.message}`);
  }
});
