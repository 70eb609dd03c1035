/**
 * A model service (docs/model-service.md) without a model: it notices that the caller spoke, and answers in tones, one
 * for each word. Put a model in the place of `think` and a voice in that of `sing`.
 *
 *   npm install ws && MODEL_KEY=secret PORT=9100 node examples/model-service.mjs
 */
import { WebSocketServer } from 'ws';

const { MODEL_KEY = '', PORT = '9100' } = process.env;
const RATE = 16_000; // Asked for in `ready`, both ways: Callyard converts.
const LOUD = 500; // Mean square root of a frame with a voice in it.
const QUIET_MS = 500;

/** What a model would do. `tool_call` frames are its wish for a function; the results come with the next question. */
function think(question, { tools }, results) {
  if (results.length > 0) return { text: `The answer is ${results.join(' and ')}` };
  const tool = tools.find(({ name }) => question.includes(name));
  if (tool !== undefined) return { text: 'One moment', calls: [{ name: tool.name, arguments: {} }] };
  return { text: question };
}

/** What a voice would do: 16-bit little-endian mono. */
function sing(word) {
  const pcm = Buffer.alloc((RATE / 5) * 2);
  for (let i = 0; i < RATE / 5; i++) {
    const wave = Math.sin((2 * Math.PI * (300 + 40 * word.length) * i) / RATE);
    pcm.writeInt16LE(Math.round(6_000 * wave * Math.sin((Math.PI * i * 5) / RATE)), i * 2);
  }
  return pcm;
}

const server = new WebSocketServer({ port: Number(PORT), host: '127.0.0.1' });
server.on('listening', () => console.log(`listening on ${server.address().port}`));
server.on('connection', (socket, request) => {
  const send = (frame) => socket.send(JSON.stringify(frame));
  if (MODEL_KEY !== '' && request.headers.authorization !== `Bearer ${MODEL_KEY}`) {
    send({ type: 'error', code: 'auth', message: 'wrong key', fatal: true });
    return socket.close();
  }
  let start;
  let turns = 0;
  let speaking; // The turn that is being said.
  const waiting = new Set(); // Calls without a result.
  const results = [];
  let [voiceMs, quietMs] = [0, 0];

  async function say({ text, calls = [] }) {
    const turn = (speaking = `turn-${++turns}`);
    send({ type: 'turn_started', turn });
    for (const word of text.split(/\s+/)) {
      send({ type: 'agent_text', text: `${word} ` });
      socket.send(sing(word));
      await new Promise((done) => setTimeout(done, 20)); // Ten times faster than it is heard.
      if (speaking !== turn) return;
    }
    for (const call of calls) {
      const id = `call-${turns}`;
      waiting.add(id);
      send({ type: 'tool_call', id, ...call });
    }
    send({ type: 'turn_done', turn });
    speaking = undefined;
  }

  function listen(pcm) {
    let power = 0;
    for (let at = 0; at < pcm.length; at += 2) power += pcm.readInt16LE(at) ** 2;
    const ms = pcm.length / 2 / (RATE / 1000);
    if (Math.sqrt(power / (pcm.length / 2)) > LOUD) {
      if (voiceMs === 0) send({ type: 'speech_started' });
      [voiceMs, quietMs] = [voiceMs + ms, 0];
    } else if (voiceMs > 0 && (quietMs += ms) >= QUIET_MS) {
      send({ type: 'speech_stopped' });
      send({ type: 'user_transcript', text: `${voiceMs} ms of speech`, final: true });
      say(think(`You spoke for ${voiceMs} milliseconds`, start, []));
      voiceMs = 0;
    }
  }

  socket.on('message', (data, isBinary) => {
    if (isBinary) return listen(data);
    const frame = JSON.parse(data.toString());
    if (frame.type === 'start') {
      start = frame;
      const rates = { input_sample_rate: RATE, output_sample_rate: RATE };
      send({ type: 'ready', protocol: 'callyard.model/1', ...rates });
    } else if (frame.type === 'say') say({ text: frame.text });
    else if (frame.type === 'text') say(think(`You wrote ${frame.text}`, start, []));
    else if (frame.type === 'tool_result' && waiting.delete(frame.id)) results.push(frame.content);
    else if (frame.type === 'answer') say(think('Where were we', start, results.splice(0)));
    else if (frame.type === 'interrupt' && frame.turn === speaking) {
      speaking = undefined;
      send({ type: 'turn_done', turn: frame.turn });
    }
  });
});
process.on('SIGTERM', () => {
  for (const socket of server.clients) socket.terminate();
  server.close(() => process.exit());
});
