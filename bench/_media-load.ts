/**
 * The load generator of media.bench.ts, a process of its own: so many phones at 50 packets a second each. Its parent asks
 * by message (`go FIRST_PORT`, `count`, `stop`) and is answered with `{ ports }` and `{ sent, heard }`.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const phones = await Promise.all(Array.from({ length: Number(process.argv[2]) }, openPhone));
const packets = phones.map((_, i) => rtpPacket(i));
let [sent, heard, slot] = [0, 0, 0];
let timer: NodeJS.Timeout | undefined;
for (const phone of phones) phone.on('message', () => heard++);

process.on('message', (message: string) => {
  const [what, firstPort] = message.split(' ');
  if (what === 'go') start(Number(firstPort));
  else if (what === 'stop') clearTimeout(timer);
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

/** Phones keep no common time, so each millisecond has a twentieth of them. */
function start(firstPort: number): void {
  clearTimeout(timer);
  const startMs = performance.now();
  slot = 0;
  const step = (): void => {
    while (startMs + slot <= performance.now()) {
      for (let i = slot % 20; i < phones.length; i += 20) {
        const packet = packets[i];
        if (packet === undefined) continue;
        advance(packet);
        phones[i]?.send(packet, firstPort + 2 * i, '127.0.0.1');
        sent++;
      }
      slot++;
    }
    timer = setTimeout(step, Math.max(0, startMs + slot - performance.now()));
  };
  step();
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
