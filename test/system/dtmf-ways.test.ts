/** Keys pressed on a live call as events, as tones and by INFO, alone and at once: each is told once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, startTestApp } from './_app.ts';
import { LivePhone, pause } from './_control-kit.ts';

const SCRIPT = { greeting: 'Hello.', utterances: {}, replies: [], defaultReply: 'Thanks.' };

test('one key, all ways at once: told once each time', async (t) => {
  const phone = await LivePhone.dial(t, await startTestApp(t, {}, { script: SCRIPT }));
  await phone.hears('Hello.');
  await phone.quiet(300);
  const both = (digit: string): Promise<void> => {
    phone.tone(digit, 100);
    return phone.event(digit);
  };
  const presses: (() => Promise<unknown> | void)[] = [
    () => phone.event('1'),
    () => phone.tone('2', 120),
    () => phone.info('3'),
    () => both('4'),
    // The tone leaks before the gateway knows it, and the event follows.
    async () => {
      phone.tone('5', 80);
      await pause(90);
      await phone.event('5');
    },
    () => Promise.all([phone.info('6'), phone.event('6')]),
    async () => {
      phone.tone('7', 100);
      await phone.info('7');
    },
    async () => {
      await both('8');
      await pause(400);
      await phone.info('8');
    },
    async () => {
      for (let i = 0; i < 2; i++) {
        await both('9');
        await pause(60);
      }
    },
    () => phone.event('#'),
  ];
  for (const press of presses) {
    await press();
    await pause(350);
  }
  const pressed = async (): Promise<string> =>
    (await phone.messages())
      .flatMap(({ content }) => /^\[DTMF (.)\]$/.exec(content)?.[1] ?? [])
      .join('');
  await eventually(pressed, (keys) => keys.endsWith('#'));
  assert.equal(await pressed(), '1234567899#');
});

test('a far end that takes no events: its tones of 45 ms are keys, and our own tones are not', async (t) => {
  const server = await startTestApp(t, {}, { script: SCRIPT });
  const phone = await LivePhone.dial(t, server, { events: false });
  await phone.hears('Hello.');
  await phone.quiet(300);
  for (const digit of '73*') {
    phone.tone(digit, 45);
    await pause(250);
  }
  // A line that sends back what it hears, 40 ms later.
  const from = phone.now;
  await phone.done('dtmf', { digits: '1', tone_ms: 100 });
  await eventually(
    () => Promise.resolve(phone.since(from)),
    (heard) => heard.some((sample) => Math.abs(sample) > 8000),
  );
  phone.tone('1', 100);
  await pause(300);
  const keys = (await phone.messages()).filter(({ content }) => content.startsWith('[DTMF'));
  assert.deepEqual(
    keys.map(({ content }) => content),
    ['[DTMF 7]', '[DTMF 3]', '[DTMF *]'],
  );
});
