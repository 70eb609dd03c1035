/**
 * CPU per echoed RTP packet: the real media chain (latch, parse, jitter buffer, concealment, VAD, playout, encode, paced
 * send) against a bare echo on connected UDP sockets of the same runtime, under the same load in the same run.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { median, printResults, rounded, type BenchResult } from './_result.ts';

const CALLS = 200;
const ROUNDS = 3;
const WARM_UP_MS = 4000;
const MEASURE_MS = 6000;
const FLOOR_RATIO = 2;
const FIRST_PORT = 25_000;

type Measured = { readonly usPerPacket: number; readonly lostPct: number };

export async function run(): Promise<BenchResult[]> {
  const raw: Measured[] = [];
  const chain: Measured[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    raw.push(await measure('raw'));
    chain.push(await measure('chain'));
  }
  const rawUs = median(raw.map((each) => each.usPerPacket));
  const chainUs = median(chain.map((each) => each.usPerPacket));
  const ratio = chainUs / rawUs;
  return [
    {
      bench: 'rtp-echo',
      metric: `CPU per echoed packet, ${CALLS} calls`,
      value: rounded(chainUs),
      unit: 'us',
      against: `raw connected UDP echo: ${rounded(rawUs)} us`,
      ratio: rounded(ratio),
      floor: `ratio <= ${FLOOR_RATIO}`,
      ok: ratio <= FLOOR_RATIO && chain.every((each) => each.lostPct < 1),
    },
  ];
}

/** Loads one echo process with every call at 50 packets a second, and asks it what CPU it used meanwhile. */
async function measure(mode: 'raw' | 'chain'): Promise<Measured> {
  const phones = await Promise.all(Array.from({ length: CALLS }, openPhone));
  const ports = phones.map((phone) => phone.address().port);
  const child = fork(fileURLToPath(new URL('_rtp-echo-child.ts', import.meta.url)), [
    mode,
    String(FIRST_PORT),
    ports.join(','),
  ]);
  let heard = 0;
  for (const phone of phones) phone.on('message', () => heard++);
  try {
    await message(child);
    const load = startLoad(phones);
    await pause(WARM_UP_MS);
    const before = await ask(child);
    const [sentBefore, heardBefore] = [load.sent(), heard];
    await pause(MEASURE_MS);
    const cpuUs = (await ask(child)) - before;
    const [sent, back] = [load.sent() - sentBefore, heard - heardBefore];
    load.stop();
    return { usPerPacket: cpuUs / back, lostPct: Math.max(0, 100 - (100 * back) / sent) };
  } finally {
    child.kill('SIGKILL');
    for (const phone of phones) phone.close();
  }
}

async function openPhone(): Promise<Socket> {
  const socket = createSocket({
    type: 'udp4',
    lookup: (host, _options, callback) => callback(null, host, 4),
  });
  // With a resolver that answers at once, 'listening' comes before bind() returns.
  const listening = once(socket, 'listening');
  socket.bind(0, '127.0.0.1');
  await listening;
  return socket;
}

/** 50 packets a second for each phone. Phones keep no common time, so each millisecond has a twentieth of them. */
function startLoad(phones: readonly Socket[]): { sent: () => number; stop: () => void } {
  let sent = 0;
  let slot = 0;
  let timer: NodeJS.Timeout | undefined;
  const startMs = performance.now();
  const packets = phones.map((_, i) => rtpPacket(i));
  const step = (): void => {
    while (startMs + slot <= performance.now()) {
      for (let i = slot % 20; i < phones.length; i += 20) {
        const packet = packets[i];
        if (packet === undefined) continue;
        advance(packet);
        phones[i]?.send(packet, FIRST_PORT + 2 * i, '127.0.0.1');
        sent++;
      }
      slot++;
    }
    timer = setTimeout(step, Math.max(0, startMs + slot - performance.now()));
  };
  step();
  return { sent: () => sent, stop: () => clearTimeout(timer) };
}

/** A packet of mu-law codes that look like speech to a detector: loud and quiet by turns. */
function rtpPacket(ssrc: number): Buffer {
  const packet = Buffer.alloc(172);
  packet[0] = 0x80;
  packet.writeUInt32BE(ssrc + 1, 8);
  return packet;
}

function advance(packet: Buffer): void {
  const sequence = (packet.readUInt16BE(2) + 1) & 0xffff;
  packet.writeUInt16BE(sequence, 2);
  packet.writeUInt32BE((packet.readUInt32BE(4) + 160) >>> 0, 4);
  const isLoud = sequence % 100 < 50;
  for (let i = 12; i < 172; i++) packet[i] = isLoud ? (i * 37 + sequence * 11) & 0xff : 0xff;
}

async function ask(child: ChildProcess): Promise<number> {
  child.send('cpu');
  return await message(child);
}

async function message(child: ChildProcess): Promise<number> {
  const [value] = (await once(child, 'message', { signal: AbortSignal.timeout(10_000) })) as [
    unknown,
  ];
  return Number(value);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

if (import.meta.main) printResults(await run());
