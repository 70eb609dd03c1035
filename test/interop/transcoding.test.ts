/** G.729 through docker/kamailio-rtpengine: a carrier that speaks nothing else calls, is answered, and talks with us. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBaresip } from './tools/baresip.ts';
import { startCapture } from './tools/capture.ts';
import { compareAudio } from './tools/correlate.ts';
import { startEdge } from './tools/edge.ts';
import { startG729Carrier } from './tools/g729-carrier.ts';
import { rtpStreams } from './tools/rtp-report.ts';
import { ANSWER, CALL_MS, callerAudio, GREETING, QUESTION, SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { readWav } from './tools/wav.ts';

const NODE = '127.0.0.21';
const EDGE = '127.0.0.10';
const CARRIER = '127.0.0.12';
const G729 = 18;

let folder = '';
let server: Callyard;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-transcoding-'));
  server = await startServer({ folder, address: NODE, script: SCRIPT });
});
after(async () => {
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

test('a carrier of G.729 alone', async () => {
  const nodes = [`sip:${NODE}:5060`];
  await using edge = await startEdge({
    folder,
    address: EDGE,
    nodes,
    carrier: `sip:${CARRIER}:5060`,
  });
  await using carrier = await startG729Carrier({
    ...{ folder, address: CARRIER, edge: `sip:${EDGE}:5060` },
  });
  await using phone = await startBaresip({
    ...{ folder, name: 'alice', address: '127.0.0.31', speech: callerAudio() },
  });
  const known = await server.recordIds();
  const filter = `udp and host ${EDGE}`;
  await using capture = await startCapture(join(folder, 'edge.pcap'), filter);
  await phone.command(`dial sip:8001@${CARRIER}`);
  await phone.waitFor('CALL_ESTABLISHED', 10_000);
  await sleep(CALL_MS);
  await phone.command('hangup');
  await phone.waitFor('CALL_CLOSED', 15_000);
  const record = await server.finishedRecord(known);
  const said = record.messages.map(({ role, content }) => [role, content]);
  assert.deepEqual(said, [
    ['assistant', GREETING],
    ['user', QUESTION],
    ['assistant', ANSWER],
  ]);
  assert.equal(record.outcome, 'completed');

  // Between carrier and edge there is nothing but G.729, both ways; between edge and node none of it.
  const streams = rtpStreams(await capture.finish(), 50);
  const between = (host: string): number[] =>
    streams
      .filter(
        ({ source, target }) => source.startsWith(`${host}:`) || target.startsWith(`${host}:`),
      )
      .flatMap(({ packets }) => [...new Set(packets.map(({ payloadType }) => payloadType))]);
  assert.deepEqual(between(CARRIER), [G729, G729]);
  assert.ok(between(NODE).length >= 2 && between(NODE).every((type) => type === 8 || type === 0));

  // G.729 keeps no waveform (0.84 on a clean leg): what the phone heard is the agent, whole and without slips.
  const { channels } = readWav(await server.saveRecording(record.id));
  const heard = compareAudio(channels[1] ?? new Int16Array(0), phone.heard());
  assert.ok(heard.correlation >= 0.6, JSON.stringify(heard));
  assert.ok(carrier.isRunning && edge.isRunning);
});
