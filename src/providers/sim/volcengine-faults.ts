/** What goes wrong in the middle, whatever the service: the socket's own faults, and frames that nobody can read. */
import type { VolcPeer } from './volcengine.ts';
import { goHalfOpen } from './vendor-server.ts';
import { bombFrame, errorFrame, lyingFrame } from './volcengine-wire.ts';

/** Those of `own`. */
export type VolcFault =
  | 'error_with_event'
  | 'gzip_bomb'
  | 'lying_length'
  | 'garbage'
  | 'idle'
  | 'unauthorized'
  | 'mute';

const BOMB_BYTES = 16 * 1024 * 1024;

/** True when the fault was one of these and was played. `session`: null at the recogniser. */
export function playMidway({ socket, fault }: VolcPeer, session: string | null): boolean {
  const kind = fault?.kind === 'own' ? fault.name : fault?.kind;
  switch (kind) {
    case 'half_open':
      goHalfOpen(socket);
      return true;
    case 'cut':
      socket.terminate();
      return true;
    case 'fail_midway':
      socket.send(errorFrame(55000000, 'internal error'));
      return true;
    case 'error_with_event':
      socket.send(errorFrame(55000000, 'internal error', { event: 153, id: session ?? '' }));
      return true;
    case 'unauthorized':
      socket.send(errorFrame(45000010, 'invalid auth token'));
      return true;
    case 'junk':
      socket.send(junk(session));
      return true;
    case 'garbage':
      socket.send(Buffer.from([0xff, 0x00, 0x13, 0x37, 1, 2, 3]));
      return true;
    case 'swapped':
      socket.send('{"event":352}');
      return true;
    case 'huge':
      socket.send(Buffer.alloc(fault?.kind === 'huge' ? fault.bytes : 0, 0x11));
      return true;
    case 'gzip_bomb':
      socket.send(bombFrame(BOMB_BYTES, session));
      return true;
    case 'lying_length':
      socket.send(lyingFrame(session));
      return true;
    case undefined:
    default:
      return false;
  }
}

/** A frame in order, with a payload that is no JSON. */
function junk(session: string | null): Buffer {
  const text = Buffer.from('{"text": nonsense');
  const head = session === null ? [0x11, 0x90, 0x10, 0] : [0x11, 0x94, 0x10, 0, 0, 0, 1, 95];
  const id = session === null ? [] : [0, 0, 0, session.length, ...Buffer.from(session)];
  return Buffer.concat([Buffer.from([...head, ...id, 0, 0, 0, text.length]), text]);
}
