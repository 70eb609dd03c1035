/**
 * The load generator of media.bench.ts, a process of its own: so many phones at 50 packets a second each. Its parent asks
 * by message (`go FIRST_PORT`, `count`, `stop`) and is answered with `{ ports }` and `{ sent, heard }`.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { everyFrame } from './_media-rounds.ts';

const phones = await Promise.all(Array.from({ length: Number(process.argv[2]) }, openPhone));
const packets = phones.map((_, i) => rtpPacket(i));
let [sent, heard] = [0, 0];
let stop = (): void => undefined;
for (const phone of phones) phone.on('message', () => heard++);

process.on('message', (message: string) => {
  const [what, firstPort] = message.split(' ');
  if (what !== 'count') stop();
  if (what === 'go') stop = everyFrame(phones.length, (phone) => speak(phone, Number(firstPort)));
  process.send?.({ sent, heard });
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ports: phones.map((phone) => phone.address().port) });

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

function speak(phone: number, firstPort: number): void {
  const packet = packets[phone];
  if (packet === undefined) return;
  advance(packet);
  phones[phone]?.send(packet, firstPort + 2 * phone, '127.0.0.1');
  sent++;
}

function rtpPacket(ssrc: number): Buffer {
  const packet = Buffer.alloc(172);
  packet[0] = 0x80;
  packet.writeUInt32BE(ssrc + 1, 8);
  return packet;
}

/** Mu-law codes that are loud for a second and quiet for one: a detector sees half of them as sound. */
function advance(packet: Buffer): void {
  const sequence = (packet.readUInt16BE(2) + 1) & 0xffff;
  packet.writeUInt16BE(sequence, 2);
  packet.writeUInt32BE((packet.readUInt32BE(4) + 160) >>> 0, 4);
  const isLoud = sequence % 100 < 50;
  for (let i = 12; i < 172; i++) packet[i] = isLoud ? (i * 37 + sequence * 11) & 0xff : 0xff;
}
