/** Volcengine (Doubao): streaming recognition, voice, and speech-to-speech dialogue, on one account. */
import type { VendorModule } from '../vendor.ts';
import { createVolcengineRealtime } from './dialogue.ts';
import { createVolcengineStt } from './stt.ts';
import { createVolcengineTts } from './tts.ts';

export const VOLCENGINE: VendorModule = {
  vendor: 'volcengine',
  stt: createVolcengineStt,
  tts: createVolcengineTts,
  realtime: createVolcengineRealtime,
};
