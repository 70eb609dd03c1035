/**
 * A bad network between one phone and our node, from a seed: loss, bursts, delay, jitter, reordering, duplicates, both
 * ways. The phone dials this address; SIP passes with the media addresses of its descriptions changed to ours, so RTP
 * and RTCP come through here. What the phone sent is kept, and what of it was lost.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { DueQueue } from './due-queue.ts';

export type Impairment = {
  readonly seed: number;
  readonly lossPct?: number;
  /** Packets lost at a time. */
  readonly burst?: number;
  /** One way; `jitterMs` is its spread (two standard deviations), order kept. */
  readonly delayMs?: number;
  readonly jitterMs?: number;
  /** Share that skips the delay and so overtakes. */
  readonly reorderPct?: number;
  readonly duplicatePct?: number;
};

/** A packet of the phone, as it came here. */
export type PassedPacket = {
  readonly sequence: number;
  readonly timestamp: number;
  readonly payloadType: number;
  readonly payload: Uint8Array;
  readonly isLost: boolean;
};

export type ImpairedPath = {
  readonly address: string;
  readonly fromPhone: readonly PassedPacket[];
  close(): void;
  [Symbol.dispose](): void;
};

type Place = { readonly address: string; readonly port: number };
type Way = { readonly judge: () => Fate; readonly queue: DueQueue };
type Fate = { readonly isLost: boolean; readonly delaysMs: readonly number[] };

const SIP_PORT = 5060;

export async function openImpairedPath(options: {
  readonly address: string;
  readonly node: string;
  readonly impairment: Impairment;
}): Promise<ImpairedPath> {
  const { address, node, impairment } = options;
  const sip = await bound(address, SIP_PORT);
  // Even and odd port of each side: RTP and RTCP.
  const sides = {
    phone: [await bound(address, 30_000), await bound(address, 30_001)],
    node: [await bound(address, 31_000), await bound(address, 31_001)],
  } as const;
  const fromPhone: PassedPacket[] = [];
  const queues: DueQueue[] = [];
  let phoneSip: Place | null = null;
  const media: Record<'phone' | 'node', Place | null> = { phone: null, node: null };

  sip.on('message', (bytes, from) => {
    const isFromNode = from.address === node;
    const text = bytes.toString('latin1');
    const described = mediaOf(text);
    if (described !== null) media[isFromNode ? 'node' : 'phone'] = described;
    // Each side is told of the socket that faces it.
    const shown = withMedia(text, address, isFromNode ? 30_000 : 31_000);
    if (!isFromNode) phoneSip = from;
    const to = isFromNode ? phoneSip : { address: node, port: SIP_PORT };
    if (to !== null) sip.send(Buffer.from(shown, 'latin1'), to.port, to.address);
  });
  for (const direction of ['phone', 'node'] as const) {
    const other = direction === 'phone' ? 'node' : 'phone';
    for (const [odd, socket] of sides[direction].entries()) {
      const way = { judge: judgeOf(impairment, direction, odd), queue: new DueQueue() };
      queues.push(way.queue);
      socket.on('message', (bytes) => {
        const to = media[other];
        if (to === null) return;
        const isLost = pass(way, () => sides[other][odd]?.send(bytes, to.port + odd, to.address));
        if (direction === 'phone' && odd === 0) fromPhone.push(packetOf(bytes, isLost));
      });
    }
  }
  const close = (): void => {
    for (const queue of queues) queue.close();
    for (const socket of [sip, ...sides.phone, ...sides.node]) socket.close();
  };
  return { address, fromPhone, close, [Symbol.dispose]: close };
}

function pass({ judge, queue }: Way, send: () => void): boolean {
  const { isLost, delaysMs } = judge();
  if (!isLost) for (const delayMs of delaysMs) queue.add(performance.now() + delayMs, send);
  return isLost;
}

/** Fates by a generator of their own for each direction, so that one does not change the other's. */
function judgeOf(impairment: Impairment, direction: 'phone' | 'node', odd: number): () => Fate {
  const { seed, lossPct = 0, burst = 1, delayMs = 0, jitterMs = 0 } = impairment;
  const { reorderPct = 0, duplicatePct = 0 } = impairment;
  const random = generator(seed * 4 + (direction === 'phone' ? 0 : 2) + odd);
  const share = lossPct / 100;
  let left = 0;
  let lastDueMs = 0;
  return () => {
    if (left > 0) left--;
    else if (random() < share / (burst - (burst - 1) * share)) left = burst;
    const nowMs = performance.now();
    const skips = random() * 100 < reorderPct;
    const swing = (jitterMs / 2) * gauss(random);
    let dueMs = nowMs + (skips ? 0 : Math.max(0, delayMs + swing));
    if (!skips) dueMs = lastDueMs = Math.max(dueMs, lastDueMs);
    const copies = random() * 100 < duplicatePct ? 2 : 1;
    return { isLost: left > 0, delaysMs: Array.from({ length: copies }, () => dueMs - nowMs) };
  };
}

function gauss(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** xorshift32: the same fates for the same seed. */
function generator(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function mediaOf(message: string): Place | null {
  const address = /^c=IN IP4 (\S+)/m.exec(message)?.[1];
  const port = /^m=audio (\d+)/m.exec(message)?.[1];
  return address === undefined || port === undefined ? null : { address, port: Number(port) };
}

function withMedia(message: string, address: string, port: number): string {
  const end = message.indexOf('\r\n\r\n');
  if (mediaOf(message) === null || end < 0) return message;
  const body = message
    .slice(end + 4)
    .replaceAll(/^c=IN IP4 \S+/gm, `c=IN IP4 ${address}`)
    .replace(/^m=audio \d+/m, `m=audio ${port}`)
    .replace(/^a=rtcp:\d+.*$/m, `a=rtcp:${port + 1}`);
  const head = message.slice(0, end).replace(/^(content-length|l) *:.*$/im, `$1: ${body.length}`);
  return `${head}\r\n\r\n${body}`;
}

function packetOf(bytes: Buffer, isLost: boolean): PassedPacket {
  return {
    sequence: bytes.readUInt16BE(2),
    timestamp: bytes.readUInt32BE(4),
    payloadType: bytes.readUInt8(1) & 0x7f,
    payload: new Uint8Array(bytes.subarray(12)),
    isLost,
  };
}

async function bound(address: string, port: number): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  // Nobody there any more (ICMP): a network drops it too.
  socket.on('error', () => undefined);
  return socket;
}
