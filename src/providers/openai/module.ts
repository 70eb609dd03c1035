/** OpenAI, and the servers that speak as it does. */
import type { VendorModule } from '../vendor.ts';
import { chatModelOf } from './chat-vendors.ts';
import { realtime } from './realtime-module.ts';
import { speech } from './speech.ts';
import { transcription } from './transcription.ts';

export const OPENAI: VendorModule = {
  vendor: 'openai',
  stt: transcription,
  llm: chatModelOf('openai'),
  tts: speech,
  realtime,
};
