// Takes Callyard's webhooks: checks the signature, keeps each event once, answers, and works afterwards.
// WEBHOOK_SECRET=whsec_… PORT=9000 node webhook-receiver.mjs   (Node 20 or newer, nothing to install)
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const key = Buffer.from((process.env.WEBHOOK_SECRET ?? '').replace('whsec_', ''), 'base64');
if (key.length === 0) throw new Error('set WEBHOOK_SECRET');
const TOLERANCE_S = 300;
/** Ids seen. In earnest: a table with a unique column, written before the answer. */
const seen = new Set();

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

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray());
  if (!isGenuine(request.headers, body)) {
    response.writeHead(401).end();
    return;
  }
  const event = JSON.parse(body.toString());
  const isNew = !seen.has(event.id);
  seen.add(event.id);
  response.writeHead(204).end();
  if (isNew) console.log(event.type, event.call_id, event.seq, JSON.stringify(event.data));
});

server.listen(Number(process.env.PORT ?? 9000), '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
