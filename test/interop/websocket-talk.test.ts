/**
 * Five minutes over /ws/call/{id} in real time: what each side hears is what the other sent, never more than 200 ms ahead,
 * and a client that was cut off goes on where it was. TALK_S shortens it.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { bestLag, correlationAt } from './tools/correlate.ts';
import { until } from './tools/process.ts';
import { startServer } from './tools/server.ts';
import { readChannel, wavBytes } from './tools/wav.ts';

const ADDRESS = '127.0.0.36';
const TALK_S = Number(process.env['TALK_S'] ?? 300);
const AWAY_MS = 4000;
/** The client speaks this much ahead, so that its own late timers make no holes. */
const LEAD_MS = 120;
const RATE = 8000;
const WINDOW = 5 * RATE;

const folder = mkdtempSync(join(tmpdir(), 'callyard-talk-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Noise below 1 kHz that swells and fades like speech: no part of it is like another. */
function babble(seconds: number, seed: number): Int16Array {
  const pcm = new Int16Array(seconds * RATE);
  let state = seed;
  let slow = 0;
  let low = 0;
  for (let at = 0; at < pcm.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    slow += 0.35 * (state / 2 ** 32 - 0.5 - slow);
    low += 0.35 * (slow - low);
    pcm[at] = Math.round(low * 20_000 * (0.7 + 0.3 * Math.sin(at / 2500)));
  }
  return pcm;
}

/** One connection: what it was sent, when, and what it heard. */
class Line {
  readonly socket: WebSocket;
  readonly frames: Record<string, unknown>[] = [];
  readonly #audio: Buffer[] = [];
  /** Largest lead of the audio over the clock, and largest silence between two frames, in ms. */
  aheadMs = 0;
  gapMs = 0;
  #firstMs = 0;
  #lastMs = 0;
  #heardMs = 0;

  constructor(url: string, key: string) {
    this.socket = new WebSocket(url, { headers: { authorization: `Bearer ${key}` } });
    this.socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) this.#hear(data);
      else this.frames.push(JSON.parse(String(data)) as Record<string, unknown>);
    });
  }

  #hear(data: Buffer): void {
    const nowMs = performance.now();
    if (this.#audio.length === 0) this.#firstMs = nowMs;
    else this.gapMs = Math.max(this.gapMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    assert.equal(data.length, 640, '20 ms at 16 kHz');
    this.#audio.push(data);
    this.#heardMs += 20;
    this.aheadMs = Math.max(this.aheadMs, this.#heardMs - (nowMs - this.#firstMs));
  }

  /** At 8 kHz. */
  get heard(): Int16Array {
    const bytes = Buffer.concat(this.#audio);
    const pcm = new Int16Array(bytes.length / 4);
    for (let at = 0; at < pcm.length; at++) pcm[at] = bytes.readInt16LE(at * 4);
    return pcm;
  }

  has(type: string): boolean {
    return this.frames.some((frame) => frame['type'] === type);
  }

  /** Speaks in real time. The number of samples sent. */
  async speak(pcm: Int16Array, fromSample: number, seconds: number): Promise<number> {
    const startMs = performance.now();
    let sent = 0;
    while (sent < seconds * RATE) {
      const due = Math.min(seconds * RATE, (performance.now() - startMs + LEAD_MS) * 8);
      for (; sent + 160 <= due; sent += 160) {
        const part = pcm.slice(fromSample + sent, fromSample + sent + 160);
        this.socket.send(new Uint8Array(part.buffer));
      }
      if (performance.now() - startMs >= seconds * 1000) break;
      await sleep(10);
    }
    return sent;
  }
}

/** Correlation of each piece of `part` with `whole` at the place where it fits best, in order. */
function pieces(part: Int16Array, whole: Int16Array, firstSample: number): number[] {
  const found: number[] = [];
  let lag: number | null = null;
  for (let at = firstSample; at + WINDOW <= part.length; at += WINDOW) {
    const window = part.subarray(at, at + WINDOW);
    const from: number = lag === null ? 0 : Math.max(0, at + lag - RATE);
    const to: number = lag === null ? whole.length : at + lag + WINDOW + RATE;
    const region = whole.subarray(from, to);
    const place: number = bestLag(window, region);
    found.push(correlationAt(window, region, place).correlation);
    lag = from + place - at;
  }
  return found;
}

test(
  'five minutes over the audio socket, with a loss in between',
  { timeout: 900_000 },
  async () => {
    const mine = babble(TALK_S + 30, 7);
    const music = babble(TALK_S + 30, 11);
    const files = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'audio/wav' });
      response.end(wavBytes([music]));
    });
    await new Promise<void>((resolve) => files.listen(0, ADDRESS, resolve));
    const { port } = files.address() as { port: number };
    await using server = await startServer({
      ...{ folder, address: ADDRESS },
      script: { greeting: 'Hello.', defaultReply: '' },
      env: { CALLYARD_OUTBOUND_ALLOW: `${ADDRESS}/32`, CALLYARD_RECORDING: 'on' },
    });
    const key = server.apiKey;
    const { call_id: id } = await server.post<{ call_id: string }>('/api/call/initiate', {
      ...{ phone_number: '+15550100', media: 'websocket' },
    });
    const url = `ws://${ADDRESS}:8080/ws/call/${id}`;
    const first = new Line(url, key);
    await until('the greeting', 10_000, () => first.has('mark'));
    await server.post(`/v1/phone/calls/${id}/play`, {
      ...{ url: `http://${ADDRESS}:${port}/music.wav`, interruptible: false },
    });
    const halfS = TALK_S / 2;
    const sentFirst = await first.speak(mine, 0, halfS);
    first.socket.terminate();
    await sleep(AWAY_MS);
    const second = new Line(url, key);
    await until('the second ready', 5000, () => second.has('ready'));
    const sentSecond = await second.speak(mine, sentFirst, halfS);
    second.socket.send(JSON.stringify({ type: 'hangup' }));
    await until('the end', 10_000, () => second.has('ended'));
    files.close();
    const record = await server.finishedRecord([]);
    assert.deepEqual([record.outcome, record.hangup_reason], ['completed', 'user']);

    const heardByAgent = readChannel(await server.saveRecording(id), 0);
    const rows = {
      'caller, before': pieces(mine.subarray(0, sentFirst), heardByAgent, RATE),
      'caller, after': pieces(mine.subarray(sentFirst, sentFirst + sentSecond), heardByAgent, RATE),
      'agent, before': pieces(first.heard, music, 5 * RATE),
      'agent, after': pieces(second.heard, music, RATE),
    };
    for (const [name, correlations] of Object.entries(rows)) {
      const worst = Math.min(...correlations);
      console.log(
        `# ${name}: ${correlations.length} pieces of 5 s, worst correlation ${worst.toFixed(4)}`,
      );
      assert.ok(correlations.length >= halfS / 5 - 2, `${name}: ${correlations.length} pieces`);
      assert.ok(worst >= 0.98, `${name}: ${worst}`);
    }
    for (const [name, line] of Object.entries({ before: first, after: second })) {
      console.log(
        `# ${name}: at most ${line.aheadMs.toFixed(0)} ms ahead, ${line.gapMs.toFixed(0)} ms between frames`,
      );
      assert.ok(line.aheadMs <= 200, `${name}: ${line.aheadMs} ms ahead`);
    }
  },
);
