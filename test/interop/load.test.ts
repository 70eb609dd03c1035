/** Fifty calls at once for a minute: nobody fails, everybody is greeted in time, every stream keeps its beat. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeG711 } from '#src/demo/g711.ts';
import { startCapture } from './tools/capture.ts';
import type { Datagram } from './tools/pcap.ts';
import { until } from './tools/process.ts';
import { rtpStreams, speechTimes, spread, type RtpStreamReport } from './tools/rtp-report.ts';
import { callerAudio, SCRIPT } from './tools/script.ts';
import { startServer, type Callyard } from './tools/server.ts';
import { startSippUac } from './tools/sipp.ts';
import { uacXml } from './tools/sipp-scenario.ts';
import { concatPcm, silence } from './tools/wav.ts';

const NODE = '127.0.0.21';
const CALLER = '127.0.0.11';
const CALLS = 50;
const TALK_MS = 60_000;

let folder = '';
let server: Callyard;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'callyard-load-'));
  const minute = concatPcm(
    ...Array.from({ length: 5 }, () => concatPcm(callerAudio(), silence(3000))),
  );
  writeFileSync(join(folder, 'caller.ulaw'), encodeG711('PCMU', minute.subarray(0, TALK_MS * 8)));
  server = await startServer({ folder, address: NODE, script: SCRIPT });
});
after(async () => {
  await server?.stop();
  if (process.env['CALLYARD_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true });
});

type Dialog = { readonly port: number; readonly ackMs: number; readonly byeMs: number };

test(`${CALLS} simultaneous calls, ${TALK_MS / 1000} s each`, async () => {
  const xml = uacXml({ talkMs: TALK_MS, media: { file: 'caller.ulaw', codec: 'PCMU' } });
  await using capture = await startCapture(join(folder, 'load.pcap'), `udp and host ${NODE}`);
  const run = { folder, name: 'load', xml, address: CALLER, mediaPort: 17000, timeoutS: 90 };
  const load = {
    target: `${NODE}:5060`,
    service: '8001',
    calls: CALLS,
    ratePerS: CALLS,
    limit: CALLS,
  };
  await using uac = startSippUac(run, load);
  const { code, statistics } = await uac.result();
  const datagrams = await capture.finish();

  assert.equal(code, 0, uac.log().slice(-800));
  assert.deepEqual([statistics.successful, statistics.failed], [CALLS, 0]);
  assert.equal(statistics.inviteMs.length, CALLS);
  assert.ok(
    Math.max(...statistics.inviteMs) <= 1000,
    `set up in ${Math.max(...statistics.inviteMs)} ms`,
  );

  const dialogs = dialogsOf(datagrams);
  assert.equal(dialogs.length, CALLS);
  const agents = rtpStreams(datagrams).filter((stream) => stream.source.startsWith(`${NODE}:`));
  assert.equal(agents.length, CALLS, 'one stream from the agent per call');
  report(agents, statistics.inviteMs);
  for (const dialog of dialogs) checkStream(agents, dialog);

  const ids = await until('all records', 15_000, async () => {
    const found = await server.recordIds();
    return found.length >= CALLS ? found : undefined;
  });
  assert.equal(ids.length, CALLS);
  for (const id of ids) {
    const record = await until('a closed record', 10_000, async () => {
      const found = await server.record(id);
      return found.status === 'ended' ? found : undefined;
    });
    assert.equal(record.outcome, 'completed');
    assert.ok(
      Math.abs((record.duration_seconds ?? 0) - TALK_MS / 1000) <= 1,
      `${record.duration_seconds} s`,
    );
  }
});

function checkStream(agents: readonly RtpStreamReport[], dialog: Dialog): void {
  const stream = agents.find(({ source }) => source === `${NODE}:${dialog.port}`);
  assert.ok(stream !== undefined, `no stream from port ${dialog.port}`);
  const shown = `port ${dialog.port}: p99 ${stream.deviation.p99} ms, max ${stream.deviation.max} ms`;
  assert.deepEqual([stream.missing, stream.duplicated, stream.reordered], [0, 0, 0], shown);
  assert.ok(stream.deviation.p99 < 5, shown);
  const greetedMs = (speechTimes(stream)[0] ?? Number.POSITIVE_INFINITY) - dialog.ackMs;
  assert.ok(greetedMs <= 500, `greeted after ${greetedMs} ms`);
  // From ACK to BYE: the first and the last packet are within the pace, and none is left out between (missing is 0).
  assert.ok(
    stream.firstMs - dialog.ackMs <= 60,
    `first packet ${stream.firstMs - dialog.ackMs} ms after ACK`,
  );
  assert.ok(
    dialog.byeMs - stream.lastMs <= 60,
    `last packet ${dialog.byeMs - stream.lastMs} ms before BYE`,
  );
  const wanted = (dialog.byeMs - dialog.ackMs) / 20;
  assert.ok(
    Math.abs(stream.packets.length - wanted) <= 4,
    `${stream.packets.length} packets, ${wanted} wanted`,
  );
}

/** Port of our SDP answer, time of ACK and BYE, by Call-ID. */
function dialogsOf(datagrams: readonly Datagram[]): Dialog[] {
  const calls = new Map<string, { port?: number; ackMs?: number; byeMs?: number }>();
  for (const { payload, atMs } of datagrams) {
    const text = payload.toString('latin1');
    const id = /\r\ncall-id: *(\S+)/i.exec(text)?.[1];
    if (id === undefined) continue;
    const call = calls.get(id) ?? {};
    calls.set(id, call);
    const port = /\r\nm=audio (\d+)/.exec(text)?.[1];
    if (text.startsWith('SIP/2.0 200') && port !== undefined) call.port ??= Number(port);
    if (text.startsWith('ACK ')) call.ackMs ??= atMs;
    if (text.startsWith('BYE ')) call.byeMs ??= atMs;
  }
  return [...calls.values()].flatMap(({ port, ackMs, byeMs }) =>
    port === undefined || ackMs === undefined || byeMs === undefined
      ? []
      : [{ port, ackMs, byeMs }],
  );
}

function report(agents: readonly RtpStreamReport[], inviteMs: readonly number[]): void {
  const p99 = spread(agents.map((stream) => stream.deviation.p99));
  const most = Math.max(...agents.map((stream) => stream.deviation.max));
  const setUp = spread(inviteMs);
  console.log(
    `# deviation from 20 ms: p99 per stream, median ${p99.p50.toFixed(2)}, worst ${p99.max.toFixed(2)}; largest ${most.toFixed(1)} ms`,
  );
  console.log(`# set up: median ${setUp.p50} ms, worst ${setUp.max} ms`);
}
