/**
 * The process that _media-memory.ts weighs: a media engine whose calls speak, hear, record and are listened to as an
 * agent's are. `open N` brings the calls to N, `weigh` answers with its resident memory in bytes.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaSession } from '#media/types.ts';

const MAX_CALLS = 300;
const FRAME = 160;
/** Speech for half of the time: 2 s of it, then 2 s of silence. */
const TALK_FRAMES = 100;

const folder = mkdtempSync(join(tmpdir(), 'callyard-memory-'));
const rtpPorts = { first: 27_000, last: 27_000 + 2 * MAX_CALLS + 1 };
const engine = createMediaEngine({ rtpPorts, log: silentLog });
const ports = (process.argv[2] ?? '').split(',').map(Number);
const sessions: MediaSession[] = [];
const heard = new Int16Array(FRAME);
const speech = Int16Array.from({ length: FRAME * 5 }, (_, i) => 6000 * Math.sin(i / 3));
let utterance = 0;

process.on('disconnect', () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});
process.on('message', (message: string) => void obey(message));
await engine.ready();
listen();
speak();
process.send?.(0);

async function obey(message: string): Promise<void> {
  const [what, count] = message.split(' ');
  if (what === 'open') while (sessions.length < Number(count)) await open(sessions.length);
  globalThis.gc?.();
  await sleep(50);
  process.send?.(process.memoryUsage.rss());
}

async function open(index: number): Promise<void> {
  const session = await engine.open({
    ...{ callId: `memory-${index}`, localAddress: '127.0.0.1' },
    recordingPath: join(folder, `${index}.wav`),
    ...{ firstRtpTimeoutMs: 600_000, rtpTimeoutMs: 600_000 },
  });
  session.onEvent(() => undefined);
  session.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
    ...{ remoteAddress: '127.0.0.1', remotePort: ports[(session.localPort - 27_000) / 2] ?? 9 },
    ...{ send: true, receive: true },
  });
  session.armBargeIn(false);
  sessions.push(session);
}

function listen(): void {
  for (const session of sessions) while (session.readCaller(heard) > 0);
  setTimeout(listen, 20);
}

function speak(): void {
  utterance++;
  for (const session of sessions) void say(session, utterance);
  setTimeout(speak, 20 * 2 * TALK_FRAMES);
}

async function say(session: MediaSession, number: number): Promise<void> {
  session.beginUtterance(number);
  for (let frame = 0; frame < TALK_FRAMES; frame += 5) await session.write(number, speech);
  session.endUtterance(number);
}
