/**
 * The callers of _media-ai.ts, a process of its own: COUNT calls by SIP to TARGET, each asking every six seconds, with the
 * code that the scripted model understands, and counting what it hears. Asked `call`, `count` or `bye`.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeG711, G711 } from '#lib/g711.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { everyFrame } from './_media-rounds.ts';

const [target = '', own = '', count = '0'] = process.argv.slice(2);
const SIP_PORT = 5060;
const CYCLE_FRAMES = 300;
const FRAME = 160;
/** Calls begin one after another, so that nothing but talk is measured later. */
const GAP_MS = 40;

type Caller = {
  readonly rtp: Socket;
  readonly callId: string;
  readonly packet: Buffer;
  readonly phase: number;
  toTag: string;
  port: number;
  frame: number;
  heard: number;
  lost: number;
  last: number;
};

const sip = await bound(0);
const callers: Caller[] = [];
const waiting = new Map<string, (answer: string) => void>();
let sent = 0;
sip.on('message', (bytes) => onSip(bytes.toString('latin1')));
process.on('disconnect', () => process.exit(0));
process.on('message', (message: string) => void obey(message));
const cycle = question();
process.send?.(0);

async function obey(message: string): Promise<void> {
  if (message === 'call') {
    for (let i = 0; i < Number(count); i++) {
      callers.push(await dial(i));
      await sleep(GAP_MS);
    }
    everyFrame(callers.length, (i) => speak(callers[i] as Caller));
  } else if (message === 'bye') {
    for (const caller of callers) sip.send(request(caller, 'BYE', 2, ''), SIP_PORT, target);
    await sleep(500);
  }
  const sum = (of: (caller: Caller) => number): number =>
    callers.reduce((total, caller) => total + of(caller), 0);
  process.send?.({ sent, heard: sum(({ heard }) => heard), lost: sum(({ lost }) => lost) });
}

async function bound(port: number): Promise<Socket> {
  const socket = createSocket({
    type: 'udp4',
    lookup: (host, _options, callback) => callback(null, host, 4),
  });
  const listening = once(socket, 'listening');
  socket.bind(port, own);
  await listening;
  return socket;
}

async function dial(index: number): Promise<Caller> {
  const rtp = await bound(0);
  const packet = Buffer.alloc(12 + FRAME);
  packet[0] = 0x80;
  packet.writeUInt32BE(index + 1, 8);
  const callId = `${randomBytes(8).toString('hex')}@${own}`;
  const phase = (index * 37) % CYCLE_FRAMES;
  const counts = { toTag: '', port: 0, frame: 0, heard: 0, lost: 0, last: -1 };
  const caller: Caller = { rtp, callId, packet, phase, ...counts };
  rtp.on('message', (bytes) => hear(caller, bytes));
  const sdp = [
    ...['v=0', `o=- 1 1 IN IP4 ${own}`, 's=-', `c=IN IP4 ${own}`, 't=0 0'],
    ...[`m=audio ${rtp.address().port} RTP/AVP 0`, 'a=rtpmap:0 PCMU/8000', ''],
  ].join('\r\n');
  const answered = Promise.withResolvers<string>();
  waiting.set(callId, answered.resolve);
  sip.send(request(caller, 'INVITE', 1, sdp), SIP_PORT, target);
  const answer = await Promise.race([answered.promise, sleep(10_000, '')]);
  const port = /m=audio (\d+)/.exec(answer)?.[1];
  if (port === undefined) throw new Error(`no answer: ${answer.split('\r\n')[0]}`);
  caller.toTag = /^to:.*;tag=([^\s;]+)/im.exec(answer)?.[1] ?? '';
  caller.port = Number(port);
  sip.send(request(caller, 'ACK', 1, ''), SIP_PORT, target);
  return caller;
}

function onSip(text: string): void {
  const callId = /^call-id:\s*(\S+)/im.exec(text)?.[1] ?? '';
  const status = Number(/^SIP\/2\.0 (\d+)/.exec(text)?.[1] ?? 0);
  if (status < 200 || !/^cseq:\s*1 INVITE/im.test(text)) return;
  waiting.get(callId)?.(text);
  waiting.delete(callId);
}

function request(caller: Caller, method: string, number: number, body: string): string {
  const local = `${own}:${sip.address().port}`;
  const to = caller.toTag === '' ? '' : `;tag=${caller.toTag}`;
  return [
    `${method} sip:8001@${target}:${SIP_PORT} SIP/2.0`,
    `Via: SIP/2.0/UDP ${local};branch=z9hG4bK${randomBytes(6).toString('hex')}`,
    `From: <sip:load@${own}>;tag=${caller.callId.slice(0, 8)}`,
    `To: <sip:8001@${target}>${to}`,
    `Call-ID: ${caller.callId}`,
    `CSeq: ${number} ${method}`,
    `Contact: <sip:load@${local}>`,
    'Max-Forwards: 70',
    ...(body === '' ? [] : ['Content-Type: application/sdp']),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

/** A question of the code and half a second of voice, then silence for the answer. */
function question(): Uint8Array[] {
  const code = encodeUtteranceId(1);
  const pcm = new Int16Array(CYCLE_FRAMES * FRAME);
  pcm.set(code);
  for (let i = 0; i < 4000; i++) {
    const swell = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
    pcm[code.length + i] = 6000 * swell * Math.sin((2 * Math.PI * 180 * i) / 8000);
  }
  return Array.from({ length: CYCLE_FRAMES }, (_, frame) => {
    const payload = new Uint8Array(FRAME);
    encodeG711(G711.PCMU, pcm.subarray(frame * FRAME, (frame + 1) * FRAME), payload);
    return payload;
  });
}

function speak(caller: Caller): void {
  const { packet, rtp, port, phase } = caller;
  packet.writeUInt16BE(caller.frame & 0xffff, 2);
  packet.writeUInt32BE((caller.frame * FRAME) >>> 0, 4);
  packet.set(cycle[(caller.frame + phase) % CYCLE_FRAMES] as Uint8Array, 12);
  rtp.send(packet, port, target);
  caller.frame++;
  sent++;
}

function hear(caller: Caller, bytes: Buffer): void {
  const sequence = bytes.readUInt16BE(2);
  if (caller.last >= 0) caller.lost += (sequence - caller.last - 1) & 0xffff;
  caller.last = sequence;
  caller.heard++;
}
