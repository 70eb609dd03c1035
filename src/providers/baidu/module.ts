/** Baidu: realtime recognition and streaming speech. Its language models are the vendor `ernie`. */
import type { VendorModule } from '../vendor.ts';
import { createBaiduStt } from './stt.ts';
import { createBaiduTts } from './tts.ts';

export const BAIDU: VendorModule = { vendor: 'baidu', stt: createBaiduStt, tts: createBaiduTts };
