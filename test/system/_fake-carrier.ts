/** A carrier that takes every call and keeps it until BYE: enough of a user agent server for tests of the HTTP side. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { atEnd } from './_store.ts';

export type FakeCarrier = {
  /** For CALLYARD_TRUNK. */
  readonly trunk: string;
  readonly port: number;
  /** Request methods in the order they came, without retransmissions. */
  readonly requests: readonly { readonly method: string; readonly uri: string }[];
};

/** Numbers that end in 99 are busy (486); every other one answers. */
export async function startFakeCarrier(t: TestContext): Promise<FakeCarrier> {
  const socket = createSocket('udp4');
  const requests: { method: string; uri: string }[] = [];
  const seen = new Set<string>();
  socket.on('message', (bytes, from) => {
    const text = bytes.toString('utf8');
    const [method = '', uri = ''] = text.split(' ', 2);
    if (method.startsWith('SIP/')) return;
    const lines = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n');
    const branch = lines.find((line) => /^via:/i.test(line)) ?? '';
    if (!seen.has(method + branch)) requests.push({ method, uri });
    seen.add(method + branch);
    if (method === 'ACK') return;
    const isBusy = method === 'INVITE' && /99@/.test(uri);
    socket.send(answerTo(method, lines, isBusy, socket.address().port), from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  atEnd(t, () => {
    socket.close();
  });
  const { port } = socket.address();
  return { trunk: `sip:127.0.0.1:${port};transport=udp`, port, requests };
}

function answerTo(method: string, lines: readonly string[], isBusy: boolean, port: number): string {
  const to = lines.find((line) => /^to:/i.test(line)) ?? 'To: <sip:nobody>';
  const isOffer = method === 'INVITE' && !isBusy;
  const body = isOffer
    ? [
        'v=0',
        'o=- 1 1 IN IP4 127.0.0.1',
        's=-',
        'c=IN IP4 127.0.0.1',
        't=0 0',
        'm=audio 9 RTP/AVP 8',
        '',
      ].join('\r\n')
    : '';
  return [
    isBusy ? 'SIP/2.0 486 Busy Here' : 'SIP/2.0 200 OK',
    ...lines.filter((line) => /^(?:via|from|call-id|cseq|record-route):/i.test(line)),
    to.includes('tag=') ? to : `${to};tag=carrier`,
    ...(isOffer
      ? [`Contact: <sip:carrier@127.0.0.1:${port}>`, 'Content-Type: application/sdp']
      : []),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}
