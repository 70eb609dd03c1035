/**
 * A telephone made of a WAV file: places a call without SIP, says what is in the file, writes what it hears to another
 * one, and prints every frame. No packages: Node 22 or newer.
 *
 *   CALLYARD_KEY=cy_… node examples/ws-client.mjs question.wav heard.wav
 *
 * question.wav: 16-bit PCM, mono, 8 or 16 kHz. CALLYARD_URL is http://127.0.0.1:8080 unless set; AGENT_ID and QUIET_S
 * (hang up after so many seconds without a word, 4) are optional.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const FRAME_MS = 20;
const {
  CALLYARD_URL = 'http://127.0.0.1:8080',
  CALLYARD_KEY,
  AGENT_ID,
  QUIET_S = '4',
} = process.env;
const [question, heardPath = 'heard.wav'] = process.argv.slice(2);
if (CALLYARD_KEY === undefined || question === undefined) {
  console.error('usage: CALLYARD_KEY=cy_… node examples/ws-client.mjs question.wav [heard.wav]');
  process.exit(2);
}

const speech = readWav(question);
const { ws_url: url, ticket } = await placeCall();
const socket = new WebSocket(`${url}?ticket=${ticket}`, 'callyard.v1');
socket.binaryType = 'arraybuffer';

/** Bytes that were heard, and the time until which they are being played. */
let heard = [];
let playedUntilMs = performance.now();
let bytesPerMs = 32;
const marks = new Set();
let lastWordMs = performance.now();
let microphone;

socket.onmessage = ({ data }) => {
  if (typeof data !== 'string') return play(new Uint8Array(data));
  const frame = JSON.parse(data);
  console.log(data);
  if (frame.type === 'ready') begin(frame);
  else if (frame.type === 'mark') playedThen(() => send({ type: 'mark', name: frame.name }));
  else if (frame.type === 'clear') dropUnplayed();
  if (frame.type === 'ai-response' || frame.type === 'user-speech') lastWordMs = performance.now();
};
socket.onclose = ({ code, reason }) => {
  clearInterval(microphone);
  for (const timer of marks) clearTimeout(timer);
  writeFileSync(heardPath, wavOf(Buffer.concat(heard), bytesPerMs * 500));
  console.log(`closed ${code} ${reason}`);
  process.exitCode = code === 1000 ? 0 : 1;
};
socket.onerror = () => console.error('the connection failed');

/** What the server speaks is said in `ready`; the rate of the file is asked for before the first audio. */
function begin({ uplink, downlink }) {
  bytesPerMs = (downlink.rate * 2) / 1000;
  if (uplink.rate !== speech.rateHz) return send({ type: 'config', uplink_rate: speech.rateHz });
  microphone ??= speak();
}

/** 20 ms at a time in real time; silence behind the end of the file, as a microphone has it. */
function speak() {
  const frameBytes = (speech.rateHz * 2 * FRAME_MS) / 1000;
  const beganMs = performance.now();
  let frames = 0;
  return setInterval(() => {
    for (; frames * FRAME_MS <= performance.now() - beganMs; frames++) {
      const frame = Buffer.alloc(frameBytes);
      frame.set(speech.pcm.subarray(frames * frameBytes, (frames + 1) * frameBytes));
      socket.send(frame);
    }
    const isSaid = frames * frameBytes > speech.pcm.length;
    const quietMs = performance.now() - lastWordMs;
    if (isSaid && quietMs > Number(QUIET_S) * 1000) send({ type: 'hangup', reason: 'all said' });
  }, FRAME_MS);
}

/** A real telephone gives the bytes to its loudspeaker here. */
function play(bytes) {
  heard.push(bytes);
  if (isLoud(bytes)) lastWordMs = performance.now();
  playedUntilMs = Math.max(playedUntilMs, performance.now()) + bytes.length / bytesPerMs;
}

/** Silence comes as audio too. */
function isLoud(bytes) {
  return new Int16Array(bytes.slice().buffer).some((sample) => Math.abs(sample) > 300);
}

/** Barge-in: what has not been played yet must not be heard any more. */
function dropUnplayed() {
  const all = Buffer.concat(heard);
  const unplayedMs = Math.max(0, playedUntilMs - performance.now());
  const unplayed = 2 * Math.floor((unplayedMs * bytesPerMs) / 2);
  heard = [all.subarray(0, Math.max(0, all.length - unplayed))];
  playedUntilMs = performance.now();
  for (const timer of marks) clearTimeout(timer);
  marks.clear();
}

/** A mark is echoed when the audio in front of it has been played: so the server knows what was heard. */
function playedThen(act) {
  const timer = setTimeout(
    () => {
      marks.delete(timer);
      act();
    },
    Math.max(0, playedUntilMs - performance.now()),
  );
  marks.add(timer);
}

function send(frame) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}

async function placeCall() {
  const answer = await fetch(`${CALLYARD_URL}/api/call/initiate`, {
    method: 'POST',
    headers: { authorization: `Bearer ${CALLYARD_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ phone_number: '+15550100', media: 'websocket', agent_id: AGENT_ID }),
  });
  const { data, message } = await answer.json();
  if (answer.status === 201) return data;
  console.error(`${answer.status} ${message}`);
  process.exit(1);
}

/** The samples behind the first `data` chunk of a plain WAV file. */
function readWav(path) {
  const file = readFileSync(path);
  let rateHz = 0;
  for (let at = 12; at + 8 <= file.length; at += 8 + file.readUInt32LE(at + 4)) {
    const name = file.toString('latin1', at, at + 4);
    if (name === 'fmt ') rateHz = file.readUInt32LE(at + 12);
    if (name === 'data')
      return { rateHz, pcm: file.subarray(at + 8, at + 8 + file.readUInt32LE(at + 4)) };
  }
  throw new Error(`${path} is no WAV file`);
}

function wavOf(pcm, rateHz) {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + pcm.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rateHz, 24);
  header.writeUInt32LE(rateHz * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}
