/** The caller's voice over the agent's: listening, interrupting, or not known yet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isBackchannel,
  isInterruptionWord,
  judgeInterruption,
  soundLimitMs,
  type InterruptionFacts,
  type InterruptionVerdict,
} from '#sessions/backchannel.ts';

const FACTS: InterruptionFacts = {
  text: '',
  isFinal: false,
  speechMs: 300,
  agentSpokeMs: 3000,
  lastAgentText: '您的包裹今天下午送到，快递员会先给您',
  sensitivity: 0.5,
  confirmMs: 100,
  reads: true,
};

test('backchannels: alone, repeated, combined, in both languages, with marks', () => {
  const yes = [
    ...[
      '嗯',
      '嗯嗯嗯',
      '嗯，对。',
      '好的好的',
      '对对对，是的',
      '哦，知道了！',
      '好啊好啊',
      'OK好的',
    ],
    ...['Uh-huh.', 'mm-hmm', 'yeah yeah, okay', 'Right, I see.', 'oh okay', 'fair enough', 'ＯＫ'],
  ];
  const no = [
    ...['', '。', '不对', '好的但是', '是吗', '对不起', '好了好了', '我知道你的意思', '停'],
    ...[
      'no',
      'okay wait',
      'yeah but',
      'right now',
      'I see a problem',
      'yesterday',
      '嗯'.repeat(60),
    ],
  ];
  assert.deepEqual(
    yes.filter((text) => !isBackchannel(text)),
    [],
  );
  assert.deepEqual(
    no.filter((text) => isBackchannel(text)),
    [],
  );
});

test('words that ask the agent to stop', () => {
  const yes = [
    '等等',
    '等一下，',
    '嗯等一下',
    '不是这样的',
    '停',
    'Stop!',
    'okay wait',
    'hold on',
    'no no no',
  ];
  const no = [
    '没有问题',
    '好的',
    '我要订房',
    'no problem',
    'nothing',
    'I know',
    'know what',
    'stopping',
  ];
  assert.deepEqual(
    yes.filter((text) => !isInterruptionWord(text)),
    [],
  );
  assert.deepEqual(
    no.filter((text) => isInterruptionWord(text)),
    [],
  );
});

test('the verdict', () => {
  const question = { lastAgentText: '明天下午送，可以吗？' };
  const rows: readonly (readonly [string, Partial<InterruptionFacts>, InterruptionVerdict])[] = [
    ['too early', {}, 'wait'],
    ['noise, read whole', { isFinal: true, speechMs: 900 }, 'backchannel'],
    ['long, and nothing is read', { speechMs: 1600 }, 'interrupt'],
    ['the same, words only', { speechMs: 5000, sensitivity: 0 }, 'wait'],
    ['any speech', { speechMs: 60, sensitivity: 1 }, 'interrupt'],
    ['nobody reads, short', { reads: false, speechMs: 90 }, 'wait'],
    ['nobody reads, short and over', { reads: false, speechMs: 90, isFinal: true }, 'backchannel'],
    ['nobody reads, long', { reads: false, speechMs: 100 }, 'interrupt'],
    ['a backchannel so far', { text: '嗯' }, 'wait'],
    ['half a backchannel', { text: 'oh i' }, 'wait'],
    ['a backchannel', { text: '好的。', isFinal: true }, 'backchannel'],
    ['one that does not end', { text: '嗯', speechMs: 2400 }, 'interrupt'],
    ['one to a question', { text: '可以', isFinal: true, ...question }, 'interrupt'],
    ['protected', { text: '可以', isFinal: true, ...question, agentSpokeMs: 600 }, 'backchannel'],
    [
      'protected at any dial',
      { text: '嗯', isFinal: true, sensitivity: 1, agentSpokeMs: 600 },
      'backchannel',
    ],
    ['a backchannel at 1', { text: '嗯', isFinal: true, sensitivity: 1 }, 'interrupt'],
    [
      'stop, in the first second, at 0',
      { text: '等等', sensitivity: 0, agentSpokeMs: 100 },
      'interrupt',
    ],
    ['one word so far', { text: '我' }, 'wait'],
    ['plain words', { text: '我下午不在' }, 'interrupt'],
    ['few words at 0', { text: '我下午', sensitivity: 0 }, 'wait'],
    ['few words at 0, read whole', { text: '几点', sensitivity: 0, isFinal: true }, 'backchannel'],
    ['a short question', { text: '几点', isFinal: true }, 'interrupt'],
    ['a small word read into noise', { text: 'the', isFinal: true }, 'backchannel'],
    ['echo so far', { text: '快递员会' }, 'wait'],
    ['echo', { text: '快递员会先给', isFinal: true }, 'backchannel'],
    ['words about what the agent said', { text: '快递员不要打电话' }, 'interrupt'],
  ];
  for (const [name, facts, expected] of rows)
    assert.equal(judgeInterruption({ ...FACTS, ...facts }), expected, name);
});

test('how long sound must last', () => {
  const limit = (sensitivity: number, reads: boolean, confirmMs = 500): number =>
    soundLimitMs({ sensitivity, reads, confirmMs });
  assert.deepEqual([limit(0, false), limit(0.5, false), limit(1, false)], [750, 500, 250]);
  assert.deepEqual([limit(0.5, true), limit(1, true), limit(0.5, true, 3000)], [1500, 250, 3000]);
  assert.equal(limit(0, true), Number.POSITIVE_INFINITY);
});
