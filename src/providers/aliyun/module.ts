/** Aliyun Intelligent Speech Interaction (NLS): recogniser and voices. Language models of Aliyun are at DashScope. */
import type { VendorModule } from '../vendor.ts';
import { createAliyunStt } from './stt.ts';
import { createAliyunTts } from './tts.ts';

export const ALIYUN: VendorModule = {
  vendor: 'aliyun',
  stt: createAliyunStt,
  tts: createAliyunTts,
};
