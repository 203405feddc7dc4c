// What the form gave, as the Command API takes it: no control characters (a text area has line ends), a name of at most
// 120 bytes and a reason of at most 500. What is longer is cut, and `cut` names it, so that people can be told.
const LIMITS = { reviewed_by: 120, reason: 500 };
const cut = [];

function plain(name, text) {
  const whole = String(text ?? '').replace(/[\u0000-\u001f\u007f]+/g, ' ').trim();
  if (Buffer.byteLength(whole) <= LIMITS[name]) return whole;
  cut.push(name);
  const kept = [...whole.slice(0, LIMITS[name])];
  while (Buffer.byteLength(`${kept.join('')}…`) > LIMITS[name]) kept.pop();
  return `${kept.join('')}…`;
}

const form = $input.first().json;
const [by, reason] = [plain('reviewed_by', form['Your name']), plain('reason', form.Reason)];
return [{ json: { decision: form.Decision, cut,
  request: { decision: form.Decision, reviewed_by: by, ...(reason ? { reason } : {}) } } }];
