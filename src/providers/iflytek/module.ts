/** iFlytek: dictation, realtime transcription and voices. Its language models are the vendor `spark`. */
import { choiceOption, type VendorModule } from '../vendor.ts';
import { createIat } from './iat.ts';
import { createRtasr } from './rtasr.ts';
import { createIflytekTts } from './tts.ts';

export const IFLYTEK: VendorModule = {
  vendor: 'iflytek',
  stt: (settings, tools) => {
    const service = choiceOption(settings, 'service', ['iat', 'spark_iat', 'rtasr', 'rtasr_llm']);
    if (service.startsWith('rtasr')) return createRtasr(settings, tools, service === 'rtasr_llm');
    return createIat(settings, tools, service === 'spark_iat');
  },
  tts: createIflytekTts,
};
