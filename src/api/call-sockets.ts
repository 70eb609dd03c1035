/** The sockets on calls, and what they share: one pump for all of them. */
import type { Log } from '#lib/log.ts';
import { AudioPump } from '#sessions/audio-pump.ts';
import type { Caller } from './auth.ts';
import type { RecordSource } from './record-source.ts';
import type { ApiServer } from './routing.ts';
import type { SocketPorts } from './socket-attach.ts';
import { addCallSocket } from './ws-call.ts';
import { addVoiceSockets } from './ws-voice.ts';

export type CallSocketsOptions = RecordSource &
  SocketPorts & {
    readonly log: Log;
    /** Errors: RATE_LIMITED. */
    spendCall(caller: Caller): void;
  };

export function addCallSockets(app: ApiServer, { log, ...options }: CallSocketsOptions): void {
  const onFault = (error: unknown): void => log.error('pump.memberFailed', { error });
  const part = { ...options, pump: new AudioPump(options.clock, onFault) };
  addCallSocket(app, part);
  addVoiceSockets(app, part);
}
