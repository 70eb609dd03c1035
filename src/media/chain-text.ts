/** What a call's chain is made of, for people: the order of the stages as its two paths have them, and what was agreed. */
import type { NegotiatedAudio } from './types.ts';

export type ChainFacts = {
  /** Null before anything was agreed. */
  readonly audio: NegotiatedAudio | null;
  readonly isSecure: boolean;
  readonly isRecording: boolean;
};

const STAGES = [
  'in:  socket -> SRTP -> source latch -> RTP parse -> sequence -> { telephone events, decode }',
  '     decode -> { mute -> echo guard, VAD (on arrival) -> barge-in pause, jitter buffer }',
  '     jitter buffer -> comfort noise, concealment -> { mute, echo guard -> caller ring, recorder left, taps }   (every 20 ms)',
  'out: playout ring -> playout -> gain -> background, effects -> mute -> loop or digits in its place',
  '     -> people who have joined -> { recorder right (unmuted), encode -> RTP -> SRTP -> socket, echo guard, taps }   (paced)',
  '     caller, agent and people who have joined -> mixer -> each of those people, and what they say to the agent',
] as const;

export function describeChain({ audio, isSecure, isRecording }: ChainFacts): string {
  return [wireOf(audio, isSecure, isRecording), ...STAGES].join('\n');
}

function wireOf(audio: NegotiatedAudio | null, isSecure: boolean, isRecording: boolean): string {
  if (audio === null) return 'now: nothing agreed yet';
  const { codec, payloadType, receivePayloadType, ptimeMs = 20, dtmfPayloadType } = audio;
  const direction = [audio.send ? 'sends' : '', audio.receive ? 'receives' : ''].filter(Boolean);
  return [
    `now: ${codec} (payload type ${payloadType} out, ${receivePayloadType} in), packets of ${ptimeMs} ms`,
    direction.length === 0 ? 'on hold' : direction.join(' and '),
    dtmfPayloadType === null ? 'no telephone events' : `telephone events ${dtmfPayloadType}`,
    isSecure ? 'SRTP' : 'plain RTP',
    audio.rtcpMux === true ? 'RTCP on the same port' : 'RTCP on its own port',
    isRecording ? 'recorded' : 'not recorded',
  ].join(', ');
}
