/** Aliyun's DashScope (Bailian): recognisers, CosyVoice, Qwen-Omni; its language models are the vendor `qwen`. */
import type { VendorModule } from '../vendor.ts';
import { realtime } from './omni-realtime.ts';
import { createDashscopeStt } from './stt.ts';
import { createDashscopeTts } from './tts.ts';

export const DASHSCOPE: VendorModule = {
  vendor: 'dashscope',
  stt: createDashscopeStt,
  tts: createDashscopeTts,
  realtime,
};
