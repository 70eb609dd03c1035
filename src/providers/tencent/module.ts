/** Tencent Cloud: realtime recognition and flowing speech. */
import type { VendorModule } from '../vendor.ts';
import { createTencentStt } from './stt.ts';
import { createTencentTts } from './tts.ts';

export const TENCENT: VendorModule = {
  vendor: 'tencent',
  stt: createTencentStt,
  tts: createTencentTts,
};
