/** Entry of the thread that encodes recordings. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '#lib/errors.ts';
import { openSidesEncoder, type SidesEncoder } from './opus-sides.ts';
import type { OpusReply, OpusRequest } from './opus-thread.ts';
import { goWithOthers } from '../thread-priority.ts';

const encoders = new Map<number, SidesEncoder>();
const port = parentPort;

async function answer(message: Exclude<OpusRequest, { type: 'close' }>): Promise<OpusReply> {
  const { request, encoder: id } = message;
  if (message.type === 'open') {
    const encoder = await openSidesEncoder();
    encoders.set(id, encoder);
    return { type: 'opened', request, lookahead: encoder.lookahead };
  }
  const encoder = encoders.get(id);
  if (encoder === undefined) throw new Error('no such encoder');
  const found = await encoder.encode(message.stereo);
  const lengths = Uint16Array.from(found, (packet) => packet.length);
  const packets = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const packet of found) {
    packets.set(packet, at);
    at += packet.length;
  }
  return { type: 'encoded', request, packets, lengths };
}

async function obey(message: OpusRequest): Promise<void> {
  if (message.type === 'close') {
    encoders.get(message.encoder)?.close();
    encoders.delete(message.encoder);
    return;
  }
  let reply: OpusReply;
  try {
    reply = await answer(message);
  } catch (error) {
    reply = { type: 'failed', request: message.request, message: messageOf(error) };
  }
  if (reply.type === 'encoded')
    port?.postMessage(reply, [reply.packets.buffer, reply.lengths.buffer]);
  else port?.postMessage(reply);
}

// Not that of the media worker which started it: no packet waits for this thread.
if (port !== null) goWithOthers();
port?.on('message', (message: OpusRequest) => void obey(message));
