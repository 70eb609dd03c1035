/** How a text is to be said (contract 2.2): the same fields over HTTP and on the socket. */
import { Type } from 'typebox';

const whole = <T extends number>(values: readonly T[], description: string) =>
  Type.Unsafe<T>({ type: 'integer', enum: values, description });
const adjustment = (minimum: number, maximum: number) =>
  Type.Optional(Type.Integer({ minimum, maximum }));

export const voiceFields = {
  voice: Type.Optional(
    Type.String({ minLength: 1, maxLength: 64, description: 'Default xiaoyun' }),
  ),
  format: Type.Optional(Type.Enum(['pcm', 'wav', 'mp3'], { description: 'Default pcm' })),
  sample_rate: Type.Optional(whole([8_000, 16_000, 24_000], 'Default 16000')),
  volume: adjustment(0, 100),
  speech_rate: adjustment(-500, 500),
  pitch_rate: adjustment(-500, 500),
};
