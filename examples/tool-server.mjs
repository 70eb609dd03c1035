// A server for an agent's functions: checks the signature, does each order once, answers.
// TOOL_SECRET=whsec_… PORT=9100 node tool-server.mjs   (Node 20 or newer, nothing to install)
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const key = Buffer.from((process.env.TOOL_SECRET ?? '').replace('whsec_', ''), 'base64');
if (key.length === 0) throw new Error('set TOOL_SECRET');
const TOLERANCE_S = 300;
/** Answers by order. In earnest: a table with a unique column, written in the transaction of the order. */
const answers = new Map();

/** What the agent may ask for, by name. */
const tools = {
  async book_table({ guests, time }, { caller_phone: phone }) {
    if (guests > 12) return { status: 422, body: { error: 'at most twelve guests' } };
    console.log('booked', guests, time, phone);
    return { status: 200, body: { booked: true, table: 7, time } };
  },
};

function isGenuine(headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': all = '' } = headers;
  // An old request that somebody recorded is not taken again.
  if (!(Math.abs(Date.now() / 1000 - Number(time)) <= TOLERANCE_S)) return false;
  // The bytes as they came: parsed and written again they could be others.
  const expected = createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest();
  // During a rotation there are two signatures, separated by a space.
  return all.split(' ').some((each) => {
    const given = Buffer.from(each.slice('v1,'.length), 'base64');
    const isLong = each.startsWith('v1,') && given.length === expected.length;
    return isLong && timingSafeEqual(given, expected);
  });
}

/** The same order gets the same answer, also while the first one is still at work. */
function answerTo({ id, name, arguments: given, call }) {
  const known = answers.get(id);
  if (known !== undefined) return known;
  const tool = Object.hasOwn(tools, name) ? tools[name] : null;
  const unknown = { status: 404, body: { error: `there is no ${name}` } };
  const answer = tool === null ? Promise.resolve(unknown) : tool(given, call);
  answers.set(id, answer);
  return answer;
}

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray());
  if (!isGenuine(request.headers, body)) {
    response.writeHead(401).end();
    return;
  }
  const { status, body: answer } = await answerTo(JSON.parse(body.toString()));
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer));
});

server.listen(Number(process.env.PORT ?? 9100), '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
