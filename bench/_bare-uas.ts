/** The least a Node process can do to set a call up: 200 to every INVITE and BYE. The yardstick of call-setup. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const [address = '127.0.0.1', port = '5060'] = process.argv.slice(2);
const SDP = [
  'v=0',
  `o=- 1 1 IN IP4 ${address}`,
  's=-',
  `c=IN IP4 ${address}`,
  't=0 0',
  'm=audio 9 RTP/AVP 0',
  '',
].join('\r\n');
const KEPT = /^(?:via|from|call-id|cseq|record-route):/i;

const socket = createSocket('udp4');
socket.on('message', (bytes, from) => {
  const text = bytes.toString('latin1');
  if (text.startsWith('ACK ')) return;
  const isInvite = text.startsWith('INVITE ');
  const lines = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n');
  const to = lines.find((line) => /^to:/i.test(line)) ?? 'To: <sip:nobody>';
  const headers = [
    ...lines.filter((line) => KEPT.test(line)),
    to.includes('tag=') ? to : `${to};tag=bare`,
  ];
  const body = isInvite ? SDP : '';
  const contact = isInvite
    ? [`Contact: <sip:bare@${address}:${port}>`, 'Content-Type: application/sdp']
    : [];
  const answer = [
    'SIP/2.0 200 OK',
    ...headers,
    ...contact,
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
  socket.send(answer, from.port, from.address);
});
socket.bind(Number(port), address);
await once(socket, 'listening');
process.stdout.write('listening\n');
