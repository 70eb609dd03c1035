/** The caller's SDP: offers G.711 and telephone-event, reads where the answer wants its audio. */
import { AppError } from '#lib/errors.ts';
import { codecOfPayloadType, PAYLOAD_TYPE, type G711Name } from './g711.ts';

export const TELEPHONE_EVENT_TYPE = 101;

export type AudioTarget = {
  readonly address: string;
  readonly port: number;
  readonly codec: G711Name;
  readonly direction: 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';
};

export function writeSdp(options: {
  readonly address: string;
  readonly port: number;
  readonly codecs: readonly G711Name[];
  readonly version: number;
  readonly direction?: AudioTarget['direction'];
}): string {
  const types = options.codecs.map((codec) => PAYLOAD_TYPE[codec]);
  return [
    'v=0',
    `o=caller 1 ${options.version} IN IP4 ${options.address}`,
    's=-',
    `c=IN IP4 ${options.address}`,
    't=0 0',
    `m=audio ${options.port} RTP/AVP ${[...types, TELEPHONE_EVENT_TYPE].join(' ')}`,
    ...options.codecs.map((codec) => `a=rtpmap:${PAYLOAD_TYPE[codec]} ${codec}/8000`),
    `a=rtpmap:${TELEPHONE_EVENT_TYPE} telephone-event/8000`,
    `a=fmtp:${TELEPHONE_EVENT_TYPE} 0-15`,
    'a=ptime:20',
    `a=${options.direction ?? 'sendrecv'}`,
    '',
  ].join('\r\n');
}

/** Errors: E_SDP when there is no audio line with G.711. */
export function readSdp(sdp: string): AudioTarget {
  const lines = sdp.split(/\r?\n/);
  const audioAt = lines.findIndex((line) => line.startsWith('m=audio '));
  const media = /^m=audio (\d+) \S+ (.+)$/.exec(lines[audioAt] ?? '');
  const codec = (media?.[2] ?? '')
    .split(' ')
    .map(Number)
    .map(codecOfPayloadType)
    .find((name) => name !== undefined);
  // A c= line under the m= line wins over the session's (RFC 8866 5.7).
  const connections = lines.filter((line) => line.startsWith('c=IN IP4 '));
  const address = /^c=IN IP4 (\S+)/.exec(connections.at(-1) ?? '')?.[1];
  if (!media || codec === undefined || address === undefined) {
    throw new AppError('E_SDP', 'the answer holds no G.711 audio line');
  }
  const direction = lines
    .map((line) => /^a=(sendrecv|sendonly|recvonly|inactive)$/.exec(line)?.[1])
    .find(Boolean);
  return {
    address,
    port: Number(media[1]),
    codec,
    direction: (direction ?? 'sendrecv') as AudioTarget['direction'],
  };
}
