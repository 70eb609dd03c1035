/** Messages between the server and the process that speaks. */
import type { VoiceEvent } from './speech-plan.ts';

export type EspeakRequest = { readonly job: number; readonly voice: string; readonly text: string };

export type EspeakReply =
  | { readonly type: 'ready' }
  | {
      readonly type: 'chunk';
      readonly job: number;
      readonly pcm: Int16Array;
      readonly events: readonly VoiceEvent[];
    }
  | { readonly type: 'done'; readonly job: number };
