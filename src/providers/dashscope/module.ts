/** Aliyun's DashScope (Bailian): recognisers, CosyVoice, Qwen-Omni; its language models are the vendor `qwen`. */
import { choiceOption, type VendorModule } from '../vendor.ts';
import { realtime } from './omni-realtime.ts';
import { createQwenTts } from './qwen-tts.ts';
import { createDashscopeStt } from './stt.ts';
import { createDashscopeTts } from './tts.ts';

export const DASHSCOPE: VendorModule = {
  vendor: 'dashscope',
  stt: createDashscopeStt,
  tts: (settings, tools) =>
    choiceOption(settings, 'tts_service', ['cosyvoice', 'qwen_tts']) === 'qwen_tts'
      ? createQwenTts(settings, tools)
      : createDashscopeTts(settings, tools),
  realtime,
};
