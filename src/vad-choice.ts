/** Who decides what speech is, by the settings; what is missing for it stops the start. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { systemClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { tryVad, type VadChoice } from '#media/speech/silero-thread.ts';
import type { Config } from './config.ts';

type VadSettings = Pick<Config, 'vad' | 'sileroModel' | 'onnxruntime'>;

/** Errors: E_CONFIG that names what to set or to install. */
export async function chooseVad(settings: VadSettings): Promise<VadChoice> {
  if (settings.vad !== 'silero') return 'fvad';
  const { sileroModel, onnxruntime } = settings;
  if (sileroModel === null) {
    throw new AppError('E_CONFIG', 'CALLYARD_VAD=silero needs CALLYARD_SILERO_MODEL, a .onnx file');
  }
  const model = resolve(sileroModel);
  if (!existsSync(model)) {
    throw new AppError('E_CONFIG', `CALLYARD_SILERO_MODEL: there is no file ${model}`);
  }
  const isFolder = /^[./]|^[A-Za-z]:/.test(onnxruntime);
  const choice = { model, runtime: isFolder ? resolve(onnxruntime) : onnxruntime };
  await tryVad(choice, systemClock);
  return choice;
}
