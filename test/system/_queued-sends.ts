/**
 * Run with --test-udp-no-try-send, where the system takes no packet at once: two calls send by turns out of the one buffer
 * they share. Prints what each phone heard.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { packetBuffer } from '#media/rtp/packet-buffer.ts';
import { openRtpSocket, type RtpTransport } from '#media/rtp/rtp-socket.ts';

const PACKETS = 20;
const BYTES = 40;

const calls = await Promise.all([openCall(21_400), openCall(21_402)]);
for (let i = 0; i < PACKETS; i++) {
  for (const [call, { transport }] of calls.entries()) {
    const buffer = packetBuffer();
    const packet = buffer.packet(BYTES);
    packet.fill(call + 1);
    packet[0] = i;
    transport.send(packet);
  }
}
while (calls.some(({ heard }) => heard.length < PACKETS)) {
  await new Promise((resolve) => setTimeout(resolve, 5));
}
process.stdout.write(JSON.stringify(calls.map(({ heard }) => heard)));
for (const { transport, phone } of calls) {
  transport.close();
  phone.close();
}

type Call = { transport: RtpTransport; phone: Socket; heard: number[][] };

/** What is heard: of each packet its number and the other bytes in it, each once. */
async function openCall(port: number): Promise<Call> {
  const phone = createSocket('udp4');
  phone.bind(0, '127.0.0.1');
  await once(phone, 'listening');
  const heard: number[][] = [];
  phone.on('message', (bytes) => heard.push([bytes[0] ?? -1, ...new Set(bytes.subarray(1))]));
  const transport = await openRtpSocket('127.0.0.1', port);
  transport.connect('127.0.0.1', phone.address().port);
  return { transport, phone, heard };
}
